"""What an experiment is to do, and where everything that it finds is kept."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tcae.data.shards import PackedDataset
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.experiments.ablation import Variant, variants
from tcae.experiments.budget import Budget
from tcae.files.durable import write_durably
from tcae.methods.method import Family, Material, Method
from tcae.training.config import TrainConfig


class Entry(NamedTuple):
    """A row of the tables.

    Attributes:
        title: What tables call it.
        family: Where it stands in them.
    """

    title: str
    family: Family


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        name: Of the data set: "bp4d", "disfa", "gft" or "synthetic".
        out: Directory of all that is made.
        budget: What it may cost.
        config: How TCAE is trained; pairs, image size and seed hold for all methods.
        videos: Frames to pretrain on.
        labelled: Labelled frames to judge by.
        methods: The methods, in the order of the tables.
        encoder: TCAE from here, a run directory or a file; None: it is trained.
        features: Tables of features that somebody else computed, by name.
        transfer: Labelled frames of another data set, which nothing is learned from.
        ablation: Whether TCAE is trained without each of its parts, too.
        device: Where networks compute.
    """

    name: str
    out: Path
    budget: Budget
    config: TrainConfig
    videos: PackedDataset
    labelled: LabelledFrames
    methods: Mapping[str, Method]
    encoder: Path | None = None
    features: Mapping[str, Path] = field(default_factory=dict)
    transfer: LabelledFrames | None = None
    ablation: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All rows of the tables by name."""
        tables = {name: Entry(name, "descriptor") for name in self.features}
        return tables | {
            n: Entry(method.title, method.family) for n, method in self.methods.items()
        }

    @cached_property
    def probed(self) -> dict[str, Entry]:
        """Those whose features are probed: all but the supervised ones."""
        return {n: entry for n, entry in self.entries.items() if entry.family != "supervised"}

    def material(self, name: str) -> Material:
        """What a method is made from; a network is kept under `name`."""
        cost = self.methods[name.partition("-fold")[0]].cost
        minutes = None if cost == "nothing" else getattr(self.budget, cost)
        return Material(self.videos, self.config, self.run(name), minutes, self.device)

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """The variants of the ablation."""
        return variants(self.config) if self.ablation else {}

    @property
    def ablation_size(self) -> int:
        """Side of the images of the ablation."""
        return self.budget.ablation_size or self.config.image_size

    @property
    def cycle_run(self) -> Path | None:
        """The run directory of TCAE, decoders and all; None if there is none."""
        if "tcae" not in self.entries:
            return None
        if self.encoder is None:
            return self.run("tcae")
        return self.encoder if self.encoder.is_dir() else None

    def run(self, name: str) -> Path:
        """The directory of a training."""
        return self.out / "runs" / name

    def embedded(self, folder: str, name: str) -> Path:
        """The directory of a method's embeddings."""
        return self.out / folder / name

    def predictions(self, name: str) -> Path:
        """Out-of-fold probabilities."""
        return self.out / "predictions" / f"{name}.npy"

    def few_labels(self, name: str) -> Path:
        """Scores of probes of few people's labels."""
        return self.out / "few_labels" / f"{name}.json"

    def transferred(self, name: str) -> Path:
        """Probabilities on the other data set."""
        return self.out / "transfer" / f"{name}.npy"

    def ablated(self, name: str) -> Path:
        """Measures of a variant of the ablation."""
        return self.out / "ablation" / f"{name}.json"

    def figure(self, name: str) -> Path:
        """A figure, or the numbers behind it."""
        return self.out / "figures" / name

    @property
    def tables(self) -> Path:
        """The directory of tables."""
        return self.out / "tables"


def save(path: Path, values: NDArray[Any]) -> None:
    """Write an array, whole or not at all."""
    content = io.BytesIO()
    np.save(content, values)
    _write(path, content.getvalue())


def dump(path: Path, values: Any) -> None:
    """Write plain values, whole or not at all."""
    _write(path, json.dumps(values).encode())


def load(path: Path) -> Any:
    """Read plain values."""
    return json.loads(path.read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, content)
