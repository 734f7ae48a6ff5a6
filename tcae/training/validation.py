"""Validation: a fixed set of pairs, measured without the curriculum's window."""

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

# An embedding whose variance over faces is this small a share of its mean square says the same
# about every face.
_COLLAPSED = 1e-5
# With an effective rank below this an embedding tells faces apart along one direction only.
_ONE_DIRECTION = 1.5


@dataclass(frozen=True)
class ValidationConfig:
    """When and on how much the run is validated. Field defaults are the preset `default`."""

    every: int = 100
    """Steps between validations (released code: an epoch, 82 steps on VoxCeleb)."""
    pairs: int = 256
    """Pairs of validation frames, the same ones every time; rounded up to whole batches."""
    panel_every: Annotated[int, Resume.FREE] = 5
    """Validations between picture panels; the last step always has one."""
    panel_pairs: Annotated[int, Resume.FREE] = 6
    """Rows of a picture panel, at most one batch."""

    def __post_init__(self) -> None:
        for name in ("every", "pairs", "panel_every", "panel_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, it must be at least 1")


VALIDATION_PRESETS: dict[str, ValidationConfig] = {
    "default": ValidationConfig(),
    "paper": ValidationConfig(every=82, pairs=1024, panel_every=50),
    "official": ValidationConfig(every=82, pairs=1024, panel_every=50),
}
"""The released code validates once an epoch; the paper says nothing, so it gets the same."""


class Validation:
    """Measures a model on fixed pairs of the validation split.

    Of several processes each holds a part of every batch, and all get the measures of the whole.

    Args:
        batches: Validation pairs; its items 0, 1, ... are a pure function of its seed.
        pairs: How many pairs to use in all processes, rounded up to whole batches.
        device: Where the model computes.

    Attributes:
        failures: Frames that could not be read; other pairs were drawn instead.
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
        """The first few pairs, to draw: source and target (N, 3, S, S) uint8."""
        source, target = self._pairs[0]
        return source[:pairs].to(self._device), target[:pairs].to(self._device)

    def pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """This process's pairs in batches: source and target (N, 3, S, S) uint8."""
        return ((s.to(self._device), t.to(self._device)) for s, t in self._pairs)

    @torch.no_grad()
    def measure(self, objective: TwinCycleObjective) -> dict[str, float]:
        """Mean over all pairs of the losses and of what tells whether the model learns.

        Returns:
            "loss": the weighted total as it counts after the ramp of the weights, no window; each
            unweighted term; "recon_l1" and "identity_l1": mean absolute error of the reconstruction
            and of the unmoved source, and "recon_ratio" of the two; "au_flow", "pose_flow": mean
            flow lengths in normalised units; "au_variance", "pose_variance": of the embeddings over
            the source images, mean over dimensions, and "..._spread": the same as a share of their
            mean square, which does not depend on their scale; "au_effective_rank" and "pose_...":
            exp of the entropy of the normalised singular values of the centred embeddings, the
            number of directions in which they really differ.
        """
        objective.eval()
        sums: dict[str, float] = {}
        embeddings: dict[str, list[Tensor]] = {"au": [], "pose": []}
        for source, target in self.pairs():
            values = _measure_batch(objective, source, target)
            table = ranks.gather(torch.stack(list(values.values()), 1).double())
            for name, value in zip(values, table.mean(0).tolist(), strict=True):
                sums[name] = sums.get(name, 0.0) + value
            found = objective.model.encoder(source)
            embeddings["au"].append(ranks.gather(found.au))
            embeddings["pose"].append(ranks.gather(found.pose))
        means = {name: value / len(self._pairs) for name, value in sums.items()}
        means["recon_ratio"] = means["recon_l1"] / max(means["identity_l1"], 1e-12)
        for branch, parts in embeddings.items():
            means |= _variation(branch, torch.cat(parts).double())
        objective.train()
        return means

    def warn_of_collapse(self, measures: Mapping[str, float], step: int) -> None:
        """Say it in words, once, when a branch's embeddings hardly differ, or in one way only."""
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


def _measure_batch(
    objective: TwinCycleObjective, source: Tensor, target: Tensor
) -> dict[str, Tensor]:
    """Per-pair values (N,) of this process's part of a batch."""
    terms = objective(source, target)
    pictures = objective.pictures(source, target)
    wanted, unmoved = target.float() / 255, source.float() / 255
    return {
        "loss": objective.total(terms),
        **terms,
        "recon_l1": (pictures.reconstruction - wanted).abs().mean((1, 2, 3)),
        "identity_l1": (unmoved - wanted).abs().mean((1, 2, 3)),
        "au_flow": pictures.au_flow.norm(dim=1).mean((1, 2)),
        "pose_flow": pictures.pose_flow.norm(dim=1).mean((1, 2)),
    }


def _variation(branch: str, embeddings: Tensor) -> dict[str, float]:
    """How much embeddings (N, D) differ between images."""
    variance = float(embeddings.var(0, correction=0).mean())
    spread = variance / max(float(embeddings.square().mean()), 1e-30)
    return {
        f"{branch}_variance": variance,
        f"{branch}_spread": spread,
        f"{branch}_effective_rank": effective_rank(embeddings),
    }


def effective_rank(embeddings: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values of centred embeddings (N, D).

    Between 1 (they differ along one direction) and min(N - 1, D); 0 if they are all the same.
    """
    values = torch.linalg.svdvals(embeddings - embeddings.mean(0))
    shares = values / values.sum().clamp_min(1e-30)
    entropy = -torch.xlogy(shares, shares).sum()
    return float(entropy.exp()) if float(values.sum()) > 0 else 0.0
