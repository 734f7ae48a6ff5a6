"""The compiled operators: loading them, and making them differentiable and traceable.

Two operators stand behind all public ones, ``torch.ops.tcae_ops.forward`` and ``backward``; what
they take is said in csrc/torch/schemas.h. ``warp_forward`` is a short way to the first. The public
operators are registered with torch too, as ``torch.ops.tcae_ops.warp`` and so on, for programs that
are traced, exported or scripted by name.
"""

from __future__ import annotations

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
from tcae_ops.version import VERSION

Tensors = list[Tensor]


class Library:
    """One compiled library: where it is, what it was built with, and why it is not in use."""

    def __init__(self, device: str, needs: Library | None = None) -> None:
        self.device = device
        self.needs = needs
        self.path: Path | None = None
        self.build: dict[str, Any] = {}
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

    def _note_skipped(self, directory: Path) -> None:
        self.build = self.build or _build(directory)
        skipped = self.build.get(self.device, {}).get("skipped")
        if skipped:
            self.problem = f"the library for {self.device} was not built: {skipped}"


def _directories() -> Iterator[Path]:
    """Beside this file, then in the installed distribution.

    A program that runs inside a clone of the source imports this file from the clone, while
    ``pip install .`` has put the libraries elsewhere.
    """
    here = Path(__file__).resolve().parent
    yield here
    for distribution in importlib.metadata.distributions(name="tcae"):
        directory = Path(str(distribution.locate_file("tcae_ops"))).resolve()
        if directory != here:
            yield directory


def _build(directory: Path) -> dict[str, Any]:
    try:
        build: dict[str, Any] = json.loads((directory / "build.json").read_text())
    except (OSError, ValueError):
        return {}
    return build


def run(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    target: Sequence[Tensor],
    units: str,
    padding: str,
    return_warped: bool,
) -> Sequence[Tensor]:
    """All four operators by the compiled library; see ``tcae_ops.reference.run``."""
    # A program that is being traced sees one operator; torch looks inside it later.
    execute = torch.ops.tcae_ops.run.default if torch.compiler.is_compiling() else _run
    inputs = (image, *flows, *logits, *target)
    results: Sequence[Tensor] = execute(
        inputs, len(flows), len(logits), units, padding, return_warped
    )
    return results


def _run(
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: str,
    padding: str,
    return_warped: bool,
) -> Sequence[Tensor]:
    if torch.is_grad_enabled():
        for t in inputs:
            if t.requires_grad:
                options = flows, logits, units, padding
                apply = _Pass.apply if torch._C._are_functorch_transforms_active() else _apply
                differentiable: Sequence[Tensor] = apply(options, return_warped, *inputs)
                return differentiable
    return _compute(inputs, flows, logits, units, padding, return_warped)


def _compute(
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: str,
    padding: str,
    return_warped: bool,
) -> Sequence[Tensor]:
    """The results without their derivatives."""
    if len(inputs) == 2 and return_warped and inputs[0].is_cpu:
        return (_warp_forward(inputs[0], inputs[1], units, padding),)
    results: Tensors = _forward(inputs, flows, logits, units, padding, return_warped)
    return results


class _Pass(torch.autograd.Function):
    """Forward and backward pass of all operators."""

    @staticmethod
    def forward(
        ctx: Any, options: tuple[int, int, str, str], return_warped: bool, *inputs: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.options = options
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return tuple(_compute(inputs, *options, return_warped))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        flows, logits, units, padding = ctx.options
        end = len(inputs)
        has_target = end > 1 + flows + logits
        by_loss = has_target and grads[0] is not None
        if has_target and not by_loss:
            end -= 1  # nothing depends on the target
        upstream = [g for g in grads if g is not None]
        needed = ctx.needs_input_grad
        needs = [i for i in range(end) if needed[2 + i]]
        by_input: list[Tensor | None] = [None] * (2 + len(inputs))
        if needs and upstream:
            # A backward pass that is to be differentiated itself goes through the definition.
            if torch.is_grad_enabled():
                differentiate = _redefine
            elif torch.are_deterministic_algorithms_enabled():
                differentiate = _backward_deterministic
            else:
                differentiate = _backward
            results = differentiate(upstream, by_loss, inputs, flows, logits, units, padding, needs)
            for i, result in zip(needs, results, strict=True):
                by_input[2 + i] = result
        return tuple(by_input)


# `apply` without what torch.func alone needs: that takes as long as the warp of a small image.
_apply = super(torch.autograd.Function, _Pass).apply


def _redefine(
    upstream: Tensors,
    by_loss: bool,
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: str,
    padding: str,
    needs: list[int],
) -> Sequence[Tensor]:
    """The backward pass by the definition, so that it can be differentiated again."""
    # Aliases: one tensor may be given for several inputs, and each has a gradient of its own.
    inputs = [t.view_as(t) for t in inputs]
    fields, target = inputs[1 : 1 + flows + logits], inputs[1 + flows + logits :]
    return_warped = len(upstream) > by_loss
    outputs = reference.run(
        inputs[0], fields[:flows], fields[flows:], target, units, padding, return_warped
    )
    return torch.autograd.grad(
        outputs if by_loss else outputs[-1:],
        [inputs[i] for i in needs],
        upstream,
        create_graph=True,
        materialize_grads=True,
    )


def _forward_fake(
    inputs: Tensors, flows: int, logits: int, units: str, padding: str, return_warped: bool
) -> Tensors:
    image = inputs[0]
    precision = reference.working_dtype(*inputs)
    results = []
    if len(inputs) > 1 + flows + logits:
        results.append(image.new_empty((image.shape[0],), dtype=precision))
    if return_warped:
        results.append(_empty_image(image, reference.warped_dtype(image, precision)))
    return results


def _warp_forward_fake(image: Tensor, flow: Tensor, units: str, padding: str) -> Tensor:
    return _forward_fake([image, flow], 1, 0, units, padding, True)[0]


def _backward_fake(
    upstream: Tensors,
    by_loss: bool,
    inputs: Tensors,
    flows: int,
    logits: int,
    units: str,
    padding: str,
    needs: list[int],
) -> Tensors:
    return [
        torch.empty_like(inputs[i], memory_format=torch.contiguous_format)
        if 1 <= i <= flows + logits
        else _empty_image(inputs[i], inputs[i].dtype)
        for i in needs
    ]


def _empty_image(like: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty_like(like, dtype=dtype, memory_format=reference.memory_format(like))


def _named(blend: bool, loss: bool, return_warped: bool) -> Callable[..., Any]:
    """A public operator under its own name, for ``torch.ops``."""

    def op(image: Tensor, *rest: Any, units: str = "pixels", padding: str = "border") -> Any:
        flows, logits = rest[:2] if blend else ([rest[0]], [])
        target = [rest[-1]] if loss else []
        inputs = [image, *flows, *logits, *target]
        results = _run(inputs, len(flows), len(logits), units, padding, return_warped)
        return tuple(results) if len(results) > 1 else results[0]

    return op


def _register() -> torch.library.Library:
    """Tells torch what it needs beside the kernels: shapes, and the differentiable operators."""
    library = torch.library.Library("tcae_ops", "FRAGMENT")
    torch.library.register_fake("tcae_ops::forward", _forward_fake)
    torch.library.register_fake("tcae_ops::warp_forward", _warp_forward_fake)
    torch.library.register_fake("tcae_ops::backward", _backward_fake)
    torch.library.register_fake("tcae_ops::backward_deterministic", _backward_fake)
    arguments = str(torch.ops.tcae_ops.forward.default._schema).partition("(")[2]
    library.define("run(" + arguments)
    library.impl("run", _run, "CompositeImplicitAutograd")
    options = '*, str units="pixels", str padding="border"'
    for prefix, blend in (("", False), ("blend_", True)):
        inputs = "Tensor[] flows, Tensor[] logits" if blend else "Tensor flow"
        for name, loss, returns in (
            ("warp", False, "Tensor"),
            ("warp_l1", True, "Tensor"),
            ("warp_l1.warped", True, "(Tensor, Tensor)"),
        ):
            target = "Tensor target, " if loss else ""
            library.define(
                f"{prefix}{name}(Tensor image, {inputs}, {target}{options}) -> {returns}"
            )
            op = _named(blend, loss, return_warped=not loss or "." in name)
            library.impl(prefix + name, op, "CompositeImplicitAutograd")
    return library


def run_cuda(
    image: Tensor,
    flows: Sequence[Tensor],
    logits: Sequence[Tensor],
    target: Sequence[Tensor],
    units: str,
    padding: str,
    return_warped: bool,
) -> Sequence[Tensor]:
    """All four operators on a GPU; by the definition if there are more flows than kernels take."""
    blends = len(flows) <= MOST_FLOWS_CUDA
    execute = run if blends else reference.run
    return execute(image, flows, logits, target, units, padding, return_warped)


SIMD_LEVELS = ("avx512", "avx2", "portable")


@contextmanager
def simd_level(name: str) -> Iterator[None]:
    """Runs the CPU kernels compiled for one instruction set while the block lasts.

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
        raise ValueError(
            f"{origin} is {name!r}, but must be one of {', '.join(SIMD_LEVELS)} "
            "that this machine can run"
        )


MOST_FLOWS_CUDA = 16
CPU = Library("cpu")
CUDA = Library("cuda", needs=CPU)
if CPU.problem is None:
    if os.environ.get("TCAE_OPS_SIMD"):
        _use_simd_level(os.environ["TCAE_OPS_SIMD"], "TCAE_OPS_SIMD")
    _forward = torch.ops.tcae_ops.forward.default
    _warp_forward = torch.ops.tcae_ops.warp_forward.default
    _backward = torch.ops.tcae_ops.backward.default
    _backward_deterministic = torch.ops.tcae_ops.backward_deterministic.default
    _registered = _register()
