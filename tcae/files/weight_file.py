"""Weights with a JSON description in one safetensors file, with a checksum over both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from tcae.files.durable import write_durably

_KEY = "tcae"


def digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of named tensors: of their names, types, shapes and values."""
    sha = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def write_weights(
    path: Path, description: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> None:
    """Write weights and their description to a file, whole or not at all.

    Args:
        path: The file.
        description: What the weights are: anything JSON can hold.
        weights: Tensors by name.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content = {"description": dict(description), "sha256": _checksum(description, tensors)}
    write_durably(path, to_safetensors(tensors, {_KEY: json.dumps(content)}))


def read_weights(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the description and the weights that `write_weights` wrote. Tensors are on the CPU.

    Args:
        path: The file.
        kind: Value that the description's field "format" must have.

    Raises:
        ValueError: The file is damaged or of another kind. The error names it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged or not a safetensors file ({error})") from None
    try:
        content = json.loads(metadata[_KEY])
        description, checksum = dict(content["description"]), content["sha256"]
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"{path}: a safetensors file, but not a {kind}") from None
    if description.get("format") != kind:
        raise ValueError(f"{path}: need a {kind}, got a {description.get('format')}")
    if checksum != _checksum(description, weights):
        raise ValueError(f"{path}: damaged (its checksum does not match)")
    return description, weights


def _checksum(description: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    text = json.dumps(dict(description), sort_keys=True)
    return hashlib.sha256(f"{text}\n{digest(weights)}".encode()).hexdigest()
