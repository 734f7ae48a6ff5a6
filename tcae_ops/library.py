"""The compiled libraries: how they are loaded, and what torch needs to know of their operators.

The public operators are also registered with torch, as ``torch.ops.tcae_ops.warp`` and so on, for
programs that are traced, exported or scripted by name.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcae_ops import reference
from tcae_ops.passes import Passes, Tensors, backward_fake, forward_fake, register_vmap
from tcae_ops.request import Padding, Request, Units
from tcae_ops.version import VERSION


class Library:
    """One compiled library: where it is, how it was built, and why it is not in use."""

    def __init__(self, device: str, needs: Library | None = None) -> None:
        self.device = device
        self.needs = needs
        self.path: Path | None = None
        self.build: dict[str, Any] = {}
        self._problems: dict[int, str | None] = {}  # of GPUs that were asked
        self.problem: str | None = f"no library for {device} was built; run `pip install .`"
        for directory in _directories():
            path = directory / f"libtcae_ops_{device}.so"
            if path.is_file():
                self._load(path)
                break
            self._note_skipped(directory)

    def _load(self, path: Path) -> None:
        self.path = path
        self.build = _build(path.parent)
        if self.build.get("version") != VERSION:
            self.problem = (
                f"{path} was built from version {self.build.get('version', 'unknown')}, "
                f"but this is {VERSION}; run `pip install .` again"
            )
            return
        if self.needs is not None and self.needs.problem is not None:
            self.problem = f"it needs the one for {self.needs.device}: {self.needs.problem}"
            return
        if self.device == "cuda" and not torch.backends.cuda.is_built():
            self.problem = f"this torch ({torch.__version__}) was built without CUDA"
            return
        try:
            torch.ops.load_library(path)
        except OSError as error:
            self.problem = f"{path} cannot be loaded: {error}"
        else:
            self.problem = None

    def why_not(self, index: int | None) -> str | None:
        """Return why the library cannot run on the device with this number, or None if it can."""
        if self.problem is not None or self.device != "cuda":
            return self.problem
        if not torch.cuda.is_available():
            return "there is no CUDA device"
        return self._problem_of_gpu(torch.cuda.current_device() if index is None else index)

    def _problem_of_gpu(self, index: int) -> str | None:
        """Ask the kernels themselves whether the driver and the GPU can run them."""
        if index not in self._problems:
            self._problems[index] = self._ask(index)
        return self._problems[index]

    def _ask(self, index: int) -> str | None:
        ask = ctypes.CDLL(str(self.path)).tcae_ops_cuda_problem
        ask.restype = ctypes.c_char_p
        problem: bytes | None = ask(index)
        if problem is None:
            return None
        built_for = self.build.get("cuda", {}).get("architectures", "unknown architectures")
        return f"its kernels, for {built_for}, cannot run on GPU {index}: {problem.decode()}"

    def _note_skipped(self, directory: Path) -> None:
        self.build = self.build or _build(directory)
        skipped = self.build.get(self.device, {}).get("skipped")
        if skipped:
            self.problem = f"the library for {self.device} was not built: {skipped}"


def _directories() -> Iterator[Path]:
    """Yield the directory of this file, then that of the installed distribution.

    A program that runs inside a clone of the source imports this file from the clone, while
    ``pip install .`` has put the libraries elsewhere.
    """
    here = Path(__file__).resolve().parent
    yield here
    for distribution in importlib.metadata.distributions(name="tcae_ops"):
        directory = Path(str(distribution.locate_file("tcae_ops"))).resolve()
        if directory != here:
            yield directory


def _build(directory: Path) -> dict[str, Any]:
    try:
        build: dict[str, Any] = json.loads((directory / "build.json").read_text())
    except (OSError, ValueError):
        return {}
    return build


def run(request: Request) -> Sequence[Tensor]:
    """Run an operator with the compiled library. See ``tcae_ops.reference.run``."""
    return PASSES.run(request)


def run_cuda(request: Request) -> Sequence[Tensor]:
    """Run an operator on a GPU, by the definition if the kernels cannot take so many flows."""
    execute = run if len(request.flows) <= MOST_FLOWS_CUDA else reference.run
    return execute(request)


def _warp_forward_fake(image: Tensor, flow: Tensor, units: Units, padding: Padding) -> Tensor:
    return forward_fake([image, flow], 1, 0, units, padding, True)[0]


def _warp_backward_fake(
    by_warped: Tensor,
    image: Tensor,
    flow: Tensor,
    units: Units,
    padding: Padding,
    by_image: bool,
    by_flow: bool,
) -> Tensors:
    needs = [i for i, needed in enumerate((by_image, by_flow)) if needed]
    return backward_fake([by_warped], False, [image, flow], 1, 0, units, padding, needs)


def _register() -> Passes:
    """Register what torch needs beside the kernels: shapes, and the differentiable operators."""
    passes = Passes()
    for name, fake in (("forward", _warp_forward_fake), ("backward", _warp_backward_fake)):
        op = getattr(torch.ops.tcae_ops, f"warp_{name}").default
        torch.library.register_fake(op, fake)
        register_vmap(op)
        # Not the OpOverload itself: to call it takes a tenth longer.
        setattr(passes, f"warp_{name}", op._op)
    options = '*, str units="pixels", str padding="border"'
    for prefix, blend in (("", False), ("blend_", True)):
        inputs = "Tensor[] flows, Tensor[] logits" if blend else "Tensor flow"
        for name, loss, returns in (
            ("warp", False, "Tensor"),
            ("warp_l1", True, "Tensor"),
            ("warp_l1.warped", True, "(Tensor, Tensor)"),
        ):
            target = "Tensor target, " if loss else ""
            passes.library.define(
                f"{prefix}{name}(Tensor image, {inputs}, {target}{options}) -> {returns}"
            )
            op = _named(passes, blend, loss, return_warped=not loss or "." in name)
            passes.library.impl(prefix + name, op, "CompositeImplicitAutograd")
    return passes


def _named(passes: Passes, blend: bool, loss: bool, return_warped: bool) -> Callable[..., Any]:
    """Return a public operator under its own name, for ``torch.ops``."""

    def op(image: Tensor, *rest: Any, units: Units = "pixels", padding: Padding = "border") -> Any:
        flows, logits = rest[:2] if blend else ([rest[0]], [])
        target = [rest[-1]] if loss else []
        request = Request(image, flows, logits, target, units, padding, return_warped)
        results = passes.execute(request.of_one_batch())
        return tuple(results) if len(results) > 1 else results[0]

    return op


SIMD_LEVELS = ("avx512", "avx2", "portable")


@contextmanager
def simd_level(name: str) -> Iterator[None]:
    """Run the CPU kernels of one instruction set inside the ``with`` block.

    The environment variable ``TCAE_OPS_SIMD`` does the same for a whole process.

    Args:
        name: "avx512", "avx2" or "portable".

    Raises:
        ValueError: There are no kernels of this name, or this machine cannot run them.
    """
    before = torch.ops.tcae_ops.simd_level()
    _use_simd_level(name, "simd_level")
    try:
        yield
    finally:
        torch.ops.tcae_ops.use_simd_level(before)


def _use_simd_level(name: str, origin: str) -> None:
    if not torch.ops.tcae_ops.use_simd_level(name):
        here = ", ".join(level for level in SIMD_LEVELS if _can_run(level))
        raise ValueError(f"{origin} is {name!r}, but this machine can run {here}")


def _can_run(level: str) -> bool:
    before = torch.ops.tcae_ops.simd_level()
    try:
        return bool(torch.ops.tcae_ops.use_simd_level(level))
    finally:
        torch.ops.tcae_ops.use_simd_level(before)


MOST_FLOWS_CUDA = 16
CPU = Library("cpu")
CUDA = Library("cuda", needs=CPU)
if CPU.problem is None:
    if os.environ.get("TCAE_OPS_SIMD"):
        _use_simd_level(os.environ["TCAE_OPS_SIMD"], "TCAE_OPS_SIMD")
    PASSES = _register()
