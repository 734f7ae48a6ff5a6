"""FAb-Net's objective on the same network, data and time, to compare a twin-cycle run with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tcae.cli.progress import say
from tcae.objectives.objective_config import LOSS_WEIGHTS
from tcae.training.config import TrainConfig
from tcae.training.run_directory import FABNET, find_run, prepare_run
from tcae.training.trainer import Trainer


def fabnet_config(config: TrainConfig, run: Path, minutes: float) -> TrainConfig:
    """One flow for all motion, learned from the reconstruction alone.

    Args:
        config: Of the run that is to be compared; encoder, decoder, data and optimiser stay.
        run: Directory of the new run.
        minutes: How long it shall train.
    """
    others: dict[str, Any] = dict.fromkeys(LOSS_WEIGHTS.keys() - {"reconstruction"}, 0.0)
    return replace(
        config,
        out=run,
        steps=None,
        minutes=minutes,
        resume="auto",
        overwrite=False,
        # Nothing is spent on a pose that is not asked for.
        model=replace(
            config.model,
            branches="au",
            composition="sequence",
            decorrelate=False,
            separate_backbones=False,
        ),
        objective=replace(config.objective, **others),
    )


def train_fabnet(trainer: Trainer) -> int:
    """Train FAb-Net's objective for as long as a finished run took, or go on with it.

    Returns:
        0, or the number of the signal that stopped it after a checkpoint was written.
    """
    minutes = trainer.summary()["minutes"]
    config = fabnet_config(trainer.config, trainer.run / FABNET, minutes)
    run, checkpoint = find_run(config)
    other = Trainer(config, trainer.dataset, run, checkpoint)
    prepare_run(run, config, checkpoint)
    say(f"for comparison: FAb-Net's objective, {minutes:.1f} minutes\n{other.describe()}")
    signal = other.fit()
    if not signal:
        other.export_encoder()
    return signal
