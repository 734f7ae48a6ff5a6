"""TCAE, fine-tuned: its AU branch and a probe trained together on the labels of each fold."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from tcae.methods.feature_encoder import FeatureEncoder
from tcae.methods.fine_tuning import FineTuned, FineTuner, FineTuningConfig
from tcae.methods.method import Material, Method
from tcae.models.encoder import unit_range
from tcae.models.encoder_file import FrozenEncoder


class _Probabilities(nn.Module):
    """A fine-tuned encoder with the probabilities of its probe as embedding.

    Args:
        tuned: The encoder and the probe.
        units: The A action units, in order. Those that the probe does not know are NaN.
    """

    def __init__(self, tuned: FineTuned, units: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.probe = tuned.encoder.network, tuned.probe
        self._columns = [units.index(name) for name in tuned.names]
        self._count = len(units)

    def embed(self, images: Tensor) -> Tensor:
        """Compute probabilities (N, A) of action units in images (N, 3, S, S)."""
        known = self.probe(self.network(unit_range(images)).au).sigmoid()
        probabilities = known.new_full((len(images), self._count), np.nan)
        probabilities[:, self._columns] = known
        return probabilities


def _tune(material: Material) -> FeatureEncoder:
    labels, folder, pretrained = material.labels, material.folder, material.pretrained
    assert labels is not None and folder is not None and pretrained is not None
    encoder = pretrained()
    if not isinstance(encoder, FrozenEncoder):
        raise ValueError(f"{folder.name}: TCAE's encoder is needed, {type(encoder).__name__} came")
    config, seed = FineTuningConfig(minutes=material.minutes), material.config.seed
    tuner = FineTuner(encoder, material.frames(folder.name), labels, folder, config, seed=seed)
    tuned = tuner.fit(np.ones(len(tuner.labels.frame_index), bool), folder.name)
    probabilities = _Probabilities(tuned, labels.names)
    return material.encoder(probabilities, image_size=encoder.image_size, crop=encoder.crop)


FINE_TUNED = Method("tcae_fine_tuned", "TCAE, fine-tuned", "supervised", _tune, "fold")
