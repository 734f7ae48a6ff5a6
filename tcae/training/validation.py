"""Validation: measures on a fixed set of pairs, whatever the curriculum's window is."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from tcae.data.pairs import PairBatches
from tcae.distributed import ranks
from tcae.files.options import Resume
from tcae.objectives.twin_cycle import TwinCycleObjective

log = logging.getLogger(__name__)

# Below this ratio of variance to mean square, an embedding is nearly the same for all faces.
_COLLAPSED = 1e-5
# Below this effective rank, an embedding tells faces apart along one direction only.
_ONE_DIRECTION = 1.5


@dataclass(frozen=True)
class ValidationConfig:
    """How often to validate, and on how many pairs."""

    every: int = 100
    """Steps from one validation to the next (released code: an epoch, 82 steps on VoxCeleb)."""
    pairs: int = 256
    """Pairs of validation frames, the same every time, rounded up to whole batches."""
    probe_frames: Annotated[int, Resume.FREE] = 512
    """Labelled frames of people outside the training split, at most, whose action units are probed
    at each validation. 0: none."""
    panel_every: Annotated[int, Resume.FREE] = 5
    """Validations from one picture panel to the next. The last step always has one."""
    panel_pairs: Annotated[int, Resume.FREE] = 6
    """Pairs in a picture panel, at most one batch."""

    def __post_init__(self) -> None:
        for name in ("every", "pairs", "panel_every", "panel_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 1")
        if self.probe_frames < 0:
            raise ValueError(f"probe_frames is {self.probe_frames}, it must not be negative")


VALIDATION_PRESETS: dict[str, ValidationConfig] = {
    "default": ValidationConfig(),
    "paper": ValidationConfig(every=82, pairs=1024, panel_every=50),
    "official": ValidationConfig(every=82, pairs=1024, panel_every=50),
}
"""The released code validates once per epoch. The paper does not say, so it gets the same."""


class Validation:
    """Measures of a model on fixed pairs of the validation split.

    With several processes, each holds a part of every batch, and all get the measures of the whole.

    Args:
        batches: Validation pairs. Batches 0, 1, ... depend on its seed only.
        pairs: How many pairs to use in all processes together, rounded up to whole batches.
        device: Where the model computes.

    Attributes:
        failures: How many frames could not be read. Other pairs were drawn instead.
    """

    def __init__(self, batches: PairBatches, pairs: int, device: torch.device) -> None:
        count = math.ceil(pairs / (batches.batch_size * batches.world_size))
        items = [batches[i] for i in range(count)]
        layout = torch.channels_last  # as in training
        self._pairs = [
            (item["source"].to(memory_format=layout), item["target"].to(memory_format=layout))
            for item in items
        ]
        self.failures = batches.failures
        self._device = device
        self._warned: set[str] = set()

    def example(self, pairs: int) -> tuple[Tensor, Tensor]:
        """Return the first few pairs, to draw them: source and target (N, 3, S, S) uint8."""
        source, target = self._pairs[0]
        return source[:pairs].to(self._device), target[:pairs].to(self._device)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield this process's pairs in batches: source and target (N, 3, S, S) uint8."""
        return ((s.to(self._device), t.to(self._device)) for s, t in self._pairs)

    @torch.no_grad()
    def measure(self, objective: TwinCycleObjective) -> dict[str, float]:
        """Measure losses, flows and embeddings, each as a mean over all pairs.

        Returns:
            Measures by name:

            - "loss": the total with full weights, all ramps ended, over all samples.
            - Each loss term, unweighted.
            - "recon_l1", "identity_l1": mean absolute error of the reconstruction and of the
              unmoved source. "recon_ratio": the first over the second.
            - "au_flow", "pose_flow": mean flow length in normalised units.
            - "au_variance", "pose_variance": variance of the embeddings over the source images,
              mean over dimensions.
            - "au_spread", "pose_spread": that variance over their mean square, which does not
              depend on their scale.
            - "au_effective_rank", "pose_effective_rank": see `effective_rank`.
        """
        objective.eval()
        sums: dict[str, float] = {}
        embeddings: dict[str, list[Tensor]] = {"au": [], "pose": []}
        for source, target in self.pairs():
            values = _measure_batch(objective, source, target)
            table = ranks.gather(torch.stack(list(values.values()), 1).double())
            for name, value in zip(values, table.mean(0).tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value
            embedded = objective.model.encoder(source)
            embeddings["au"].append(ranks.gather(embedded.au))
            embeddings["pose"].append(ranks.gather(embedded.pose))
        means = {name: value / len(self._pairs) for name, value in sums.items()}
        means["recon_ratio"] = means["recon_l1"] / max(means["identity_l1"], 1e-12)
        for branch, parts in embeddings.items():
            means |= _variation(branch, torch.cat(parts).double())
        objective.train()
        return means

    def warn_of_collapse(self, measures: Mapping[str, float], step: int) -> None:
        """Warn, once per branch, if embeddings hardly differ or differ in one direction only."""
        for branch in ("au", "pose"):
            if measures[f"{branch}_spread"] < _COLLAPSED and branch not in self._warned:
                self._warned.add(branch)
                log.warning(
                    "step %d: the %s embedding has collapsed, it is nearly the same for all faces "
                    "(variance %.1e)",
                    step,
                    branch,
                    measures[f"{branch}_variance"],
                )
            rank = measures[f"{branch}_effective_rank"]
            if rank < _ONE_DIRECTION and f"{branch} rank" not in self._warned:
                self._warned.add(f"{branch} rank")
                log.warning(
                    "step %d: the %s embedding has collapsed to one direction "
                    "(effective rank %.2f)",
                    step,
                    branch,
                    rank,
                )


def validation_line(measures: Mapping[str, float]) -> str:
    """Put the main measures of a validation into one line."""
    auc = f", probe AUC {measures['probe_auc']:.3f}" if "probe_auc" in measures else ""
    return (
        f"validation loss {measures['loss']:.4g}, reconstruction "
        f"{measures['recon_l1']:.4f} against {measures['identity_l1']:.4f} of the "
        f"unmoved source (ratio {measures['recon_ratio']:.3f}), flow lengths AU "
        f"{measures['au_flow']:.4f} pose {measures['pose_flow']:.4f}{auc}"
    )


def _measure_batch(
    objective: TwinCycleObjective, source: Tensor, target: Tensor
) -> dict[str, Tensor]:
    """Return values (N,) of the pairs of this process's part of a batch."""
    terms = objective(source, target)
    pictures = objective.pictures(source, target)
    source, target = source.float() / 255, target.float() / 255
    return {
        "loss": objective.total(terms),
        **terms,
        "recon_l1": (pictures.reconstruction - target).abs().mean((1, 2, 3)),
        "identity_l1": (source - target).abs().mean((1, 2, 3)),
        "au_flow": pictures.au_flow.norm(dim=1).mean((1, 2)),
        "pose_flow": pictures.pose_flow.norm(dim=1).mean((1, 2)),
    }


def _variation(branch: str, embeddings: Tensor) -> dict[str, float]:
    """Measure how much embeddings (N, D) differ between images."""
    variance = float(embeddings.var(0, correction=0).mean())
    spread = variance / max(float(embeddings.square().mean()), 1e-30)
    return {
        f"{branch}_variance": variance,
        f"{branch}_spread": spread,
        f"{branch}_effective_rank": effective_rank(embeddings),
    }


def effective_rank(embeddings: Tensor) -> float:
    """Return in how many directions embeddings (N, D) really differ.

    It is the exponential of the entropy of the normalised singular values of the centred
    embeddings: from 1, if they differ along one direction, to min(N - 1, D). 0 if they are all the
    same.
    """
    values = torch.linalg.svdvals(embeddings - embeddings.mean(0))
    shares = values / values.sum().clamp_min(1e-30)
    entropy = -torch.xlogy(shares, shares).sum()
    return float(entropy.exp()) if float(values.sum()) > 0 else 0.0
