"""Which implementation runs, and why the others do not.

By default the fastest usable one runs. An override comes from, in this order, the ``backend``
argument of an operator, the ``backend`` context manager, and the environment variable
``TCAE_OPS_BACKEND``. An override that cannot run here raises an error that says why.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from torch import Tensor

from tcae_ops import library, reference, triton
from tcae_ops.passes import is_transformed
from tcae_ops.request import Padding, Request, Units

Backend = Literal["cpp", "cuda", "triton", "reference"]
Run = Callable[[Request], Sequence[Tensor]]

# In order of preference.
BACKENDS: dict[str, Run] = {
    "cpp": library.run,
    "cuda": library.run_cuda,
    "triton": triton.run,
    "reference": reference.run,
}
_override: str | None = os.environ.get("TCAE_OPS_BACKEND") or None
_block: ContextVar[str | None] = ContextVar("backend", default=None)
_fastest: dict[torch.device, Run] = {}  # filled at the first call


class _Traced(threading.local):
    """The value of `_block` for programs that are traced: Dynamo cannot read a ContextVar."""

    def __init__(self) -> None:
        self.name: str | None = None  # not of the class: Dynamo would not notice that it changes


_traced = _Traced()


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Run operators on one backend inside the ``with`` block.

    Other threads and asyncio tasks are not affected. Programs compiled by ``torch.compile`` tell
    threads apart, but not the tasks of one thread.

    Args:
        name: "cpp" (compiled, for CPU tensors), "cuda" (compiled, for CUDA tensors), "triton"
            (for CUDA tensors) or "reference" (plain torch).

    Raises:
        ValueError: There is no backend of this name.

    Example:
        >>> import torch, tcae_ops
        >>> with tcae_ops.backend("reference"):
        ...     warped = tcae_ops.warp(torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4))
    """
    _check_name(name, "backend")
    if torch.compiler.is_dynamo_compiling():
        before, _traced.name = _traced.name, name
        try:
            yield
        finally:
            _traced.name = before
        return
    token = _block.set(name)
    _traced.name = name
    try:
        yield
    finally:
        _block.reset(token)
        _traced.name = _block.get()


def choose(device: torch.device, requested: str | None) -> Run:
    """Return the function that runs an operator on tensors of a device.

    Raises:
        ValueError: The requested backend does not exist or cannot run there.
    """
    name = requested
    if name is None:
        name = _traced.name if torch.compiler.is_dynamo_compiling() else _block.get()
    origin = "backend"
    if name is None:
        name, origin = _override, "TCAE_OPS_BACKEND"
    if name is None:
        run = _fastest.get(device)
        if run is None:
            run = _fastest[device] = BACKENDS[_fastest_usable(device)]
        return run
    _check_name(name, origin)
    reason = why_not(name, device)
    if reason is not None:
        raise ValueError(f"backend {name!r} cannot run: {reason}")
    return BACKENDS[name]


def warp_at_once(image: Tensor, flow: Tensor, units: Units, padding: Padding) -> Tensor | None:
    """Return the warp, if nothing but the compiled kernels on plain CPU tensors is asked for.

    To check, to choose and to hand on the arguments in Python takes half as long as the warp of a
    small image. So the kernels alone check them here.

    Returns:
        The warped image; or None: then it takes all the steps, which may raise an error that names
        the argument.
    """
    if torch.compiler.is_compiling() or _override or _block.get() or is_transformed():
        return None
    if not (isinstance(image, Tensor) and isinstance(flow, Tensor) and flow.is_cpu):
        return None
    if _fastest.get(image.device) is not library.run:
        return None
    try:
        return library.PASSES.warp(image, flow, units, padding)
    except RuntimeError:
        return None


def _fastest_usable(device: torch.device) -> str:
    """Return the name of the backend that runs by default. Say so if it is the definition."""
    usable = [name for name in BACKENDS if why_not(name, device) is None]
    if triton.INTERPRETED and "triton" in usable:
        usable.remove("triton")  # only for tests: it is slower than the definition
    in_python = not torch.compiler.is_compiling()  # Dynamo cannot warn
    if usable[0] == "reference" and device.type != "meta" and in_python:
        compiled = "cpp" if device.type == "cpu" else "cuda"
        warnings.warn(
            f"tcae_ops has no kernels that can run on {device}: its definition in plain torch "
            f"runs, which is slower (backend {compiled!r}: {why_not(compiled, device)})",
            stacklevel=4,
        )
    return usable[0]


def why_not(name: str, device: torch.device) -> str | None:
    """Return the reason why a backend cannot run on a device, or None if it can."""
    if name == "reference":
        return None
    if name == "triton":
        return triton.why_not(device)
    compiled = library.CPU if name == "cpp" else library.CUDA
    if device.type != compiled.device:
        return f"it is for {compiled.device} tensors, but the image is on {device}"
    return compiled.why_not(device.index)


def _check_name(name: str, origin: str) -> None:
    if name not in BACKENDS:
        raise ValueError(f"{origin} is {name!r}, but must be one of {', '.join(BACKENDS)}")
