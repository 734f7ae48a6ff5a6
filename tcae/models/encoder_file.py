"""The file of a trained encoder: its weights, its architecture, the alignment of its faces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcae.files.plain import from_plain, to_plain
from tcae.files.weight_file import digest, read_weights, write_weights
from tcae.models.encoder import Embeddings, Encoder, unit_range
from tcae.models.model_config import ModelConfig
from tcae.weights import find_weights, shipped

ENCODER_FILE = "encoder.safetensors"
"""Name of the encoder's file in a run directory."""

_FORMAT = "tcae-encoder"
_VERSION = 1


class FrozenEncoder:
    """A trained encoder in evaluation mode, with all that preparing faces for it takes.

    Attributes:
        network: The encoder itself.
        image_size: Side of its images in pixels.
        template: Alignment template of its training faces, as `AlignmentTemplate.to_dict` gives it.
        crop: How much of an aligned picture to show it: side of the centred square over the side of
            the picture.
        embedding_size: Length of the AU embedding.
        pose_size: Length of the pose embedding.
    """

    def __init__(self, network: Encoder, template: dict[str, Any], crop: float = 1.0) -> None:
        self.network = network.eval().requires_grad_(False)
        # Convolutions take half the time in this layout on a CPU.
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.template, self.crop = template, crop
        self.image_size = network.image_size
        self.embedding_size, self.pose_size = network.embedding_size, network.pose_size

    @property
    def device(self) -> torch.device:
        """Return the device that it computes on."""
        return next(self.network.parameters()).device

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the weights. A probe names its encoder by it."""
        return digest(self.network.state_dict())

    @torch.no_grad()
    def embed(self, images: Tensor) -> Embeddings:
        """Embed aligned faces.

        Args:
            images: (N, 3, S, S) RGB, uint8 or float in [0, 1], S = `image_size`.

        Returns:
            Embeddings (N, embedding_size) and (N, pose_size), float32, on the encoder's device.

        Raises:
            TypeError: The images are no tensor.
            ValueError: They have another shape or dtype. Nothing is resized silently.
        """
        side = self.image_size
        if not isinstance(images, Tensor):
            raise TypeError(f"images: need a torch.Tensor, got {type(images).__name__}")
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            raise ValueError(f"images: need (N, 3, {side}, {side}), got {tuple(images.shape)}")
        pixels = images.to(self.device, memory_format=torch.channels_last)
        return self.network(unit_range(pixels).float())


def save_encoder(
    path: Path, encoder: Encoder, template: Mapping[str, Any], crop: float = 1.0
) -> None:
    """Write the encoder's weights and everything needed to use them.

    Args:
        path: The file, usually ``<run>/encoder.safetensors``.
        encoder: The encoder.
        template: Alignment template of the training data, from `AlignmentTemplate.to_dict`.
        crop: Share of the side of a picture that its centred square keeps, in place of the random
            crops of training.
    """
    description = {
        "format": _FORMAT,
        "version": _VERSION,
        "image_size": encoder.image_size,
        "model": to_plain(encoder.config),
        "template": dict(template),
        "crop": float(crop),
    }
    write_weights(path, description, encoder.state_dict())


def load_encoder(run_or_file: Path | str, device: torch.device | str = "cpu") -> FrozenEncoder:
    """Load an encoder that `save_encoder` wrote.

    Args:
        run_or_file: A run directory, the file itself, or the name of weights that ship with the
            package, such as "synthetic-64".
        device: Where it will compute.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, of another kind, or its parts do not fit together. The
            error names the file and the field.

    Example:
        >>> from tcae.data.align import DEFAULT_TEMPLATE
        >>> trained = Encoder(ModelConfig(), image_size=64)
        >>> save_encoder(Path("mine.safetensors"), trained, DEFAULT_TEMPLATE.to_dict())
        >>> encoder = load_encoder("mine.safetensors")
        >>> tuple(encoder.embed(torch.rand(10, 3, 64, 64)).au.shape) == (10, encoder.embedding_size)
        True
    """
    path = encoder_path(run_or_file)
    description, weights = _read(path)
    config = from_plain(ModelConfig, description["model"], str(path), "model.")
    try:
        encoder = Encoder(config, description["image_size"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    load_weights(encoder, weights, str(path))
    return FrozenEncoder(encoder.to(device), description["template"], description["crop"])


def read_encoder_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights alone from an encoder's file, to the CPU.

    Raises:
        ValueError: The file is damaged or of another kind. The error names it.
    """
    return _read(path)[1]


def encoder_path(run_or_file: Path | str) -> Path:
    """Find the encoder's file in a run directory or in weights that ship.

    Args:
        run_or_file: A run directory, the file itself, or the name of weights that ship.

    Raises:
        FileNotFoundError: There is no such file.
    """
    path = find_weights(run_or_file)
    if path.is_dir():
        path = path / ENCODER_FILE
        if not path.exists():
            raise FileNotFoundError(f"{path}: not there; has the training run finished?")
    if not path.exists():
        known = ", ".join(shipped()) or "none"
        raise FileNotFoundError(
            f"{path}: no such encoder file or run directory, nor weights that ship ({known})"
        )
    return path


def beside_encoder(run_or_file: Path | str, *names: str) -> Path | None:
    """Return the first of these files that lies beside an encoder's, None if none does.

    Args:
        run_or_file: As for `encoder_path`. What is not there has nothing beside it.
        names: Paths from the directory of the encoder.
    """
    path = find_weights(run_or_file)
    if not path.exists():
        return None
    folder = path if path.is_dir() else path.parent
    return next((folder / name for name in names if (folder / name).is_file()), None)


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load weights into a module by name.

    Raises:
        ValueError: A tensor is missing, unknown or of another shape. The error names the first.
    """
    own = module.state_dict()
    for name, tensor in own.items():
        if name not in weights:
            raise ValueError(f"{source}: tensor {name} is missing")
        if weights[name].shape != tensor.shape:
            got, need = tuple(weights[name].shape), tuple(tensor.shape)
            raise ValueError(f"{source}: tensor {name}: need shape {need}, got {got}")
    for name in weights:
        if name not in own:
            raise ValueError(f"{source}: tensor {name} is unknown to this model")
    module.load_state_dict(dict(weights))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    description, weights = read_weights(path, _FORMAT)
    kinds = {"version": int, "image_size": int, "model": dict, "template": dict, "crop": float}
    for field, kind in kinds.items():
        if not isinstance(description.get(field), kind):
            raise ValueError(f"{path}: {field}: need {kind.__name__}, got {description.get(field)}")
    if not 0 < description["crop"] <= 1:
        raise ValueError(f"{path}: crop: need a share in (0, 1], got {description['crop']}")
    if description["version"] > _VERSION:
        raise ValueError(
            f"{path}: version: written by a newer tcae ({description['version']} > {_VERSION})"
        )
    return description, weights
