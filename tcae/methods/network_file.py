"""A network from another project in a file, such as a face or an emotion network."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from tcae.models.encoder import unit_range


class NetworkFile:
    """An ONNX (``.onnx``, run by OpenCV) or TorchScript (``.pt``) network.

    Its input is RGB images (N, 3, side, side), float32 in [0, 1]. Any other normalisation must be
    part of the file. Its output is (N, D), or maps (N, C, h, w), which are flattened. A TorchScript
    file can run code, so use only files that you trust.

    Args:
        path: The file.
        side: Side of the images it needs. Faces are resized to it.

    Raises:
        ValueError: The file has another ending, or is not what its ending says.
        FileNotFoundError: There is no such file.
    """

    def __init__(self, path: Path, side: int) -> None:
        self.path, self.side = path, side
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such network file")
        readers = {".onnx": _onnx, ".pt": _torchscript}
        if path.suffix not in readers:
            raise ValueError(f"{path}: its name must end in {' or '.join(readers)}")
        self._run = readers[path.suffix](path)

    def __repr__(self) -> str:
        return f"{hashlib.sha256(self.path.read_bytes()).hexdigest()}@{self.side}"

    def embed(self, images: Tensor) -> Tensor:
        """Compute features (N, D) of images (N, 3, S, S), uint8 or in [0, 1].

        Raises:
            ValueError: The network cannot take such images, or does not return a row for each.
        """
        images = unit_range(images)
        if images.shape[-1] != self.side:
            mode = "area" if images.shape[-1] > self.side else "bilinear"
            images = interpolate(images, (self.side, self.side), mode=mode)
        try:
            features = self._run(images.contiguous())
        except (cv2.error, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"{self.path}: fails on {tuple(images.shape)}: {reason}") from None
        if features.ndim < 2 or len(features) != len(images):
            raise ValueError(
                f"{self.path}: gives {tuple(features.shape)} for {len(images)} images, "
                "(N, D) is needed"
            )
        return features.float().flatten(1)


def _onnx(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not an ONNX network that OpenCV can run ({reason})") from None

    def run(images: Tensor) -> Tensor:
        network.setInput(images.cpu().numpy())
        return torch.from_numpy(np.array(network.forward()))

    return run


def _torchscript(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        network = torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: not a TorchScript network ({reason})") from None
    return lambda images: network(images.cpu())
