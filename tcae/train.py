"""``python -m tcae.train``: pretrain a twin-cycle autoencoder on videos of talking faces."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tcae.cli import command
from tcae.cli.progress import say
from tcae.data.mixture import read_mixture
from tcae.distributed import ranks
from tcae.distributed.team import broadcast, ending_safely, program, rank_zero_first, team
from tcae.evaluation.embedding import damaged_files
from tcae.evaluation.estimates import flat
from tcae.files.durable import write_durably
from tcae.measuring.fabnet import train_fabnet
from tcae.measuring.people import CACHE, rendered
from tcae.measuring.run_report import measure_run
from tcae.measuring.shared_embedding import embed_for_rank_zero, shared_embedding
from tcae.measuring.trained import built_in_world
from tcae.training.command_line import command_line_defaults
from tcae.training.config import TrainConfig, describe, versions, with_steps
from tcae.training.initial_weights import read_initial_weights
from tcae.training.resumed_length import resumed_length
from tcae.training.run_directory import (
    REPORT_FILE,
    STOPPED_FILE,
    SUMMARY_FILE,
    find_run,
    lock_run,
    prepare_run,
)
from tcae.training.threads import leave_busy_cores
from tcae.training.trackers import check_installed
from tcae.training.trainer import Trainer

log = logging.getLogger("tcae.train")  # __name__ is __main__ when run as a command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    prog = program("tcae.train")
    return ending_safely(
        lambda: command.run(train, TrainConfig, prog=prog, argv=argv, default=command_line_defaults)
    )


def train(config: TrainConfig) -> int:
    """Train as configured, alone or in a team that torchrun started. Return the exit status.

    A script calls this below ``if __name__ == "__main__":``, because worker processes run the
    script again.
    """
    with team(config.device, config.timeout):
        return _train(config)


def _train(config: TrainConfig) -> int:
    run, checkpoint = find_run(config)
    run = Path(broadcast(str(run)))  # its default name is the time of day
    config, pause = resumed_length(with_steps(replace(config, out=run)), run, checkpoint)
    # Refuse what cannot be used now, before anything is rendered.
    command.device_of(config.device)
    check_installed(config.logbook.also)
    initial = None
    if config.init_from is not None and checkpoint is None:
        initial = read_initial_weights(config.init_from)
    with rank_zero_first():
        data = config.data or built_in_data(run.parent, config.image_size)
    if checkpoint is None and ranks.world_size() == 1:
        _leave_busy_cores(config.device)
    trainer = Trainer(config, read_mixture(data, config.mix), run, checkpoint, pause)
    if initial is not None:
        initial.load_into(trainer.model)
    say(f"{describe(config)}\n  {', '.join(f'{k} {v}' for k, v in versions().items())}")
    if ranks.rank():
        return _fit(trainer)
    with lock_run(run):  # all have found the run by now: the trainer compared their steps
        prepare_run(run, config, checkpoint)
        return _fit(trainer)


def _leave_busy_cores(device: str) -> None:
    """Choose the number of threads of a new run. A resumed one computes with as many as before."""
    if command.device_of(device).type == "cpu" and (line := leave_busy_cores()):
        say(line)


def _fit(trainer: Trainer) -> int:
    """Train to the last step, then write encoder and report."""
    say(trainer.describe())
    signal = trainer.fit()
    if signal:
        say(f"stopped after step {trainer.step}; go on with --out {trainer.run} --resume auto")
        return _stopped(trainer.run, signal)
    if ranks.rank():
        if trainer.data.is_everywhere:
            embed_for_rank_zero(trainer.device)
        return command.DONE
    with shared_embedding(trainer.data.is_everywhere):
        return _finish(trainer)


def _stopped(run: Path, signal: int) -> int:
    """Return the exit status, and leave it in the run: launchers have statuses of their own."""
    status = 128 + signal
    if not ranks.rank():
        write_durably(run / STOPPED_FILE, f"{status}\n".encode())
    return status


def _finish(trainer: Trainer) -> int:
    """Do in one process what comes after the last step. Return the exit status."""
    trainer.data.take_all()
    say(f"encoder: {trainer.export_encoder()}")
    _write_summary(trainer.run, trainer.summary())
    if trainer.config.data is None and trainer.config.unseen.fabnet:
        signal = train_fabnet(trainer)
        if signal:
            say(f"stopped while training FAb-Net; go on with --out {trainer.run} --resume auto")
            return _stopped(trainer.run, signal)
    measured = _measured(trainer)
    return _status(trainer) if measured else command.SOME_FAILED


def _measured(trainer: Trainer) -> bool:
    """Measure and report. Return False, after a line each, if some labels cannot be used."""
    try:
        found = measure_run(trainer)
    except ValueError as error:  # the encoder is trained and written whatever the labels are
        log.warning("action units not probed: %s", error)
        return False
    _write_summary(trainer.run, trainer.summary() | flat(found.measures))
    say(f"report: {trainer.run / REPORT_FILE}")
    for line in damaged_files(found.failures):
        log.warning("%s", line)
    return not found.failures


def built_in_data(beside: Path, image_size: int) -> Path:
    """Return the talking heads to train on without --data. They are rendered if not yet there."""
    return rendered(beside / CACHE, built_in_world(image_size))


def _write_summary(run: Path, summary: Mapping[str, float]) -> None:
    write_durably(run / SUMMARY_FILE, (json.dumps(summary, indent=1) + "\n").encode())


def _status(trainer: Trainer) -> int:
    """Return the exit status: whether all of the data could be used."""
    count = trainer.unreadable_frames
    if count:
        log.warning("%d times a frame could not be read and another pair was drawn", count)
    failed = count or trainer.data.mixture.failures
    return command.SOME_FAILED if failed else command.DONE


if __name__ == "__main__":
    sys.exit(main())
