"""TCAE's encoder before training, which a trained one should beat."""

from __future__ import annotations

import numpy as np
import torch

from tcae.evaluation.embedding import read_faces
from tcae.methods.method import Material, Method
from tcae.models.batch_norm import calibrate_batch_norm
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import FrozenEncoder

_FACES = 256  # for the statistics of the batch norms


def untrained(material: Material) -> FrozenEncoder:
    """Make an encoder with random weights, the same every time, and batch norms set on real faces.

    Raises:
        ValueError: There are no frames to take the batch norm statistics from.
    """
    config, dataset = material.config, material.frames("random_weights")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = Encoder(config.model, config.image_size).to(material.device)
    crop, count = config.pairs.centre_crop, len(dataset.frames)
    frames = np.unique(np.linspace(0, count - 1, _FACES).astype(np.int64))
    faces = read_faces(dataset, frames, crop, config.image_size)
    calibrate_batch_norm(encoder, lambda batch: encoder(batch.to(material.device)), faces)
    return FrozenEncoder(encoder, material.template, crop)


RANDOM_WEIGHTS = Method("random_weights", "random weights", "descriptor", untrained)
