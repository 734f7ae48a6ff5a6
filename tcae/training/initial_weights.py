"""Where a new run's weights come from when they are not random."""

from __future__ import annotations

from pathlib import Path

from tcae.models.encoder_file import encoder_path, load_weights, read_encoder_weights
from tcae.models.twin_cycle import TwinCycle
from tcae.training.checkpoints import CheckpointFolder, read_checkpoint
from tcae.training.run_directory import CHECKPOINTS


def initialise(model: TwinCycle, path: Path) -> None:
    """Load weights, and nothing else, into a new model.

    Args:
        model: What they are for.
        path: A run directory (its latest checkpoint, else its encoder), a checkpoint, or an
            encoder.safetensors, which gives the encoder's weights only.

    Raises:
        FileNotFoundError: There is nothing of that kind.
        ValueError: Damaged or foreign, or a tensor does not fit; file and tensor are named.
    """
    latest = CheckpointFolder(path / CHECKPOINTS).latest() if path.is_dir() else None
    if latest is not None:
        load_weights(model, latest[1]["model"], str(latest[0]))
    elif path.is_dir() or path.suffix == ".safetensors":
        file = encoder_path(path)
        load_weights(model.encoder, read_encoder_weights(file), str(file))
    else:
        load_weights(model, read_checkpoint(path)["model"], str(path))
