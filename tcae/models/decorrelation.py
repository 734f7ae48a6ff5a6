"""Takes out of one embedding what another one tells linearly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tcae.distributed import ranks
from tcae.models.precision import wide

_MOMENTUM = 0.03  # of the running moments: about the last two thousand faces
_RIDGE = 0.01  # share of its own variance that each regressor is charged


class Decorrelation(nn.Module):
    """Subtracts from an embedding its linear prediction from another one.

    The prediction is the least-squares one by running moments, as batch norm has running means; in
    training they follow the batches, in eval mode they rest, `refit` ends them. What is left does
    not correlate with the other embedding, so no linear probe reads the other's contents out of it.
    The other embedding gets no gradient, and the prediction's coefficients are constants to it.

    Args:
        width: channels of the embedding that is cleaned.
        known: channels of the one whose contents are taken out.
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
        """Clean (N, width) of what (N, known) tells; fp32 also under autocast."""
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
        """Return what eval mode subtracts as a linear layer of the known embedding.

        It is computed in fp64 from the moments as they are now, and solves nothing any more.
        """
        scale, coefficients = _regression(self.covariance.double(), self.cross.double())
        weight = coefficients.T / scale
        layer = nn.utils.skip_init(nn.Linear, *self.cross.shape).to(self.cross)
        layer.weight.copy_(weight)
        layer.bias.copy_(-(weight @ self.known_mean.double()))
        return layer

    @torch.no_grad()
    def refit(self, embedding: Tensor, known: Tensor) -> None:
        """Take the moments of (N, width) and (N, known) alone, whatever they were before.

        The embeddings of training faces in eval mode: those that the moments have followed were
        computed by the statistics of their batches, and by weights that have changed since.
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
    """Standard deviations of the regressors, and coefficients of them when standardised."""
    scale = covariance.diagonal().clamp_min(1e-12).sqrt()
    correlation = covariance / scale / scale[:, None]
    identity = torch.eye(len(scale), dtype=scale.dtype, device=scale.device)
    charged = correlation + _RIDGE * identity
    # The ridge keeps this solvable; asking whether it was would wait for a GPU.
    coefficients, _ = torch.linalg.solve_ex(charged, cross / scale[:, None])
    return scale, coefficients
