"""``python -m tcae.probe``: test what an encoder knows of action units, on people new to it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from tcae.cli import command
from tcae.cli.progress import say
from tcae.data.labels import FOLDS, LABELS, LabelTable, read_labels, select
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import damaged_files
from tcae.evaluation.embedding_cache import cached_embeddings
from tcae.evaluation.folds import chosen_folds
from tcae.evaluation.protocol import cross_validate
from tcae.evaluation.results import text_table, write_results
from tcae.methods.method import Material
from tcae.methods.registry import face_encoder

log = logging.getLogger("tcae.probe")  # not __name__, which is __main__ here


@dataclass(frozen=True)
class ProbeOptions:
    """Train a linear probe for action units on a frozen encoder and test it on other people.

    The command prints a table of results. It writes results.csv, summary.json, predictions.csv,
    probe.safetensors (for tcae.extract) and the embeddings to --out.
    """

    data: command.DataOption
    encoder: command.FaceEncoderOption
    out: command.OutOption
    labels: Annotated[
        Path | None,
        tyro.conf.arg(
            help="CSV file frame,subject,AU01,AU02,... with 0 (absent), 1 (present), 9 or nothing "
            "(unknown). Default: DATA/labels.csv."
        ),
    ] = None
    folds: Annotated[
        str | None,
        tyro.conf.arg(
            help="Number of folds that the subjects are divided into, or a CSV file subject,fold. "
            "Subjects of a fold named train are never tested, those of a fold named unused are "
            "left out. Default: DATA/folds.csv, or 3 folds if there is none."
        ),
    ] = None
    embedding: Annotated[Literal["au", "pose"], tyro.conf.arg(help="Embedding to probe.")] = "au"
    seed: command.SeedOption = 0
    batch_size: command.BatchSizeOption = 64
    workers: command.WorkersOption = 0
    device: command.DeviceOption = "auto"
    overwrite: command.OverwriteOption = False


def probe(options: ProbeOptions) -> int:
    """Run ``tcae probe`` and return its exit status."""
    if options.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {options.batch_size}")
    device = command.device_of(options.device)
    dataset = PackedDataset(options.data)
    encoder = face_encoder(options.encoder, Material(dataset, device=device))
    table = options.labels or options.data / LABELS
    labels = read_labels(table, dataset)
    folds = _folds(options, labels.subjects)
    labels = _of_those(folds, labels)
    _prepare(options.out, options.overwrite)
    if dataset.image_size != encoder.image_size:
        say(f"faces of {dataset.image_size} pixels are resized to {encoder.image_size} (area)")
    embedded = cached_embeddings(
        options.out,
        encoder,
        dataset,
        labels.frame_index,
        batch_size=options.batch_size,
        workers=options.workers,
    )
    for line in damaged_files(embedded.failures):
        log.warning("%s", line)
    try:
        results = cross_validate(
            embedded,
            labels,
            folds=folds,
            embedding=options.embedding,
            seed=options.seed,
            device=device,
        )
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from None
    write_results(options.out, results, dataset)
    say(text_table(results))
    say(f"results, predictions and probe are in {options.out}")
    failed = bool(embedded.failures or dataset.failures)
    return command.SOME_FAILED if failed else command.DONE


def _folds(options: ProbeOptions, subjects: Sequence[str]) -> dict[str, int]:
    """Return the fold of each subject. Refuse wrong folds here, before anything is embedded."""
    shipped = options.data / FOLDS
    if options.folds is None and shipped.exists():
        say(f"folds are those of {shipped}")
    return chosen_folds(options.folds, shipped, subjects, options.seed)


def _of_those(folds: Mapping[str, int], labels: LabelTable) -> LabelTable:
    """Return the labels of subjects that have a fold. Name the others in one warning."""
    out = sorted(set(labels.subjects) - folds.keys())
    if out:
        log.warning("%d subjects are in no fold and take no part, as %s", len(out), out[0])
    return select(labels, np.array([subject in folds for subject in labels.subjects], bool))


def _prepare(out: Path, overwrite: bool) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not overwrite)):
        raise ValueError(f"--out {out}: already there; choose another or give --overwrite")
    out.mkdir(parents=True, exist_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(probe, ProbeOptions, prog="tcae.probe", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
