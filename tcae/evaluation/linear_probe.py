"""The linear probe of the paper (section 4.1): action units from a frozen embedding.

It is batch normalisation and one linear layer without bias, with one sigmoid per action unit. It is
trained with class-balanced binary cross entropy. Labels may be partly unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tcae.evaluation.calibration import Calibration
from tcae.evaluation.metrics import Array
from tcae.files.weight_file import read_weights, write_weights
from tcae.weights import find_weights

PROBE = "probe"
"""Name of the probe's directory inside that of a training run."""
PROBE_FILE = "probe.safetensors"
"""Name of the probe inside its directory."""

_FORMAT = "tcae-probe"
_CALIBRATION = "calibration."


@dataclass(frozen=True)
class ProbeConfig:
    """How to train the probe. The number of steps does not depend on the number of frames."""

    steps: int = 600
    """Optimiser steps."""
    batch_size: int = 1024
    """Frames per step; all of them if there are fewer."""
    learning_rate: float = 1e-2
    """First learning rate of Adam; it falls to zero along a half cosine."""
    l2: float = 1.0
    """Penalty on the weights: l2 / 2 times a unit's squared weights (for normalised features) is
    added to its summed loss, as in ridge regression. The fewer the frames, the more it counts."""


class LinearProbe(nn.Module):
    """Maps (N, D) embeddings to (N, A) logits: BatchNorm1d(D), then Linear(D, A, bias=False).

    Attributes:
        names: The A action units.
        embedding: Which embedding it reads, ``"au"`` or ``"pose"``.
        encoder: Fingerprint of the encoder it was trained on, see `tcae.evaluation.embedding`.
        calibration: What its logits mean. None if it was not calibrated.
    """

    calibration: Calibration | None = None

    def __init__(
        self, width: int, names: Sequence[str], embedding: str = "au", encoder: str = ""
    ) -> None:
        super().__init__()
        self.names, self.embedding, self.encoder = tuple(names), embedding, encoder
        # The features are frozen, so the running statistics are to be the plain averages over
        # all batches (momentum=None), not over the last few. A small eps, because the scale of
        # an embedding is arbitrary and the penalty must not depend on it.
        self.norm = nn.BatchNorm1d(width, eps=1e-10, momentum=None)
        self.linear = nn.Linear(width, len(self.names), bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (N, A) of features (N, D)."""
        logits: Tensor = self.linear(self.norm(features))
        return logits

    def check_encoder(self, fingerprint: str) -> None:
        """Refuse an encoder that the probe was not trained on.

        Raises:
            ValueError: The fingerprint is another one.
        """
        if self.encoder != fingerprint:
            own, other = (_short(name) for name in (self.encoder, fingerprint))
            raise ValueError(
                f"--probe: it was trained on the encoder {own}, not on this one, {other}; "
                "train one with tcae.probe"
            )

    @torch.inference_mode()
    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits (N, A) of features (N, D), by the running statistics."""
        self.eval()
        device = self.linear.weight.device
        parts = [
            self(torch.from_numpy(features[start : start + 8192]).to(device)).cpu()
            for start in range(0, len(features), 8192)
        ]
        return torch.cat(parts).numpy() if parts else np.zeros((0, len(self.names)), np.float32)

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the sigmoid of the logits, (N, A): what the probe was trained to tell.

        They rank frames. Where the training balanced the classes, or learned intensities, they are
        no probabilities.
        """
        return torch.from_numpy(self.logits(features)).sigmoid().numpy()

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (N, A) that the units are present, of features (N, D).

        Raises:
            ValueError: The probe was not calibrated.
        """
        return self.calibrated().probabilities(self.logits(features)).astype(np.float32)

    def decisions(self, features: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return whether the units are called present (N, A), of features (N, D).

        Raises:
            ValueError: The probe was not calibrated.
        """
        return self.calibrated().decisions(self.logits(features))

    def intensities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the intensities to be expected (N, A), from 0 to 5, of features (N, D).

        Raises:
            ValueError: The probe was not calibrated, or without intensities.
        """
        return self.calibrated().intensities(self.logits(features)).astype(np.float32)

    def calibrated(self) -> Calibration:
        """Return the calibration.

        Raises:
            ValueError: There is none.
        """
        if self.calibration is None:
            raise ValueError(
                "probe: it was not calibrated, so it has scores and no probabilities; tcae.probe "
                "and tcae.finetune make calibrated ones"
            )
        return self.calibration

    def weights(self) -> dict[str, Tensor]:
        """Return all that decides its outputs, by name: the weights and the calibration."""
        calibration = {} if self.calibration is None else self.calibration.arrays()
        named = {f"{_CALIBRATION}{name}": torch.from_numpy(a) for name, a in calibration.items()}
        return {**self.state_dict(), **named}


def class_weights(labels: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
    """Return the weights of negative and of positive labels, inverse to their frequency.

    With n known labels of a unit, n1 of them positive and n0 negative, a positive weighs
    n / (2 n1) and a negative n / (2 n0): both classes sum to n / 2, and the mean weight is 1. A
    unit with one class only has nothing to separate: both weights are 0.

    Args:
        labels: (N, A) 0, 1 or NaN = unknown.

    Returns:
        Weights of a negative and of a positive label, (A,) each.
    """
    positives = np.nansum(labels, axis=0)
    known = (~np.isnan(labels)).sum(axis=0)
    negatives = known - positives
    both = (positives > 0) & (negatives > 0)
    half = np.where(both, known, 0) / 2
    return half / np.where(both, negatives, 1), half / np.where(both, positives, 1)


def fit_probe(
    features: NDArray[np.float32],
    labels: NDArray[np.floating[Any]],
    names: Sequence[str],
    *,
    config: ProbeConfig | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    advance: Callable[[int], object] | None = None,
) -> LinearProbe:
    """Train a probe. Units with one class only are left out of it: compare ``probe.names``.

    Args:
        features: (N, D) embeddings, all finite.
        labels: (N, A) 0, 1 or NaN = unknown; unknown labels add nothing to the loss.
        names: The A action units.
        config: How to train.
        seed: Of the initial weights and of the order of the frames. On a CPU the same seed gives
            the same bits, whatever the number of threads.
        device: Where to train.
        advance: Called with the number of steps just done, for a progress bar.

    Raises:
        ValueError: Fewer than two frames, or no unit that has both classes.
    """
    config = config or ProbeConfig()
    negative, positive = class_weights(labels)
    learnable = np.flatnonzero(positive)
    if len(features) < 2 or not len(learnable):
        raise ValueError(
            f"labels: {len(features)} labelled frames came and {len(learnable)} action units with "
            "both positive and negative frames among them, at least 2 and 1 are needed"
        )
    labels = labels[:, learnable]
    weight = np.where(labels == 1, positive[learnable], negative[learnable])
    x, y, w = (
        torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)
        for array in (features, np.nan_to_num(labels), np.where(np.isnan(labels), 0, weight))
    )
    generator = torch.Generator().manual_seed(seed)
    probe = LinearProbe(features.shape[1], [names[int(a)] for a in learnable])
    bound = features.shape[1] ** -0.5
    nn.init.uniform_(probe.linear.weight, -bound, bound, generator=generator)
    with _one_thread():
        _train(probe.to(device), x, y, w, config, generator, advance)
    return probe.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one CPU thread.

    The matrices are small. A second thread gains little on an idle machine, costs a factor of five
    on a busy one, and would make the bits depend on the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(
    probe: LinearProbe,
    x: Tensor,
    y: Tensor,
    weight: Tensor,
    config: ProbeConfig,
    generator: torch.Generator,
    advance: Callable[[int], object] | None,
) -> None:
    optimizer = torch.optim.Adam(probe.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    strength = config.l2 / (2 * y.numel())
    size = min(config.batch_size, len(x))
    per_epoch = len(x) // size
    probe.train()
    for step in range(config.steps):
        if step % per_epoch == 0:
            order = torch.randperm(len(x), generator=generator).to(x.device)
        at = step % per_epoch * size
        rows = order[at : at + size]
        loss = binary_cross_entropy_with_logits(probe(x[rows]), y[rows], weight[rows])
        loss = loss + strength * (probe.linear.weight * probe.norm.weight).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if advance is not None:
            advance(1)


def save_probe(path: Path, probe: LinearProbe) -> None:
    """Write a probe to a safetensors file, whole or not at all."""
    description = {
        "format": _FORMAT,
        "names": list(probe.names),
        "embedding": probe.embedding,
        "encoder": probe.encoder,
    }
    write_weights(path, description, probe.weights())


def load_probe(path: Path | str, device: str | torch.device = "cpu") -> LinearProbe:
    """Read a probe.

    Args:
        path: Its file, the directory of a probe run or of a training run, or the name of weights
            that ship with the package (`tcae.weights`).
        device: Where it computes.

    Raises:
        ValueError: There is no such file, or it is not a probe.
    """
    path = find_weights(path)
    within = (path / PROBE_FILE, path / PROBE / PROBE_FILE) if path.is_dir() else (path,)
    file = next((file for file in within if file.is_file()), None)
    if file is None:
        raise ValueError(f"{within[0]}: no such file; a probe comes from `python -m tcae.probe`")
    description, tensors = read_weights(file, _FORMAT)
    names, embedding, encoder = (description[name] for name in ("names", "embedding", "encoder"))
    probe = LinearProbe(tensors["linear.weight"].shape[1], names, embedding, encoder)
    numbers = {name: tensors.pop(name) for name in [*tensors] if name.startswith(_CALIBRATION)}
    if numbers:  # probes of earlier versions have none
        arrays = {name.removeprefix(_CALIBRATION): value.numpy() for name, value in numbers.items()}
        probe.calibration = Calibration.from_arrays(arrays)
    probe.load_state_dict(tensors)
    return probe.to(device).eval()


def _short(fingerprint: str) -> str:
    """Shorten a hash; other fingerprints are short enough."""
    return fingerprint[:12] if re.fullmatch("[0-9a-f]{64}", fingerprint) else fingerprint
