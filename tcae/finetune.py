"""``python -m tcae.finetune``: train an encoder and a probe together on labelled frames."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from tcae.cli import command
from tcae.cli.progress import say
from tcae.data.fingerprint import fingerprint
from tcae.data.labels import LABELS, read_intensities, select
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import check_template, damaged_files
from tcae.evaluation.labelled_frames import LabelledFrames, read_labels_with_folds
from tcae.evaluation.linear_probe import PROBE_FILE, save_probe
from tcae.evaluation.protocol import calibrate_probe, fold_of_each, judge, out_of_fold
from tcae.evaluation.results import text_table, write_results
from tcae.files.durable import write_durably
from tcae.methods.fine_tuning import SETTINGS, FineTuned, FineTuner, FineTuningConfig
from tcae.methods.method import Material
from tcae.methods.random_weights import RANDOM_WEIGHTS, untrained
from tcae.models.encoder_file import ENCODER_FILE, FrozenEncoder, load_encoder, save_encoder
from tcae.training.simple_loop import Interrupted

log = logging.getLogger("tcae.finetune")  # not __name__, which is __main__ here

_TRAINING = "training"
_DEFAULTS = FineTuningConfig()


@dataclass(frozen=True)
class FinetuneOptions:
    """Train an encoder's AU branch and a probe together on labelled frames, test on other people.

    Folds, scores and files are those of tcae.probe. The encoder and the probe that were trained on
    everybody are written to --out, which then serves as --encoder and as --probe. The same command,
    started again, continues where it was stopped.
    """

    data: command.DataOption
    encoder: Annotated[
        Path,
        tyro.conf.arg(
            help="Encoder to start from: a run directory of tcae.train, an encoder.safetensors "
            "file, the name of weights that ship with the package, such as synthetic-64, or "
            "random_weights."
        ),
    ]
    out: command.OutOption
    labels: command.LabelsOption = None
    folds: command.FoldsOption = None
    intensities: Annotated[
        Path | None,
        tyro.conf.arg(
            help="CSV file frame,AU01_r,AU02_r,... with intensities in [0, 1] to learn in place of "
            "the labels, as truth.csv of tcae.synthesize. Scores are those of the labels. Default: "
            "learn the labels."
        ),
    ] = None
    test: Annotated[
        bool,
        tyro.conf.arg(
            help="Train and test on the folds first. Without it there are no scores, and the "
            "encoder does not learn from the people who say when to stop."
        ),
    ] = True
    steps: Annotated[int, tyro.conf.arg(help="Most optimiser steps of a training.")] = (
        _DEFAULTS.steps
    )
    minutes: Annotated[
        float | None,
        tyro.conf.arg(
            help="Time budget of all trainings together. The number of steps is reduced to fit it."
        ),
    ] = None
    batch_size: command.BatchSizeOption = _DEFAULTS.batch_size
    learning_rate: Annotated[
        float, tyro.conf.arg(help="Learning rate of the probe, the largest one.")
    ] = _DEFAULTS.learning_rate
    layer_decay: Annotated[
        float,
        tyro.conf.arg(
            help="Learning rate of a level of the encoder, as a share of that of the level above."
        ),
    ] = _DEFAULTS.layer_decay
    augment: Annotated[
        bool, tyro.conf.arg(help="Move, blur and recolour images at random, and add noise.")
    ] = _DEFAULTS.augment
    seed: command.SeedOption = 0
    device: command.DeviceOption = "auto"
    overwrite: command.OverwriteOption = False


def finetune(options: FinetuneOptions) -> int:
    """Run ``tcae finetune`` and return its exit status."""
    config = _config(options)
    dataset = PackedDataset(options.data)
    encoder = _encoder(options, dataset)
    check_template(encoder, dataset.template, dataset.path)
    table = options.labels or dataset.path / LABELS
    labels, folds = read_labels_with_folds(table, dataset, options.folds, options.seed)
    fold = fold_of_each(labels, folds, options.seed)
    targets = None
    if options.intensities is not None:
        targets = read_intensities(options.intensities, dataset, labels)
    labelled = LabelledFrames(dataset, labels, fold)
    _claim(options, _settings(options, encoder, labelled, targets))
    if dataset.image_size != encoder.image_size:
        say(f"faces of {dataset.image_size} pixels are resized to {encoder.image_size} (area)")
    try:
        folder, seed = options.out / _TRAINING, options.seed
        tuner = FineTuner(encoder, dataset, labels, folder, config, targets=targets, seed=seed)
        for line in damaged_files(tuner.failures):
            log.warning("%s", line)
        _run(options, tuner, fold_of_each(tuner.labels, folds, options.seed))
    except Interrupted as stop:
        say(f"{stop}; the same command goes on from here")
        return 128 + stop.signal
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from None
    shutil.rmtree(options.out / _TRAINING)
    return command.SOME_FAILED if tuner.failures or dataset.failures else command.DONE


def _config(options: FinetuneOptions) -> FineTuningConfig:
    fields = [field.name for field in dataclasses.fields(FineTuningConfig)]
    given = {name: getattr(options, name) for name in fields if hasattr(options, name)}
    return FineTuningConfig(**given)


def _encoder(options: FinetuneOptions, dataset: PackedDataset) -> FrozenEncoder:
    device = command.device_of(options.device)
    if str(options.encoder) == RANDOM_WEIGHTS.name and not options.encoder.exists():
        return untrained(Material(dataset, device=device))
    return load_encoder(options.encoder, device)


def _run(options: FinetuneOptions, tuner: FineTuner, fold: NDArray[np.int64]) -> None:
    """Fine-tune for each fold, then for use, and write the results."""
    everybody, count = np.ones(len(fold), bool), int(fold.max()) + 1
    intensities = None if options.intensities is None else tuner.targets
    out, steps = options.out, None
    if options.test:
        taken: list[int] = []

        def fit(rows: NDArray[np.bool_]) -> FineTuned:
            tuned = tuner.fit(rows, f"fold {len(taken) + 1} of {count}", 1 / (count + 1))
            taken.append(tuned.steps)
            return tuned

        predicted = out_of_fold(fit, tuner.labels.frame_index, tuner.labels, fold)
        steps = int(np.median(taken))
    tuned = tuner.fit(everybody, "all people", 1 / (count + 1) if options.test else 1.0, steps)
    if options.test:
        results = judge(
            tuner.labels, fold, predicted, tuned.probe, tuner.failures, options.seed, intensities
        )
        write_results(out, results, tuner.dataset)
        say(text_table(results))
    else:
        others = select(tuner.labels, tuned.held_out)
        known = None if intensities is None else intensities[tuned.held_out]
        calibrate_probe(tuned.probe, others, tuned.scores(others.frame_index), known)
    save_probe(out / PROBE_FILE, tuned.probe)
    encoder = tuned.encoder
    save_encoder(out / ENCODER_FILE, encoder.network, encoder.template, encoder.crop)
    say(f"encoder and probe are in {out}: --encoder {out} --probe {out}")


def _settings(
    options: FinetuneOptions,
    encoder: FrozenEncoder,
    labelled: LabelledFrames,
    targets: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """Return what must be the same to go on with a training that was stopped."""
    intensities = None if targets is None else hashlib.sha256(targets.tobytes()).hexdigest()
    return {
        **dataclasses.asdict(_config(options)),
        "seed": options.seed,
        "test": options.test,
        "encoder": encoder.fingerprint,
        "data": fingerprint(labelled.dataset),
        "labels": labelled.fingerprint,
        "intensities": intensities,
    }


def _claim(options: FinetuneOptions, settings: dict[str, Any]) -> None:
    """Create the directory for the result, unless a training to go on with is in it."""
    path = options.out / SETTINGS
    text = json.dumps(settings, indent=1) + "\n"
    unfinished = path.exists() and not (options.out / ENCODER_FILE).exists()
    if unfinished and path.read_text() == text and not options.overwrite:
        return
    command.check_out_directory(options.out, options.overwrite)
    (options.out / _TRAINING).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(options.out / _TRAINING)
    (options.out / ENCODER_FILE).unlink(missing_ok=True)
    write_durably(path, text.encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(finetune, FinetuneOptions, prog="tcae.finetune", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
