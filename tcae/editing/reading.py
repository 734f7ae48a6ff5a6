"""What is read linearly from an embedding, and the least change that makes it read otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from tcae.evaluation.linear_probe import LinearProbe
from tcae.files.weight_file import read_weights, write_weights

POSE_FILE = "pose.safetensors"
"""Name of the file of the reading of pitch, yaw and roll, beside the encoder's."""

_FORMAT = "tcae-pose"


class Reading:
    """Values that are linear in an embedding, by name.

    Args:
        names: The A values.
        weight: (A, D).
        bias: (A,).
        spread: (D,) standard deviations of the embedding over faces. A change counts in them.

    Example:
        >>> reading = Reading(("a",), torch.tensor([[1.0, 0.0]]), torch.zeros(1), torch.ones(2))
        >>> reading.moved(torch.tensor([[0.5, 7.0]]), {"a": 2.0})
        tensor([[2., 7.]])
    """

    def __init__(
        self, names: tuple[str, ...], weight: Tensor, bias: Tensor, spread: Tensor
    ) -> None:
        self.names, self.weight, self.bias, self.spread = names, weight, bias, spread
        self._back = spread[:, None] * torch.linalg.pinv((weight * spread).double()).float()

    def __call__(self, embedding: Tensor) -> Tensor:
        """Return the values (N, A) of embeddings (N, D)."""
        return embedding @ self.weight.T + self.bias

    def moved(self, embedding: Tensor, wanted: Mapping[str, float]) -> Tensor:
        """Return the nearest embedding (1, D) with some values as wanted, all others as before."""
        change = torch.zeros(len(self.names))
        now = self(embedding)[0]
        for name, value in wanted.items():
            at = self.names.index(name)
            change[at] = value - now[at]
        return embedding + self._back @ change


def probe_reading(probe: LinearProbe) -> Reading:
    """Return the logits that a probe reads."""
    norm = probe.norm
    assert norm.running_mean is not None and norm.running_var is not None
    spread = (norm.running_var + norm.eps).sqrt()
    weight = probe.linear.weight * norm.weight / spread
    bias = probe.linear.weight @ norm.bias - weight @ norm.running_mean
    return Reading(probe.names, weight.detach(), bias.detach(), spread)


def save_pose_reading(path: Path, reading: Reading) -> None:
    """Write a reading of pitch, yaw and roll to a file, whole or not at all."""
    tensors = {"weight": reading.weight, "bias": reading.bias, "spread": reading.spread}
    write_weights(path, {"format": _FORMAT, "names": list(reading.names)}, tensors)


def load_pose_reading(path: Path) -> Reading:
    """Read what `save_pose_reading` wrote.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or of another kind. The error names it.
    """
    description, tensors = read_weights(path, _FORMAT)
    return Reading(tuple(description["names"]), **tensors)
