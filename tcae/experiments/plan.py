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
from tcae.experiments.ablation import Variant, variants
from tcae.experiments.setting import Budget, Labelled
from tcae.files.durable import write_durably
from tcae.methods.method import Family
from tcae.methods.registry import METHODS
from tcae.training.config import TrainConfig


class Source(NamedTuple):
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
        methods: Names of methods.
        encoder: TCAE from here, a run directory or a file; None: it is trained.
        networks: Networks of others by name: file, and side of the images it wants.
        features: Tables of features by name.
        transfer: Labelled frames of another data set, which nothing is learned from.
        ablation: Whether TCAE is trained without each of its parts, too.
        device: Where networks compute.
    """

    name: str
    out: Path
    budget: Budget
    config: TrainConfig
    videos: PackedDataset
    labelled: Labelled
    methods: tuple[str, ...]
    encoder: Path | None = None
    networks: Mapping[str, tuple[Path, int]] = field(default_factory=dict)
    features: Mapping[str, Path] = field(default_factory=dict)
    transfer: Labelled | None = None
    ablation: bool = True
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @cached_property
    def sources(self) -> dict[str, Source]:
        """All methods by name."""
        others = {name: Source(name, "descriptor") for name in (*self.networks, *self.features)}
        own = {n: Source(METHODS[n].title, METHODS[n].family) for n in self.methods}
        return others | own

    @cached_property
    def probed(self) -> dict[str, Source]:
        """Those whose features are probed: all but the supervised ones."""
        return {n: source for n, source in self.sources.items() if source.family != "supervised"}

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
        if "tcae" not in self.sources:
            return None
        if self.encoder is None:
            return self.run("tcae")
        return self.encoder if self.encoder.is_dir() else None

    def run(self, name: str) -> Path:
        """The run directory of a twin cycle that is trained here."""
        return self.out / "runs" / name

    def extracted(self, folder: str, name: str) -> Path:
        """The directory of extracted features."""
        return self.out / folder / name

    def weights(self, name: str) -> Path:
        """The weights of another network that is trained here."""
        return self.out / "weights" / f"{name}.pt"

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
