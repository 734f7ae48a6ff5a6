"""Forward and backward passes as torch needs them: differentiable and traceable, with known shapes.

Every set of kernels has two operators, ``forward`` and ``backward``. csrc/torch/schemas.h explains
their arguments. `Passes` makes one differentiable operator of them, the same for all kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils import _pytree

from tcae_ops import reference
from tcae_ops.request import Padding, Request, Units

Tensors = list[Tensor]
# Every call asks, so the name is looked up once.
_func_is_active = torch._C._are_functorch_transforms_active
_LEGACY_VMAP: Any = torch._C._parse_dispatch_key("VmapMode")


class Passes:
    """The passes of one set of kernels, which are already registered with torch.

    Args:
        suffix: The end of their operators' names, after ``forward``, ``backward`` and
            ``backward_deterministic``. ``run`` is registered with the same suffix.
    """

    def __init__(self, suffix: str = "") -> None:
        def op(name: str) -> Any:
            return getattr(torch.ops.tcae_ops, name + suffix).default

        self.forward, self.backward = op("forward"), op("backward")
        self.backward_deterministic = op("backward_deterministic")
        # The same for one image and one flow on a CPU, if there are kernels for it.
        self.warp_forward: Callable[..., Tensor] | None = None
        self.warp_backward: Callable[..., Tensors] | None = None
        self.library = torch.library.Library("tcae_ops", "FRAGMENT")
        torch.library.register_fake(f"tcae_ops::forward{suffix}", forward_fake)
        for name in ("backward", "backward_deterministic"):
            torch.library.register_fake(f"tcae_ops::{name}{suffix}", backward_fake)
        arguments = str(self.forward._schema).partition("(")[2]
        self.library.define(f"run{suffix}(" + arguments)
        self.library.impl(
            f"run{suffix}",
            lambda *arguments: self.execute(Request.of(*arguments)),
            "CompositeImplicitAutograd",
        )
        self.traced = op("run")
        for name in ("run", "forward", "backward", "backward_deterministic"):
            register_vmap(op(name))

    def run(self, request: Request) -> Sequence[Tensor]:
        """Run an operator. See ``tcae_ops.reference.run``."""
        if not torch.compiler.is_compiling():
            return self.execute(request)
        # A program that is being traced sees one operator. torch looks inside it later.
        return self._one_operator(request)

    def _one_operator(self, request: Request) -> Sequence[Tensor]:
        image, flows, logits, target, *options = request
        inputs = (image, *flows, *logits, *target)
        results: Tensors = self.traced(inputs, len(flows), len(logits), *options)
        return results

    def _transformed(self, request: Request) -> Sequence[Tensor]:
        """Return the results where torch.func or forward mode is at work."""
        stack = torch._C._functorch.peek_interpreter_stack()
        if forward_ad._current_level < 0 and stack.key() == torch._C._functorch.TransformType.Vmap:
            return self._one_operator(request)
        return reference.run(request)

    def execute(self, request: Request) -> Sequence[Tensor]:
        """Return the results, differentiable if any input requires a gradient."""
        if is_transformed():
            return self._transformed(request)
        image, flows, logits, target, units, padding, return_warped = request
        if self.warp_forward is not None and image.is_cpu and not logits and not target:
            return (self.warp(image, flows[0], units, padding),)
        inputs = (image, *flows, *logits, *target)
        if torch.is_grad_enabled():
            for t in inputs:
                if t.requires_grad:
                    options = len(flows), len(logits), units, padding, return_warped
                    differentiable: Sequence[Tensor] = _apply(self, options, *inputs)
                    return differentiable
        results: Tensors = self.forward(
            inputs, len(flows), len(logits), units, padding, return_warped
        )
        return results

    def warp(self, image: Tensor, flow: Tensor, units: Units, padding: Padding) -> Tensor:
        """Do what `execute` does, for one image and one flow on a CPU and without transforms."""
        assert self.warp_forward is not None
        if torch.is_grad_enabled() and (image.requires_grad or flow.requires_grad):
            differentiable: Tensor = _apply_warp(self, image, flow, units, padding)
            return differentiable
        return self.warp_forward(image, flow, units, padding)


def is_transformed() -> bool:
    """Return whether torch.func or forward mode is at work."""
    return _func_is_active() or forward_ad._current_level >= 0


def _needs_definition() -> bool:
    """Return whether a backward pass is differentiated or transformed: then the definition runs.

    One transform is that of many gradients at once (``is_grads_batched``).
    """
    batched: bool = torch._C._dispatch_tls_is_dispatch_key_included(_LEGACY_VMAP)
    return batched or torch.is_grad_enabled() or is_transformed()


def _demanded(passes: Passes) -> Callable[..., Any] | None:
    """Return the backward pass that the caller's settings demand. None if any will do."""
    if _needs_definition():
        return _redefine
    return passes.backward_deterministic if torch.are_deterministic_algorithms_enabled() else None


def register_vmap(op: Any) -> None:
    """Tell torch how to run an operator on all members of a vmap.

    They run at once, as one larger batch. Members that each have one image for several flows run
    one after the other: in one batch each would need copies of its image.
    """

    def rule(info: Any, in_dims: Sequence[Any], *arguments: Any) -> tuple[Any, Any]:
        size = info.batch_size

        def fold(t: Tensor, dim: int | None) -> Tensor:
            return (t.expand(size, *t.shape) if dim is None else t.movedim(dim, 0)).flatten(0, 1)

        def unfold(result: Tensor) -> Tensor:
            return result.unflatten(0, (size, result.shape[0] // size))

        def member(i: int) -> Any:
            def own(t: Tensor, dim: int | None) -> Tensor:
                return t if dim is None else t.select(dim, i)

            return op(*_each(own, arguments, in_dims))

        batches: set[int] = set()
        _each(lambda t, dim: batches.add(t.shape[1 if dim == 0 else 0]), arguments, in_dims)
        if len(batches) == 1:
            results = _pytree.tree_map(unfold, op(*_each(fold, arguments, in_dims)))
        else:
            members = map(member, range(size))
            results = _pytree.tree_map(lambda *of_members: torch.stack(of_members), *members)
        return results, _pytree.tree_map(lambda _: 0, results)

    torch.library.register_vmap(op, rule)


def _each(function: Callable[[Tensor, int | None], Any], argument: Any, dim: Any) -> Any:
    """Return nested arguments of an operator in which tensors are replaced by a function of them.

    Args:
        function: Of a tensor and the axis of the vmap's members, or None if they share the tensor.
        argument: A tensor, a list or tuple of arguments, or something else, which stays.
        dim: The axis, or those of the list, or None for all of it.
    """
    if isinstance(argument, (list, tuple)):
        dims = dim if isinstance(dim, (list, tuple)) else [dim] * len(argument)
        return [_each(function, t, d) for t, d in zip(argument, dims, strict=True)]
    return function(argument, dim) if isinstance(argument, Tensor) else argument


class _Pass(torch.autograd.Function):
    """The forward and the backward pass of all operators."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: Passes,
        options: tuple[int, int, Units, Padding, bool],
        *inputs: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.passes, ctx.options = passes, options
        ctx.save_for_backward(*inputs)
        ctx.set_materialize_grads(False)
        return tuple(passes.forward(inputs, *options))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        flows, logits, units, padding, _ = ctx.options
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
            differentiate = _demanded(ctx.passes) or ctx.passes.backward
            results = differentiate(upstream, by_loss, inputs, flows, logits, units, padding, needs)
            for i, result in zip(needs, results, strict=True):
                by_input[2 + i] = result
        return tuple(by_input)


class _Warp(torch.autograd.Function):
    """The same for one image and one flow on a CPU, in as few steps as possible."""

    @staticmethod
    def forward(
        ctx: Any, passes: Passes, image: Tensor, flow: Tensor, units: Units, padding: Padding
    ) -> Tensor:
        ctx.call = passes, units, padding
        ctx.save_for_backward(image, flow)
        ctx.set_materialize_grads(False)
        assert passes.warp_forward is not None
        return passes.warp_forward(image, flow, units, padding)

    @staticmethod
    def backward(ctx: Any, by_warped: Tensor | None) -> tuple[Tensor | None, ...]:
        passes, units, padding = ctx.call
        image, flow = ctx.saved_tensors
        _, by_image, by_flow, _, _ = ctx.needs_input_grad
        if by_warped is None:
            return None, None, None, None, None
        differentiate = _demanded(passes)
        if differentiate is not None:
            needs = [i for i, needed in enumerate((by_image, by_flow)) if needed]
            results = differentiate([by_warped], False, (image, flow), 1, 0, units, padding, needs)
        else:
            results = passes.warp_backward(
                by_warped, image, flow, units, padding, by_image, by_flow
            )
        return (
            None,
            results[0] if by_image else None,
            results[-1] if by_flow else None,
            None,
            None,
        )


# `apply` without what only torch.func needs: that takes as long as the warp of a small image.
_apply = super(torch.autograd.Function, _Pass).apply
_apply_warp = super(torch.autograd.Function, _Warp).apply


def _redefine(
    upstream: Tensors,
    by_loss: bool,
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: Units,
    padding: Padding,
    needs: list[int],
) -> Sequence[Tensor]:
    """Run the backward pass by the definition, which can be differentiated and transformed."""
    again = torch.is_grad_enabled()
    return_warped = len(upstream) > by_loss
    with torch.enable_grad():
        # Aliases: one tensor may stand for several inputs, and each needs its own gradient.
        inputs = [t.view_as(t) for t in inputs]
        request = Request.of(inputs, flows, logits, units, padding, return_warped)
        outputs = reference.run(request)
    return torch.autograd.grad(
        outputs if by_loss else outputs[-1:],
        [inputs[i] for i in needs],
        upstream,
        create_graph=again,
        materialize_grads=True,
    )


def forward_fake(
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: Units,
    padding: Padding,
    return_warped: bool,
) -> Tensors:
    """Return empty tensors of the shapes and types that the forward pass returns."""
    image, shape = inputs[0], reference.warped_shape(inputs[0], inputs[1])
    precision = reference.working_dtype(*inputs)
    results = []
    if len(inputs) > 1 + flows + logits:
        results.append(image.new_empty(shape[:1], dtype=precision))
    if return_warped:
        results.append(empty_image(image, shape, reference.warped_dtype(image, precision)))
    return results


def backward_fake(
    upstream: Sequence[Tensor],
    by_loss: bool,
    inputs: Sequence[Tensor],
    flows: int,
    logits: int,
    units: Units,
    padding: Padding,
    needs: Sequence[int],
) -> Tensors:
    """Return empty tensors of the shapes and types that the backward pass returns."""
    return [
        torch.empty_like(inputs[i], memory_format=torch.contiguous_format)
        if 1 <= i <= flows + logits
        else empty_image(inputs[i], inputs[i].shape, inputs[i].dtype)
        for i in needs
    ]


def empty_image(like: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return memory for an image of some shape, channels-last if `like` is."""
    format = reference.memory_format(like)
    return torch.empty(shape, dtype=dtype, device=like.device, memory_format=format)
