"""``python -m tcae.train``: pretrain a twin-cycle autoencoder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tcae.config import TrainConfig, describe, starting_point, versions, with_steps
from tcae.data.cartoon import make_cartoons
from tcae.data.shard_files import write_durably
from tcae.data.shards import PackedDataset
from tcae.engine import command
from tcae.engine.progress import say
from tcae.engine.run_directory import SUMMARY_FILE, find_run, prepare_run
from tcae.engine.start import initialise
from tcae.engine.trainer import Trainer

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
    signal = trainer.fit()
    if signal:
        say(f"stopped at step {trainer.step}; go on with: --out {run} --resume auto")
        return 128 + signal
    say(f"encoder: {trainer.export_encoder()}")
    summary = json.dumps(trainer.summary(), indent=1)
    write_durably(run / SUMMARY_FILE, summary.encode())
    return _status(trainer)


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


def _status(trainer: Trainer) -> int:
    """Whether all of the data could be used."""
    if trainer.failures:
        say(f"{trainer.failures} times a frame could not be read and another pair was drawn")
    return command.SOME_FAILED if trainer.failures or trainer.dataset.failures else command.DONE


if __name__ == "__main__":
    sys.exit(main())
