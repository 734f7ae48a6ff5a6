"""Steps that cannot be learned from, because a loss or the gradient is not finite."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcae.data.shards import PackedDataset
from tcae.distributed import ranks
from tcae.files.durable import write_durably

log = logging.getLogger(__name__)

_NAMED = 3  # pairs that a message names; the dump names all


class UnusableSteps:
    """Counts them, keeps what is needed to find out why, and says when there are too many.

    Args:
        folder: Where the dumps go; it is made with the first one.
        allowed: How many a run may have.
        dataset: Names the frames of a batch.

    Attributes:
        count: Steps so far.
    """

    def __init__(self, folder: Path, allowed: int, dataset: PackedDataset) -> None:
        self.folder, self.allowed, self.count = folder, allowed, 0
        self._dataset = dataset

    def add(
        self,
        step: int,
        batch: Mapping[str, Tensor],
        terms: Mapping[str, Tensor],
        state: Mapping[str, Any],
    ) -> None:
        """Note one step and write ``<folder>/step-<step>.pt`` (`torch.load` with weights_only).

        Of several processes each writes about its own part of the batch, with its number in the
        file's name.

        The dump holds `step`, `pairs` (names of the source and target frames), `source` and
        `target` (N, 3, S, S) uint8, `terms` (each (N,), by name), and `state`.

        Args:
            step: Its number, from 1.
            batch: As `PairBatches` gives it.
            terms: The losses (N,) of its pairs. If all are finite, the gradient was not.
            state: What else is needed to repeat the step, such as the weights before it.

        Raises:
            FloatingPointError: One step more than allowed; names the step, pairs and dump.
            OSError: The disk is full.
        """
        self.count += 1
        values = {name: term.detach().cpu() for name, term in terms.items()}
        pairs = [[self._dataset.name(i) for i in pair] for pair in batch["frames"].tolist()]
        bad = [name for name, value in values.items() if not bool(value.isfinite().all())]
        finite = torch.stack([value.isfinite() for value in values.values()]).all(0)
        blamed = [pair for pair, fine in zip(pairs, finite, strict=True) if not fine] or pairs
        images = {name: batch[name].cpu() for name in ("source", "target")}
        content = io.BytesIO()
        torch.save({"step": step, "pairs": pairs, **images, "terms": values, **state}, content)
        process = f"-process-{ranks.rank()}" if ranks.world_size() > 1 else ""
        path = self.folder / f"step-{step:08d}{process}.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        write_durably(path, content.getvalue())
        text = (
            f"step {step}: not finite: {', '.join(bad) or 'the gradient'} "
            f"({_listed(blamed)}; all about it in {path})"
        )
        if self.count > self.allowed:
            raise FloatingPointError(f"{text}; stopped after {self.allowed} skipped steps")
        log.warning("%s; skipped, %d of at most %d", text, self.count, self.allowed)


def _listed(pairs: list[list[str]]) -> str:
    named = ", ".join(f"{source} > {target}" for source, target in pairs[:_NAMED])
    more = len(pairs) - _NAMED
    return f"pairs {named} and {more} more" if more > 0 else f"pairs {named}"
