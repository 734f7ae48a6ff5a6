"""How faces usually move: flows of each action unit, the same for all faces.

They are fitted to the exact flows of rendered people by least squares (`tools/fit_motions`).
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tcae.files.weight_file import read_weights, write_weights
from tcae.models.encoder_file import load_weights

MOTIONS_FILE = "motions.safetensors"
"""Name of the file beside the encoder's in weights that ship."""

_FORMAT = "tcae-motions"


class UsualMotions(nn.Module):
    """Backward flows of aligned faces, linear in how far action units rise and fall.

    Args:
        units: Names of the A action units.
        image_size: Side S of the faces.

    Attributes:
        flows: (2 A, 2, S, S) flows of `causes`, x and y in pixels.
    """

    flows: Tensor

    def __init__(self, units: tuple[str, ...], image_size: int) -> None:
        super().__init__()
        self.units, self.image_size = units, image_size
        self.register_buffer("flows", torch.zeros(2 * len(units), 2, image_size, image_size))

    def forward(self, change: Tensor) -> Tensor:
        """Return the flows (N, 2, S, S) of changes (N, A) of intensities, from -1 to 1.

        No change is no motion, exactly.
        """
        return torch.einsum("nc,cdhw->ndhw", causes(change), self.flows)


def causes(change: Tensor) -> Tensor:
    """Return how far units rise and how far they fall, (N, 2 A), of their changes (N, A).

    These have flows of their own: where a lid falls, skin must come from above the eye. Where it
    rises, the eye is found in its place.
    """
    return torch.cat([change.clamp(min=0), (-change).clamp(min=0)], 1)


def save_motions(path: Path, motions: UsualMotions) -> None:
    """Write motions to a file in half precision, whole or not at all."""
    description = {
        "format": _FORMAT, "units": list(motions.units), "image_size": motions.image_size
    }  # fmt: skip
    write_weights(path, description, {"flows": motions.flows.half()})


def load_motions(path: Path) -> UsualMotions:
    """Read what `save_motions` wrote, to the CPU.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or of another kind. The error names it.
    """
    description, weights = read_weights(path, _FORMAT)
    motions = UsualMotions(tuple(description["units"]), description["image_size"])
    load_weights(motions, weights, str(path))
    return motions
