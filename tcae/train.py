"""``python -m tcae.train``: pretrain a twin-cycle autoencoder."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tcae.config import TrainConfig, describe, starting_point, versions, with_steps
from tcae.data.cartoon import make_cartoons
from tcae.data.durable import write_durably
from tcae.data.labels import read_labels
from tcae.data.shards import PackedDataset
from tcae.data.splits import split_of
from tcae.engine import command
from tcae.engine.encoder_file import load_encoder
from tcae.engine.progress import say
from tcae.engine.run_directory import PROBE, SUMMARY_FILE, find_run, prepare_run
from tcae.engine.start import initialise
from tcae.engine.trainer import Trainer
from tcae.evaluation.embedding import damaged_files
from tcae.evaluation.protocol import probe_packed, select
from tcae.evaluation.results import text_table, write_results

log = logging.getLogger("tcae.train")  # __name__ is __main__ when run as a command

_CARTOON_IDENTITIES, _CARTOON_FRAMES = 150, 40


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see ``--help``."""
    return command.run(train, TrainConfig, prog="tcae.train", argv=argv, default=starting_point)


def train(config: TrainConfig) -> int:
    """Train as configured; returns the exit status."""
    run, checkpoint = find_run(config)
    config = with_steps(dataclasses.replace(config, out=run))
    say(f"{describe(config)}\n  {', '.join(f'{k} {v}' for k, v in versions().items())}")
    dataset = PackedDataset(config.data or built_in_data(run.parent, config.image_size))
    trainer = Trainer(config, dataset, run, checkpoint)
    if config.init_from is not None and checkpoint is None:
        initialise(trainer.model, config.init_from)
    prepare_run(run, config, checkpoint)
    say(trainer.describe())
    signal = trainer.fit()
    if signal:
        say(f"stopped after step {trainer.step}; go on with --out {run} --resume auto")
        return 128 + signal
    say(f"encoder: {trainer.export_encoder()}")
    _write_summary(run, trainer.summary())
    probed = _probed(trainer)
    return _status(trainer) if probed else command.SOME_FAILED


def _probed(trainer: Trainer) -> bool:
    """Probe where there are labels; False, after a line each, if some of them cannot be used."""
    labelled = (trainer.dataset.path / "labels.csv").exists()
    if labelled and trainer.config.pairs.split == "identity":
        try:
            figures, failures = probe_unseen(trainer)
            _write_summary(trainer.run, trainer.summary() | figures)
            for line in damaged_files(failures):
                log.warning("%s", line)
            return not failures
        except ValueError as error:  # the encoder is trained and written whatever the labels are
            log.warning("action units not probed: %s", error)
            return False
    return True


def built_in_data(beside: Path, image_size: int) -> Path:
    """The cartoon faces that are trained on without --data; drawn once, then used again."""
    size = f"{image_size}-{_CARTOON_IDENTITIES}x{_CARTOON_FRAMES}"
    folder = beside / "data" / f"cartoon-{size}"
    if not folder.exists():
        say(f"no --data: drawing cartoon faces into {folder}")
        part = folder.with_name(folder.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        make_cartoons(part, image_size, _CARTOON_IDENTITIES, _CARTOON_FRAMES)
        part.rename(folder)
    return folder


def probe_unseen(trainer: Trainer) -> tuple[dict[str, float], Sequence[str]]:
    """Probe the encoder for action units on the people it was not trained on.

    Returns:
        The figures that belong into the run's summary (all others are in ``<run>/probe``), and one
        line for each frame that could not be read.
    """
    dataset, config = trainer.dataset, trainer.config
    labels = read_labels(dataset.path / "labels.csv", dataset)
    splits = [
        split_of(dataset.identity(int(i)), config.pairs.split_seed) for i in labels.frame_index
    ]
    unseen = select(labels, np.array([split != "train" for split in splits]))
    say(f"probing {len(unseen.frame_index)} labelled frames of people not trained on")
    encoder = load_encoder(trainer.run, trainer.device)
    results = probe_packed(
        encoder, dataset, unseen, seed=config.seed, workers=config.workers, device=trainer.device
    )
    (trainer.run / PROBE).mkdir(exist_ok=True)
    write_results(trainer.run / PROBE, results, dataset)
    say(text_table(results))
    figures = {"au_f1": results.scores.f1_mean, "au_auc": results.scores.auc_mean}
    finite = {name: value for name, value in figures.items() if math.isfinite(value)}
    return finite, results.failures


def _write_summary(run: Path, summary: Mapping[str, float]) -> None:
    write_durably(run / SUMMARY_FILE, (json.dumps(summary, indent=1) + "\n").encode())


def _status(trainer: Trainer) -> int:
    """Whether all of the data could be used."""
    count = trainer.unreadable_frames
    if count:
        log.warning("%d times a frame could not be read and another pair was drawn", count)
    failed = count or trainer.dataset.failures
    return command.SOME_FAILED if failed else command.DONE


if __name__ == "__main__":
    sys.exit(main())
