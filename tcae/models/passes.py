"""How the passes of a model are computed in training: compiled, or kept in memory less of."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from tcae.models.batch_norm import Pass, recomputed
from tcae.models.twin_cycle import TwinCycle


def compile_passes(model: TwinCycle, mode: str | None = None) -> None:
    """Compile the passes of encoder and decoders that are differentiated; others stay as they are.

    Weights keep their names. Sums are taken in another order: in fp32 losses agree with those of
    the model as it was to 1e-4 of their size. Each size of a batch is compiled for itself.

    Args:
        model: It is changed.
        mode: Of `torch.compile`. "reduce-overhead" replays passes on a GPU as CUDA graphs; then
            `torch.compiler.cudagraph_mark_step_begin` has to be called before each step.
    """
    for part in model.passes():
        # Else the many sorts of passes (validation, one with and one without gradient to the
        # images, ...) would each be compiled, for minutes.
        # torch 2.13 fails to compile up-sampling for sizes that it does not know (dynamic).
        _replace(part, torch.compile(part.forward, mode=mode, dynamic=False))


def recompute_passes(model: TwinCycle) -> None:
    """Keep of each pass of encoder and decoders its input only; compute it again for the gradient.

    Gradients and running statistics are the same to the bit. The step takes longer by about one
    forward pass.

    Args:
        model: It is changed.
    """
    for part in model.passes():
        _replace(part, partial(recomputed, part, part.forward))


def _replace(part: nn.Module, differentiated: Pass) -> None:
    """Give a module another way to compute the passes of training that are differentiated."""
    plain: Pass = part.forward

    def forward(*inputs: Tensor | int) -> Tensor:
        learning = part.training and torch.is_grad_enabled()
        return (differentiated if learning else plain)(*inputs)

    part.forward = forward
