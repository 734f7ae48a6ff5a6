"""FAb-Net's objective with the network, data and time of a twin-cycle run, to compare with.

It is a control: all but the objective is as in the run. (`tcae.methods.fab_net` is the published
network, as its authors train it.)
"""

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
    """Return a configuration with one flow for all motion and no loss but the reconstruction.

    Args:
        config: The configuration of the run to compare with. Encoder, decoder, data and optimiser
            stay the same.
        run: The directory of the new run.
        minutes: How long to train.
    """
    others: dict[str, Any] = dict.fromkeys(LOSS_WEIGHTS.keys() - {"reconstruction"}, 0.0)
    return replace(
        config,
        out=run,
        steps=None,
        minutes=minutes,
        resume="auto",
        overwrite=False,
        # Trackers and profile are of the run itself.
        logbook=replace(config.logbook, also=()),
        profile=0,
        # No time is spent on a pose that FAb-Net does not have.
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
    """Train FAb-Net's objective for as long as a finished run took, or resume that training.

    Returns:
        0, or the number of the signal that stopped it after it wrote a checkpoint.
    """
    minutes = trainer.summary()["minutes"]
    config = fabnet_config(trainer.config, trainer.run / FABNET, minutes)
    run, checkpoint = find_run(config)
    other = Trainer(config, trainer.data.mixture, run, checkpoint)
    prepare_run(run, config, checkpoint)
    say(f"for comparison: FAb-Net's objective, {minutes:.1f} minutes\n{other.describe()}")
    signal = other.fit()
    if not signal:
        other.export_encoder()
    return signal
