"""The places where operators can run here: every usable backend on every device it is for."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tcae_ops import backends, triton

CPU = torch.device("cpu")
GPU = torch.device("cuda")
NO_GPU = "there is no CUDA device"


@dataclass(frozen=True)
class Place:
    """A backend, and the device that it runs on."""

    backend: str
    device: torch.device

    def __str__(self) -> str:
        return f"{self.backend} on {self.device.type}"


def devices() -> list[torch.device]:
    """Return the CPU, and the GPU if there is one."""
    return [CPU, GPU] if torch.cuda.is_available() else [CPU]


def usable() -> list[Place]:
    """Return all usable places, except Triton's interpreter, which is only for tests."""
    found = [Place(name, device) for device in devices() for name in backends.BACKENDS]
    return [place for place in found if why_not(place) is None and not _interpreted(place)]


def _interpreted(place: Place) -> bool:
    return place.backend == "triton" and triton.INTERPRETED


def unusable() -> dict[str, str]:
    """Return the backends that cannot run here at all, each with the reason."""
    usable_ones = {place.backend for place in usable()}
    missing = [name for name in backends.BACKENDS if name not in usable_ones]
    return {name: why_not(Place(name, CPU if name == "cpp" else GPU)) or "" for name in missing}


def why_not(place: Place) -> str | None:
    """Return the reason why a backend cannot run on a device here, or None if it can."""
    reason = backends.why_not(place.backend, place.device)
    return reason or (None if place.device in devices() else NO_GPU)
