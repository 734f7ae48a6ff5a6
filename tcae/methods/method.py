"""The type of a method: its name in the tables, and how its encoder is made."""

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
from tcae.methods.feature_encoder import FeatureEncoder, FeatureExtractor
from tcae.models.face_encoder import FaceEncoder
from tcae.training.config import PRESETS, TrainConfig

Family = Literal["descriptor", "supervised", "self-supervised"]
Cost = Literal["nothing", "baseline", "fold", "twin_cycle"]


@dataclass(frozen=True)
class Material:
    """Everything that the encoder of a method may be made from.

    Attributes:
        dataset: Packed frames to learn from. None if there are none.
        config: How to train TCAE. Its pairs, image size and seed hold for all methods.
        folder: Directory of this method's training, to resume it from. None if it needs none.
        minutes: How long to train at most. None: as the method's recipe says.
        device: Where networks compute.
        labels: Labels of the frames that a supervised method learns from.
        pretrained: Returns the encoder that fine-tuning starts from.
    """

    dataset: PackedDataset | None
    config: TrainConfig = PRESETS["default"]
    folder: Path | None = None
    minutes: float | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    labels: LabelTable | None = None
    pretrained: Callable[[], FaceEncoder] | None = None

    @property
    def template(self) -> dict[str, Any]:
        """Return the alignment template of the faces."""
        return (DEFAULT_TEMPLATE if self.dataset is None else self.dataset.template).to_dict()

    def frames(self, method: str) -> PackedDataset:
        """Return the frames that a method learns from.

        Raises:
            ValueError: There are none. The error names the method.
        """
        if self.dataset is None:
            raise ValueError(f"{method}: it needs packed frames to learn from")
        return self.dataset

    def encoder(self, extractor: FeatureExtractor, **changes: Any) -> FeatureEncoder:
        """Make an encoder from an extractor that sees faces as TCAE does.

        Args:
            extractor: The extractor. Its fingerprint is that of its weights if it is a network,
                otherwise its `repr`.
            changes: Arguments of `FeatureEncoder` that differ from TCAE's: another image_size, say.
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
    """A method of embedding faces, one row of the tables.

    Attributes:
        name: Its name in commands and files.
        title: Its name in tables.
        family: Its group in the tables. The AU embedding of a "supervised" method holds the
            probabilities of the action units of its labels. All other embeddings are probed.
        make: Makes its encoder. If the method has to learn, this trains it or resumes its training.
        cost: The item of an experiment's budget that its training is charged to.
    """

    name: str
    title: str
    family: Family
    make: Callable[[Material], FaceEncoder]
    cost: Cost = "nothing"
