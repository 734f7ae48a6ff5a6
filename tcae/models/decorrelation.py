"""Decorrelation: removes from one embedding what a linear map of another one can predict."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcae.distributed import ranks
from tcae.models.precision import wide

_MOMENTUM = 0.03  # of the running moments, which then cover about the last two thousand faces
_RIDGE = 0.01  # share of its variance that is added to each regressor's


class Decorrelation(nn.Module):
    """Subtraction of what a linear map of another embedding predicts.

    The linear map is the least-squares fit by running moments, much like the running means of batch
    norm: in training they follow the batches, in eval mode they are fixed. `refit` sets them after
    training. What is left does not correlate with the other embedding, so no linear probe can read
    the other's contents from it. The other embedding gets no gradient, and the coefficients of the
    map count as constants in the gradient.

    Args:
        width: Length of the embedding that is cleaned.
        known: Length of the embedding whose contents are removed.
    """

    mean: Tensor
    known_mean: Tensor
    covariance: Tensor
    cross: Tensor
    batches: Tensor

    def __init__(self, width: int, known: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("known_mean", torch.zeros(known))
        self.register_buffer("covariance", torch.eye(known))
        self.register_buffer("cross", torch.zeros(known, width))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, embedding: Tensor, known: Tensor) -> Tensor:
        """Remove from (N, width) what (N, known) predicts, in fp32 even under autocast."""
        with torch.autocast(embedding.device.type, enabled=False):
            embedding, known = wide(embedding), wide(known.detach())
            if self.training:
                self.batches += 1
                share = self.batches.to(self.mean).reciprocal().clamp_min(_MOMENTUM)
                self._follow(embedding.detach(), known, share)
            scale, coefficients = _regression(self.covariance, self.cross)
            return embedding - (known - self.known_mean) / scale @ coefficients

    @torch.no_grad()
    def prediction(self) -> nn.Linear:
        """Return the linear layer of the known embedding that eval mode subtracts.

        It is computed in fp64 from the present moments, so using it solves no equations.
        """
        scale, coefficients = _regression(self.covariance.double(), self.cross.double())
        weight = coefficients.T / scale
        layer = nn.utils.skip_init(nn.Linear, *self.cross.shape).to(self.cross)
        layer.weight.copy_(weight)
        layer.bias.copy_(-(weight @ self.known_mean.double()))
        return layer

    @torch.no_grad()
    def refit(self, embedding: Tensor, known: Tensor) -> None:
        """Replace the moments by those of (N, width) and (N, known).

        These should be embeddings of training faces in eval mode. The running moments are those of
        embeddings with the statistics of single batches, and with weights that have changed since.
        """
        self._follow(wide(embedding), wide(known), torch.ones_like(self.mean[0]))

    @torch.no_grad()
    def _follow(self, embedding: Tensor, known: Tensor, share: Tensor) -> None:
        embedding, known = ranks.gather(embedding), ranks.gather(known)
        self.mean.lerp_(embedding.mean(0), share)
        self.known_mean.lerp_(known.mean(0), share)
        known, embedding = known - self.known_mean, embedding - self.mean
        self.covariance.lerp_(known.T @ known / len(known), share)
        self.cross.lerp_(known.T @ embedding / len(known), share)


def _regression(covariance: Tensor, cross: Tensor) -> tuple[Tensor, Tensor]:
    """Return the standard deviations of the regressors, and the coefficients once standardised."""
    scale = covariance.diagonal().clamp_min(1e-12).sqrt()
    correlation = covariance / scale / scale[:, None]
    identity = torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
    ridged = correlation + _RIDGE * identity
    # The ridge keeps this solvable, and checking whether it was would wait for the GPU.
    coefficients, _ = torch.linalg.solve_ex(ridged, cross / scale[:, None])
    return scale, coefficients
