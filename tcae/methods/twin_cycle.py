"""TCAE: the AU embedding of a trained twin cycle."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tcae.methods.method import Method
from tcae.models.encoder_file import FrozenEncoder, load_encoder


class TwinCycleEmbedding:
    """The AU embedding of a frozen encoder.

    Args:
        encoder: as `load_encoder` gives it.

    Attributes:
        encoder: the same.
    """

    def __init__(self, encoder: FrozenEncoder) -> None:
        self.encoder = encoder

    @classmethod
    def load(
        cls, run_or_file: Path | str, device: torch.device | str = "cpu"
    ) -> TwinCycleEmbedding:
        """From a run directory of `tcae.train`, or an encoder file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, foreign or does not fit.
        """
        return cls(load_encoder(run_or_file, device))

    def embed(self, images: Tensor) -> Tensor:
        """AU embeddings (N, D) of images (N, 3, S, S), uint8 or in [0, 1]."""
        return self.encoder.embed(images).au


def _build(image_size: int, units: int) -> TwinCycleEmbedding:
    raise ValueError("tcae: is trained by tcae.train; load it with TwinCycleEmbedding.load")


TWIN_CYCLE = Method("tcae", "TCAE", "self-supervised", _build)
