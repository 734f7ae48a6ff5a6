"""Steps that are skipped because a loss or the gradient is not finite."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcae.data.mixture import Mixture
from tcae.data.shards import PackedDataset
from tcae.distributed import ranks
from tcae.files.durable import write_durably

log = logging.getLogger(__name__)

_MAX_NAMED = 3  # pairs that a message names; the dump names all


class SkippedSteps:
    """The skipped steps of a run: their number, and a dump of each to find out why.

    Args:
        folder: The folder of the dumps. It is created with the first one.
        allowed: How many steps a run may skip.
        dataset: What names the frames of a batch.

    Attributes:
        count: How many steps have been skipped so far.
    """

    def __init__(self, folder: Path, allowed: int, dataset: PackedDataset | Mixture) -> None:
        self.folder, self.allowed, self.count = folder, allowed, 0
        self._dataset = dataset

    def add(
        self,
        step: int,
        batch: Mapping[str, Tensor],
        terms: Mapping[str, Tensor],
        state: Mapping[str, Any],
    ) -> None:
        """Count a step and write its dump, ``<folder>/step-<step>.pt``.

        The dump holds `step`, `pairs` (names of the source and target frames), `source` and
        `target` (N, 3, S, S) uint8, `terms` (each (N,), by name), and `state`. Read it with
        `torch.load(..., weights_only=True)`. With several processes, each dumps its own part of the
        batch to a file with its rank in the name.

        Args:
            step: The number of the step, from 1.
            batch: The batch, as `PairBatches` gives it.
            terms: The losses (N,) of its pairs. If all are finite, the gradient was not.
            state: What else is needed to repeat the step, such as the weights before it.

        Raises:
            FloatingPointError: This is one step more than allowed. The error names the step, its
                pairs and the dump.
            OSError: The disk is full.
        """
        self.count += 1
        values = {name: term.detach().cpu() for name, term in terms.items()}
        pairs = [[self._dataset.name(i) for i in pair] for pair in batch["frames"].tolist()]
        bad_terms = [name for name, value in values.items() if not bool(value.isfinite().all())]
        finite = torch.stack([value.isfinite() for value in values.values()]).all(0)
        bad_pairs = [pair for pair, good in zip(pairs, finite, strict=True) if not good] or pairs
        images = {name: batch[name].cpu() for name in ("source", "target")}
        content = io.BytesIO()
        torch.save({"step": step, "pairs": pairs, **images, "terms": values, **state}, content)
        process = f"-process-{ranks.rank()}" if ranks.world_size() > 1 else ""
        path = self.folder / f"step-{step:08d}{process}.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(path, content.getvalue())
        text = (
            f"step {step}: not finite: {', '.join(bad_terms) or 'the gradient'} "
            f"({_listed(bad_pairs)}; all about it in {path})"
        )
        if self.count > self.allowed:
            raise FloatingPointError(f"{text}; stopped after {self.allowed} skipped steps")
        log.warning("%s; skipped, %d of at most %d", text, self.count, self.allowed)


def _listed(pairs: list[list[str]]) -> str:
    names = ", ".join(f"{source} > {target}" for source, target in pairs[:_MAX_NAMED])
    more = len(pairs) - _MAX_NAMED
    return f"pairs {names} and {more} more" if more > 0 else f"pairs {names}"
