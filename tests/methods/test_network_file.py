from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tcae.methods.network_file import NetworkFile


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def write_onnx(path: Path, weight: np.ndarray, side: int) -> None:
    """A 1x1 convolution with these weights (C, 3), then the mean over the picture."""

    def tensor(name: str, shape: tuple[int, ...]) -> bytes:
        dims = b"".join(field(1, field(1, n)) for n in shape)
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))

    def node(kind: str, inputs: list[str], output: str) -> bytes:
        names = b"".join(field(1, name) for name in inputs)
        return field(1, names + field(2, output) + field(3, output) + field(4, kind))

    shape = (*weight.shape, 1, 1)
    values = struct.pack(f"<{weight.size}f", *weight.ravel())
    dims = b"".join(field(1, n) for n in shape)
    graph = (
        node("Conv", ["images", "w"], "maps")
        + node("GlobalAveragePool", ["maps"], "features")
        + field(2, "faces")
        + field(5, dims + field(2, 1) + field(8, "w") + field(9, values))
        + field(11, tensor("images", (1, 3, side, side)))
        + field(12, tensor("features", (1, len(weight), 1, 1)))
    )
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13)))


WEIGHT = np.array([[1, 0, 0], [0.5, -1, 2]], np.float32)


def torchscript(path: Path, network: nn.Module, side: int) -> None:
    torch.jit.trace(network, torch.zeros(1, 3, side, side)).save(str(path))


class Means(nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) @ torch.from_numpy(WEIGHT).T


@pytest.mark.parametrize("ending", [".onnx", ".pt"])
def test_files_of_both_kinds_see_rgb_in_0_to_1(ending, tmp_path):
    path = tmp_path / f"net{ending}"
    if ending == ".onnx":
        write_onnx(path, WEIGHT, 16)
    else:
        torchscript(path, Means(), 16)
    images = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    got = NetworkFile(path, 16).embed(images)
    expected = (images.float() / 255).mean((2, 3)) @ torch.from_numpy(WEIGHT).T
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_what_is_wrong_with_a_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such network file"):
        NetworkFile(tmp_path / "none.onnx", 16)
    for ending, message in ((".onnx", "not an ONNX network"), (".pt", "not a TorchScript network")):
        bad = tmp_path / f"bad{ending}"
        bad.write_bytes(b"nothing of the kind")
        with pytest.raises(ValueError, match=message):
            NetworkFile(bad, 16)
    other = tmp_path / "net.caffemodel"
    other.write_bytes(b"")
    with pytest.raises(ValueError, match=r"must end in .onnx or .pt"):
        NetworkFile(other, 16)
    torchscript(tmp_path / "flat.pt", nn.Linear(16, 2), 16)
    with pytest.raises(ValueError, match="fails on"):
        NetworkFile(tmp_path / "flat.pt", 20).embed(torch.zeros(1, 3, 64, 64))
