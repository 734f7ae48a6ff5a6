"""Forward and backward passes as torch wants them: differentiable, traceable, of known shapes.

Every set of kernels gives two operators, ``forward`` and ``backward``; what they take is said in
csrc/torch/schemas.h. `Passes` makes one differentiable operator of them, the same for all kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tcae_ops import reference

Tensors = list[Tensor]


class Passes:
    """The passes of one set of kernels, which are registered with torch already.

    Args:
        suffix: What the names of their operators end in, after ``forward``, ``backward`` and
            ``backward_deterministic``. ``run`` is registered under a name with the same ending.
    """

    def __init__(self, suffix: str = "") -> None:
        def op(name: str) -> Any:
            return getattr(torch.ops.tcae_ops, name + suffix).default

        self.forward, self.backward = op("forward"), op("backward")
        self.backward_deterministic = op("backward_deterministic")
        # A short way to the first for one image by one flow, on a CPU.
        self.warp_forward: Callable[..., Tensor] | None = None
        self.library = torch.library.Library("tcae_ops", "FRAGMENT")
        torch.library.register_fake(f"tcae_ops::forward{suffix}", forward_fake)
        for name in ("backward", "backward_deterministic"):
            torch.library.register_fake(f"tcae_ops::{name}{suffix}", backward_fake)
        arguments = str(self.forward._schema).partition("(")[2]
        self.library.define(f"run{suffix}(" + arguments)
        self.library.impl(f"run{suffix}", self.execute, "CompositeImplicitAutograd")
        self.traced = op("run")

    def run(
        self,
        image: Tensor,
        flows: Sequence[Tensor],
        logits: Sequence[Tensor],
        target: Sequence[Tensor],
        units: str,
        padding: str,
        return_warped: bool,
    ) -> Sequence[Tensor]:
        """All four operators; see ``tcae_ops.reference.run``."""
        # A program that is being traced sees one operator; torch looks inside it later.
        execute = self.traced if torch.compiler.is_compiling() else self.execute
        inputs = (image, *flows, *logits, *target)
        results: Sequence[Tensor] = execute(
            inputs, len(flows), len(logits), units, padding, return_warped
        )
        return results

    def execute(
        self,
        inputs: Sequence[Tensor],
        flows: int,
        logits: int,
        units: str,
        padding: str,
        return_warped: bool,
    ) -> Sequence[Tensor]:
        """The results, differentiable if any input requires a gradient."""
        if torch.is_grad_enabled():
            for t in inputs:
                if t.requires_grad:
                    options = flows, logits, units, padding
                    apply = _Pass.apply if torch._C._are_functorch_transforms_active() else _apply
                    differentiable: Sequence[Tensor] = apply(self, options, return_warped, *inputs)
                    return differentiable
        return self.compute(inputs, flows, logits, units, padding, return_warped)

    def compute(
        self,
        inputs: Sequence[Tensor],
        flows: int,
        logits: int,
        units: str,
        padding: str,
        return_warped: bool,
    ) -> Sequence[Tensor]:
        """The results without their derivatives."""
        short_way = self.warp_forward
        if short_way is not None and len(inputs) == 2 and return_warped and inputs[0].is_cpu:
            return (short_way(inputs[0], inputs[1], units, padding),)
        results: Tensors = self.forward(inputs, flows, logits, units, padding, return_warped)
        return results


class _Pass(torch.autograd.Function):
    """Forward and backward pass of all operators."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: Passes,
        options: tuple[int, int, str, str],
        return_warped: bool,
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.passes, ctx.options = passes, options
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return tuple(passes.compute(inputs, *options, return_warped))

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
        needs = [i for i in range(end) if needed[3 + i]]
        by_input: list[Tensor | None] = [None] * (3 + len(inputs))
        if needs and upstream:
            # A backward pass that is to be differentiated itself goes through the definition.
            if torch.is_grad_enabled():
                differentiate = _redefine
            elif torch.are_deterministic_algorithms_enabled():
                differentiate = ctx.passes.backward_deterministic
            else:
                differentiate = ctx.passes.backward
            results = differentiate(upstream, by_loss, inputs, flows, logits, units, padding, needs)
            for i, result in zip(needs, results, strict=True):
                by_input[3 + i] = result
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


def forward_fake(
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: str,
    padding: str,
    return_warped: bool,
) -> Tensors:
    """What the forward pass returns, but for the numbers in it."""
    image = inputs[0]
    precision = reference.working_dtype(*inputs)
    results = []
    if len(inputs) > 1 + flows + logits:
        results.append(image.new_empty((image.shape[0],), dtype=precision))
    if return_warped:
        results.append(empty_image(image, reference.warped_dtype(image, precision)))
    return results


def backward_fake(
    upstream: Sequence[Tensor],
    by_loss: bool,
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: str,
    padding: str,
    needs: Sequence[int],
) -> Tensors:
    """What the backward pass returns, but for the numbers in it."""
    return [
        torch.empty_like(inputs[i], memory_format=torch.contiguous_format)
        if 1 <= i <= flows + logits
        else empty_image(inputs[i], inputs[i].dtype)
        for i in needs
    ]


def empty_image(like: Tensor, dtype: torch.dtype) -> Tensor:
    """Memory for an image, channels-last if the other is."""
    return torch.empty_like(like, dtype=dtype, memory_format=reference.memory_format(like))
