"""``python -m tcae.probe``: test what an encoder knows of action units, on people new to it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from tcae.cli import command
from tcae.cli.progress import say
from tcae.data.labels import LABELS
from tcae.data.shards import PackedDataset
from tcae.evaluation.embedding import damaged_files
from tcae.evaluation.embedding_cache import cached_embeddings
from tcae.evaluation.labelled_frames import read_labels_with_folds
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
    labels: command.LabelsOption = None
    folds: command.FoldsOption = None
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
    table = options.labels or dataset.path / LABELS
    labels, folds = read_labels_with_folds(table, dataset, options.folds, options.seed)
    command.check_out_directory(options.out, options.overwrite)
    options.out.mkdir(parents=True, exist_ok=True)
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(probe, ProbeOptions, prog="tcae.probe", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
