"""Which implementation runs, and why the others do not.

Without an override the fastest usable one runs. An override comes from, in this order, the
``backend`` argument of an operator, the ``backend`` context manager, and the environment variable
``TCAE_OPS_BACKEND``; one that cannot run here raises an error that says why.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

BACKENDS = ("cpp", "reference")

_override: str | None = None


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Runs every operator inside the block on one backend.

    Args:
        name: "cpp" (the compiled library) or "reference" (plain torch).

    Raises:
        ValueError: There is no backend of this name.

    Example:
        >>> import torch, tcae_ops
        >>> with tcae_ops.backend("reference"):
        ...     warped = tcae_ops.warp(torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4))
    """
    global _override
    _check_name(name, "backend")
    before, _override = _override, name
    try:
        yield
    finally:
        _override = before


def choose(device: torch.device, requested: str | None) -> str:
    """The backend that runs an operator on tensors of a device."""
    if requested is not None:
        _check_name(requested, "backend")
    name = requested or _override or _from_environment()
    if name is None:
        return next(b for b in BACKENDS if why_not(b, device) is None)
    reason = why_not(name, device)
    if reason is not None:
        raise ValueError(f"backend {name!r} cannot run: {reason}")
    return name


def why_not(name: str, device: torch.device) -> str | None:
    """Why a backend cannot run on a device; None if it can."""
    if name == "cpp":
        return "the library is not built"
    return None


def _from_environment() -> str | None:
    name = os.environ.get("TCAE_OPS_BACKEND")
    if name:
        _check_name(name, "TCAE_OPS_BACKEND")
    return name or None


def _check_name(name: str, origin: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f"{origin} is {name!r}, but must be one of {', '.join(BACKENDS)}")
