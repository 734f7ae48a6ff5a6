"""The weights that a new run starts from when they are not random: ``--init-from``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from tcae.models.decoder_file import DECODERS_FILE, read_model_weights
from tcae.models.encoder_file import encoder_path, load_weights, read_encoder_weights
from tcae.models.twin_cycle import TwinCycle
from tcae.training.checkpoints import CheckpointFolder, read_checkpoint
from tcae.training.run_directory import CHECKPOINTS
from tcae.weights import find_weights, shipped


@dataclass(frozen=True)
class InitialWeights:
    """Weights for a new model.

    Attributes:
        weights: The weights of the whole model, or of its encoder, by name.
        source: The file they come from, for error messages.
        encoder_only: Whether they are those of the encoder alone.
    """

    weights: Mapping[str, Tensor]
    source: str
    encoder_only: bool = False

    def load_into(self, model: TwinCycle) -> None:
        """Load the weights, and nothing else, into a model.

        Raises:
            ValueError: A tensor does not fit. The error names the file and the tensor.
        """
        load_weights(model.encoder if self.encoder_only else model, self.weights, self.source)


def read_initial_weights(path: Path) -> InitialWeights:
    """Read the weights of another run.

    Args:
        path: A run directory (its latest checkpoint, else its encoder), a checkpoint, the name of
            weights that ship with the package, or an encoder.safetensors, which holds the encoder's
            weights only.

    Raises:
        FileNotFoundError: There is no such file, directory or name.
        ValueError: A file is damaged or of another kind. The error names it.
    """
    path = find_weights(path)
    latest = CheckpointFolder(path / CHECKPOINTS).latest() if path.is_dir() else None
    if latest is not None:
        return InitialWeights(latest[1]["model"], str(latest[0]))
    if (path / DECODERS_FILE).exists():
        return InitialWeights(read_model_weights(path), str(path / DECODERS_FILE))
    if path.is_dir() or path.suffix == ".safetensors":
        file = encoder_path(path)
        return InitialWeights(read_encoder_weights(file), str(file), encoder_only=True)
    if not path.exists():
        known = ", ".join(shipped()) or "none"
        raise FileNotFoundError(
            f"--init-from {path}: no such checkpoint, run or encoder file, nor weights that ship "
            f"({known})"
        )
    return InitialWeights(read_checkpoint(path)["model"], str(path))
