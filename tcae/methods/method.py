"""What a method is: a name in the tables, and how its encoder comes about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.labels import LabelTable
from tcae.data.shards import PackedDataset
from tcae.files.weight_file import digest
from tcae.methods.feature_encoder import Extractor, FeatureEncoder
from tcae.models.face_encoder import FaceEncoder
from tcae.training.config import PRESETS, TrainConfig

Family = Literal["descriptor", "supervised", "self-supervised"]
Cost = Literal["nothing", "baseline", "fold", "twin_cycle"]


@dataclass(frozen=True)
class Material:
    """What the encoder of a method is made from.

    Attributes:
        dataset: Packed frames to learn from; None if there are none.
        config: How TCAE is trained; pairs, image size and seed hold for all methods.
        folder: Directory where a training is kept, to go on from; it is the method's own.
        minutes: How long to train at most; None: as its recipe says.
        device: Where networks compute.
        labels: Labels of those frames that a supervised method learns from.
    """

    dataset: PackedDataset | None
    config: TrainConfig = PRESETS["default"]
    folder: Path | None = None
    minutes: float | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    labels: LabelTable | None = None

    @property
    def template(self) -> dict[str, Any]:
        """Alignment template of the faces."""
        return (DEFAULT_TEMPLATE if self.dataset is None else self.dataset.template).to_dict()

    def frames(self, wanted_for: str) -> PackedDataset:
        """Return the frames to learn from.

        Raises:
            ValueError: There are none; it names what they are wanted for.
        """
        if self.dataset is None:
            raise ValueError(f"{wanted_for}: needs packed frames to learn from")
        return self.dataset

    def encoder(self, extractor: Extractor, **changes: Any) -> FeatureEncoder:
        """Show faces to an extractor as TCAE sees them, but for `changes`.

        A network is told apart by its weights, anything else by its `repr`.
        """
        if isinstance(extractor, nn.Module):
            extractor = extractor.to(self.device)
            fingerprint = digest(extractor.state_dict())
        else:
            fingerprint = repr(extractor)
        view: dict[str, Any] = {
            "image_size": self.config.image_size,
            "crop": self.config.pairs.centre_crop,
            "template": self.template,
        }
        return FeatureEncoder(extractor, fingerprint=fingerprint, **(view | changes))


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: How commands and files call it.
        title: How tables call it.
        family: Where it stands in the tables. The AU embedding of a "supervised" method are
            probabilities of the action units of its labels; all others are probed.
        make: Makes its encoder, trained as far as that is not done yet.
        cost: Which share of an experiment's budget its training takes.
    """

    name: str
    title: str
    family: Family
    make: Callable[[Material], FaceEncoder]
    cost: Cost = "nothing"
