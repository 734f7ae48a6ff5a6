"""The plan of an experiment: what it does, and the files that it writes."""

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

_SETTINGS_FILE = "experiment.json"


class Entry(NamedTuple):
    """A row of the tables.

    Attributes:
        title: The name of the method in tables.
        family: Its group in the tables.
    """

    title: str
    family: Family


@dataclass(frozen=True)
class Plan:
    """What an experiment does, and where it writes.

    Attributes:
        name: Name of the data set: "bp4d", "disfa", "gft" or "synthetic".
        out: Directory of all its files.
        budget: How long trainings may take.
        config: How TCAE is trained. Its pairs, image size and seed hold for all methods.
        videos: Packed frames to pretrain on.
        labelled: Labelled frames to train and test probes on.
        methods: The methods by name, in the order of the tables.
        encoder: A run directory or file to load TCAE from. None: TCAE is trained.
        features: Files of features that other programs computed, by name.
        transfer: Labelled frames of another data set, only to test on. None: there is none.
        ablation: Whether to train TCAE without each of its parts, too.
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
        """Return the rows of the tables by name."""
        tables = {name: Entry(name, "descriptor") for name in self.features}
        return tables | {
            n: Entry(method.title, method.family) for n, method in self.methods.items()
        }

    @cached_property
    def probed(self) -> dict[str, Entry]:
        """Return the rows whose features are probed, which are all but the supervised ones."""
        return {n: entry for n, entry in self.entries.items() if entry.family != "supervised"}

    def material(self, name: str) -> Material:
        """Return what the encoder of a method is made from. Its training is kept under `name`."""
        cost = self.methods[name.partition("-fold")[0]].cost
        minutes = None if cost == "nothing" else getattr(self.budget, cost)
        return Material(self.videos, self.config, self.run(name), minutes, self.device)

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """Return the variants of the ablation by name."""
        return variants(self.config) if self.ablation else {}

    @property
    def ablation_size(self) -> int:
        """Return the side of the images of the ablation in pixels."""
        return self.budget.ablation_size or self.config.image_size

    @property
    def cycle_run(self) -> Path | None:
        """Return the run directory of TCAE with its decoders. None if there is none."""
        if "tcae" not in self.entries:
            return None
        if self.encoder is None:
            return self.run("tcae")
        return self.encoder if self.encoder.is_dir() else None

    def run(self, name: str) -> Path:
        """Return the directory of a training."""
        return self.out / "runs" / name

    def embedded(self, folder: str, name: str) -> Path:
        """Return the directory of a method's embeddings."""
        return self.out / folder / name

    def predictions(self, name: str) -> Path:
        """Return the file of a method's out-of-fold probabilities."""
        return self.out / "predictions" / f"{name}.npy"

    def few_labels(self, name: str) -> Path:
        """Return the file of a method's scores with the labels of few subjects."""
        return self.out / "few_labels" / f"{name}.json"

    def transferred(self, name: str) -> Path:
        """Return the file of a method's probabilities on the other data set."""
        return self.out / "transfer" / f"{name}.npy"

    def ablated(self, name: str) -> Path:
        """Return the file of the measures of a variant of the ablation."""
        return self.out / "ablation" / f"{name}.json"

    def figure(self, name: str) -> Path:
        """Return the file of a figure, or of the numbers in it."""
        return self.out / "figures" / name

    @property
    def tables(self) -> Path:
        """Return the directory of tables."""
        return self.out / "tables"


def claim_directory(out: Path, settings: Mapping[str, Any]) -> None:
    """Create the directory of an experiment, or check that it holds the same experiment.

    Args:
        out: The directory.
        settings: What must be the same to resume an experiment, by the names of options.

    Raises:
        ValueError: It holds another experiment, or something else. The error names the option that
            differs.
    """
    path = out / _SETTINGS_FILE
    if path.exists():
        before = load_json(path)
        for name, value in settings.items():
            if before.get(name) != value:
                option = f"another --{name.replace('_', '-')}"
                what = "other labels or folds" if name == "labels" else option
                raise ValueError(
                    f"--out {out}: holds an experiment with {what}; choose another directory"
                )
        return
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"--out {out}: not empty, and not an experiment")
    _write(path, (json.dumps(settings, indent=1) + "\n").encode())


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array, whole or not at all."""
    content = io.BytesIO()
    np.save(content, values)
    _write(path, content.getvalue())


def save_json(path: Path, values: Any) -> None:
    """Write plain values as JSON, whole or not at all."""
    _write(path, json.dumps(values).encode())


def load_json(path: Path) -> Any:
    """Read plain values from JSON."""
    return json.loads(path.read_bytes())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, content)
