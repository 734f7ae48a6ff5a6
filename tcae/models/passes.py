"""Other ways to compute the passes of a model in training: compiled, or with less memory."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from tcae.models.batch_norm import Pass, recompute
from tcae.models.twin_cycle import TwinCycle


def compile_passes(model: TwinCycle, mode: str | None = None) -> None:
    """Compile the passes of encoder and decoders that are differentiated, and only those.

    Weights keep their names. Sums are taken in another order: in fp32, losses agree with those of
    the uncompiled model to 1e-4 of their size. Each batch size is compiled separately.

    Args:
        model: The model, changed in place.
        mode: The mode of `torch.compile`. "reduce-overhead" runs passes as CUDA graphs on a GPU.
            `torch.compiler.cudagraph_mark_step_begin` must then be called before each step.
    """
    for part in model.passes():
        # If passes without a gradient were compiled too, each kind of pass would take minutes:
        # validation, training with and without a gradient of the images, ...
        # dynamic=False: torch 2.13 fails to compile up-sampling of unknown sizes.
        _replace(part, torch.compile(part.forward, mode=mode, dynamic=False))


def recompute_passes(model: TwinCycle) -> None:
    """Keep only the inputs of encoder and decoders, and compute them again for the gradient.

    Gradients and running statistics are the same to the bit. A step takes longer by about one
    forward pass.

    Args:
        model: The model, changed in place.
    """
    for part in model.passes():
        _replace(part, partial(recompute, part, part.forward))


def divide_passes(model: TwinCycle, count: int) -> None:
    """Compute encoder and decoders on parts of the batch, one after the other, as if recomputed.

    What a pass keeps for the gradient then exists of one part at a time. All else, such as losses
    that compare the pairs of a batch, is computed of the whole batch. But for batch norm, results
    and gradients are those of the whole batch, in another order of sums: each part is normalised by
    its own statistics, and updates the running ones. A part has every `count`-th image, so both
    images of a pair are in the same one, and neighbours, which look alike, are not.

    Args:
        model: The model, changed in place.
        count: The number of parts. Where it does not divide the batch, as that of the twins, there
            are as many as divide both.
    """
    for part in model.passes():
        _replace(part, partial(_in_turn, count, part, part.forward))


def _in_turn(count: int, part: nn.Module, compute: Pass, *inputs: Tensor | int) -> Tensor:
    """Compute a pass of each part of the batch by itself, and put the rows back in their order."""
    batches = [value for value in inputs if isinstance(value, Tensor)]
    sets = [value for value in inputs if isinstance(value, int)]
    count = math.gcd(count, len(batches[0]) // math.prod(sets))
    parts = [
        recompute(part, compute, *(batch[first::count] for batch in batches), *sets)
        for first in range(count)
    ]
    return torch.stack(parts, 1).flatten(0, 1)


def _replace(part: nn.Module, differentiated: Pass) -> None:
    """Replace how a module computes the passes in training that are differentiated."""
    plain: Pass = part.forward

    def forward(*inputs: Tensor | int) -> Tensor:
        learning = part.training and torch.is_grad_enabled()
        return (differentiated if learning else plain)(*inputs)

    part.forward = forward
