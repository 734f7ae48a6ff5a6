"""What a run learns from and what it is validated on: this process's part of every batch."""

from __future__ import annotations

import math

import torch

from tcae.data.mixture import MixedPairs, Mixture, Pairs
from tcae.data.pairs import PairBatches
from tcae.data.shards import PackedDataset
from tcae.data.splits import Split
from tcae.distributed import ranks, team
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.config import TrainConfig
from tcae.training.held_out_probe import held_out_probe
from tcae.training.validation import Validation

_OF_EACH = ("loss", "recon_ratio")  # measures that are told of each data set


class RunData:
    """Pairs for training and for validation, of one data set or of several.

    Args:
        config: The configuration of the run.
        mixture: The data sets.
        device: Where the model computes.

    Attributes:
        mixture: The data sets.
        pairs: The training pairs of all of them.
        validations: The validation pairs of each.
        fingerprint: A hash of the frames of all processes, and of the shares.

    Raises:
        ValueError: The data does not fit the configuration.
    """

    def __init__(self, config: TrainConfig, mixture: Mixture, device: torch.device) -> None:
        self._config, self._device = config, device
        self.mixture = mixture
        self._open()
        # Rank 0 writes the log, and nothing is decided by this measure.
        self._probe = None if ranks.rank() else held_out_probe(mixture, config, device)
        self.fingerprint = team.combine_fingerprints(mixture.fingerprint)

    @property
    def first(self) -> PackedDataset:
        """Return the first data set, --data."""
        return self.mixture.datasets[0]

    @property
    def validation(self) -> Validation:
        """Return the validation pairs of the first data set."""
        return self.validations[0]

    @property
    def is_everywhere(self) -> bool:
        """Return whether all processes see the same frames. If not, each machine has a part."""
        return self.fingerprint == self.mixture.fingerprint

    @property
    def unreadable(self) -> int:
        """Return how many frames of validation pairs could not be read."""
        return sum(part.failures for part in self.validations)

    def validate(self, objective: TwinCycleObjective) -> dict[str, float]:
        """Measure the validation pairs, and the probe of labelled people if there are any.

        Returns:
            What `Validation.measure` does, of several data sets the means by their shares, and some
            measures of each; "probe_auc" in rank 0, if there is one.
        """
        measures = self._measure_pairs(objective)
        auc = math.nan if self._probe is None else self._probe.auc(objective.model.encoder)
        return measures if math.isnan(auc) else measures | {"probe_auc": auc}

    def _measure_pairs(self, objective: TwinCycleObjective) -> dict[str, float]:
        parts = [part.measure(objective) for part in self.validations]
        if len(parts) == 1:
            return parts[0]
        shares = self.mixture.shares
        means = {
            name: math.fsum(s * part[name] for s, part in zip(shares, parts, strict=True))
            for name in parts[0]
        }
        own = {f"{name}_{k}": part[name] for k, part in enumerate(parts, 1) for name in _OF_EACH}
        return means | own

    def take_all(self) -> None:
        """Take all processes' pairs, after the last step and inside `ranks.alone`."""
        if self.pairs.batch_size < self._config.batch_size:
            self._open()

    def pairs_of(self, dataset: PackedDataset, split: Split) -> PairBatches:
        """Return pairs of one of the data sets."""
        config = self._config
        return PairBatches(
            dataset,
            split,
            team.local_batch_size(config.batch_size),
            config.seed,
            ranks.rank(),
            ranks.world_size(),
            image_size=config.image_size,
            config=config.pairs,
        )

    def _open(self) -> None:
        datasets, count = self.mixture.datasets, self._config.validation.pairs
        parts = [self.pairs_of(dataset, "train") for dataset in datasets]
        self.pairs: Pairs = parts[0] if len(parts) == 1 else MixedPairs(parts, self.mixture.shares)
        self.validations = [
            Validation(self.pairs_of(dataset, "val"), count, self._device) for dataset in datasets
        ]
