"""Batch norm: over all processes, for parts of a batch, recomputed, of random networks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tcae.distributed import ranks

Pass = Callable[..., Tensor]
_CALIBRATION_BATCH = 64  # images


class SyncBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` with statistics over the parts of a batch in all processes.

    torch's `nn.SyncBatchNorm` does the same, but on GPUs only.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise maps (N, C, H, W). N, H and W are the same in all processes."""
        if ranks.world_size() == 1 or not self.training:
            return super().forward(maps)
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
        own = torch.stack([wide.mean((0, 2, 3)), wide.var((0, 2, 3), correction=0)])
        means, variances = ranks.gather(own[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._update(mean.detach(), variance.detach(), ranks.world_size() * maps.numel())
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(maps.dtype)

    @torch.no_grad()
    def _update(self, mean: Tensor, variance: Tensor, numbers: int) -> None:
        """Update the running statistics. They hold the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        count = numbers / len(mean)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


class SequentialInParts(nn.Sequential):
    """Layers that take a batch of several equal parts, with batch norm statistics for each part.

    Results, gradients and running statistics are those of one pass per part, in less time.
    """

    def forward(self, maps: Tensor, parts: int = 1) -> Tensor:
        """Apply the layers to maps (parts * N, C, H, W)."""
        for layer in self:
            if isinstance(layer, SequentialInParts):
                maps = layer(maps, parts)
            elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
                maps = apply_in_parts(layer, parts, maps)
            else:
                maps = layer(maps)
        return maps


def apply_in_parts(layer: nn.Module, parts: int, *inputs: Tensor) -> Tensor:
    """Apply a layer to the equal parts of a batch, one by one in training and at once otherwise."""
    if parts == 1 or not layer.training:
        return layer(*inputs)
    chunks = zip(*(whole.chunk(parts) for whole in inputs), strict=True)
    return torch.cat([layer(*part) for part in chunks])


def recompute(part: nn.Module, compute: Pass, *inputs: Tensor | int) -> Tensor:
    """Compute a pass of a module, keep its inputs only, and compute it again for the gradient.

    Batch norms count the pass once in their running statistics.
    """
    return checkpoint(
        compute,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=partial(_checkpoint_contexts, part),
    )


def _checkpoint_contexts(
    part: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return contextlib.nullcontext(), _FrozenStatistics(part)


class _FrozenStatistics(AbstractContextManager[None]):
    """A context in which the passes of a module leave its batch norm statistics as they are."""

    def __init__(self, part: nn.Module) -> None:
        self._norms = [m for m in part.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def __enter__(self) -> None:
        self._before = [(b, b.clone()) for norm in self._norms for b in norm.buffers()]

    def __exit__(self, *error: object) -> None:
        for buffer, value in self._before:
            buffer.data.copy_(value)  # .data: autograd would refuse a buffer changed otherwise
        self._before = []


def convert_sync_batch_norm(model: nn.Module) -> nn.Module:
    """Replace a model's batch norms by ones over all processes. Weights keep their names."""
    if any(parameter.is_cuda for parameter in model.parameters()):
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                norm = SyncBatchNorm2d(child.num_features, child.eps, child.momentum)
                norm.to(child.weight)  # its dtype
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm.train(child.training))
    return model


@torch.no_grad()
def calibrate_batch_norm(
    model: nn.Module, forward: Callable[[Tensor], object], images: Tensor
) -> None:
    """Set the running statistics of a random network to those of real images.

    With the initial ones the activations shrink from layer to layer, and the network would look
    worse than it is.

    Args:
        model: The network. It is left in evaluation mode.
        forward: Applies the network to a batch of images.
        images: (N, 3, S, S) images to take the statistics from.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean over all batches, not mostly over the last
    model.train()
    for batch in images.split(_CALIBRATION_BATCH):
        forward(batch)
    model.eval()
