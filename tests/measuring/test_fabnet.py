"""What FAb-Net's objective consists of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tcae.measuring.fabnet import fabnet_config
from tcae.models.encoder import Encoder
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.config import PRESETS, TrainConfig
from tcae.training.logbook import LogbookConfig


def test_it_learns_one_flow_from_the_reconstruction_alone() -> None:
    official = replace(PRESETS["official"], image_size=32, batch_size=8)
    for preset in (PRESETS["default"], PRESETS["paper"], official):
        config = fabnet_config(preset, Path("fabnet"), 3.0)
        model = TwinCycle(Encoder(config.model, config.image_size))
        weights = TwinCycleObjective(model, config.objective).weights()
        assert {name for name, weight in weights.items() if weight} == {"rec"}
        assert config.model.branches == "au" and not config.model.decorrelate
        assert model.encoder.pose_backbone is None
        assert (config.minutes, config.steps) == (3.0, None)
        # All else is as in the run that it is compared with.
        same = "image_size", "batch_size", "optimizer", "pairs", "seed"
        assert all(getattr(config, name) == getattr(preset, name) for name in same)


def test_trackers_and_profile_are_of_the_run_itself_only() -> None:
    logbook = LogbookConfig(every=7, also=("wandb",))
    config = fabnet_config(TrainConfig(profile=3, logbook=logbook), Path("fabnet"), 3.0)
    assert (config.profile, config.logbook) == (0, LogbookConfig(every=7))
