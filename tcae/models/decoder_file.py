"""The file of the decoders' weights, beside the encoder's, for models without a checkpoint."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tcae.files.weight_file import read_weights, write_weights
from tcae.models.encoder_file import ENCODER_FILE, read_encoder_weights
from tcae.models.twin_cycle import TwinCycle

DECODERS_FILE = "decoders.safetensors"
"""Name of the file with both decoders. It lies beside the encoder in weights that ship."""

_FORMAT = "tcae-decoders"
_ENCODER = "encoder."


def save_decoders(directory: Path, model: TwinCycle) -> None:
    """Write the weights of both decoders beside the encoder's file."""
    decoders = {
        name: tensor for name, tensor in model.state_dict().items() if not name.startswith(_ENCODER)
    }
    write_weights(directory / DECODERS_FILE, {"format": _FORMAT}, decoders)


def read_model_weights(directory: Path) -> dict[str, Tensor]:
    """Read the weights of encoder and decoders, named as in a `TwinCycle`, to the CPU.

    Raises:
        ValueError: A file is damaged or of another kind. The error names it.
    """
    encoder = read_encoder_weights(directory / ENCODER_FILE)
    decoders = read_weights(directory / DECODERS_FILE, _FORMAT)[1]
    return decoders | {f"{_ENCODER}{name}": tensor for name, tensor in encoder.items()}
