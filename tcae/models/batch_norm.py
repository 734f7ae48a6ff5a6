"""Batch norm: over all processes, of parts of a batch, computed again, of untrained networks."""

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


class SyncBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose statistics are those of the whole batch, whoever holds its parts.

    torch's `nn.SyncBatchNorm` does the same on GPUs only.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Normalise images (N, C, H, W); N, H, W are the same in all processes."""
        if ranks.world_size() == 1 or not self.training:
            return super().forward(images)
        wide = images.to(torch.promote_types(images.dtype, torch.float32))
        own = torch.stack([wide.mean((0, 2, 3)), wide.var((0, 2, 3), correction=0)])
        means, variances = ranks.gather(own[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._remember(mean.detach(), variance.detach(), ranks.world_size() * images.numel())
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return (wide * scale[:, None, None] + shift[:, None, None]).to(images.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, numbers: int) -> None:
        """Move the running statistics, which hold the unbiased variance."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        count = numbers / len(mean)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), share)


class Parted(nn.Sequential):
    """Layers that a batch of several parts passes in one; batch norm takes each part for itself.

    Results, gradients and running statistics are those of one pass after the other.
    """

    def forward(self, maps: Tensor, parts: int = 1) -> Tensor:
        """Pass maps (parts N, C, H, W)."""
        for layer in self:
            if isinstance(layer, Parted):
                maps = layer(maps, parts)
            elif isinstance(layer, nn.modules.batchnorm._BatchNorm):
                maps = in_parts(layer, parts, maps)
            else:
                maps = layer(maps)
        return maps


def in_parts(layer: nn.Module, parts: int, *inputs: Tensor) -> Tensor:
    """Pass the equal parts of a batch one after the other, if they have statistics to take."""
    if parts == 1 or not layer.training:
        return layer(*inputs)
    chunks = zip(*(whole.chunk(parts) for whole in inputs), strict=True)
    return torch.cat([layer(*part) for part in chunks])


def recomputed(part: nn.Module, compute: Pass, *inputs: Tensor | int) -> Tensor:
    """Compute a pass of a module again for the gradient; keep its inputs only.

    Its batch norms count it once in their running statistics.
    """
    return checkpoint(
        compute,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,
        context_fn=partial(_first_and_again, part),
    )


def _first_and_again(
    part: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return contextlib.nullcontext(), _Unnoticed(part)


class _Unnoticed(AbstractContextManager[None]):
    """Passes that batch norms do not count in their running statistics."""

    def __init__(self, part: nn.Module) -> None:
        self._norms = [m for m in part.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def __enter__(self) -> None:
        self._before = [(b, b.clone()) for norm in self._norms for b in norm.buffers()]

    def __exit__(self, *error: object) -> None:
        for buffer, value in self._before:
            buffer.data.copy_(value)  # .data: the passes kept it, and would refuse a changed one
        self._before = []


def synchronise(model: nn.Module) -> nn.Module:
    """Give a model batch norms over the batch of all processes; its weights keep their names."""
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
def settle_batch_norm(
    model: nn.Module, see: Callable[[Tensor], object], images: Tensor, batch_size: int = 64
) -> None:
    """Give the batch norms of a random network the statistics of real images.

    Without them the activations of random layers shrink, which would make it a weaker rival than
    it is.

    Args:
        model: The network; it is in evaluation mode afterwards.
        see: Passes a batch of images through it.
        images: (N, 3, S, S) images to take the statistics from.
        batch_size: Images in a batch.
    """
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # the mean of all that was seen, not of the last batches
    model.train()
    for batch in images.split(batch_size):
        see(batch)
    model.eval()
