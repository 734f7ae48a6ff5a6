"""Write the files in `tcae/weights` from a finished training run, and the card that describes them.

    python tools/ship_weights RUN --name synthetic-64 --seed 7 --clips CLIPS

The card's figures are measured from the files as they ship, rounded to half precision, on people
who were used neither in training nor in the choice of the recipe (--seed).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from calibration import add_options, calibrate_and_tell
from card import Card, card_text

from tcae.evaluation.clips import agreement_on_clips
from tcae.evaluation.embedding import embed_frames
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.linear_probe import PROBE, PROBE_FILE, LinearProbe, load_probe, save_probe
from tcae.evaluation.metrics import score
from tcae.evaluation.unseen import UnseenConfig
from tcae.measuring.people import measure_unseen, rendered_people
from tcae.measuring.trained import Trained, load_trained, save_trained
from tcae.training.config import load_config
from tcae.training.run_directory import SUMMARY_FILE
from tcae.weights import FOLDER

LIMIT = 5_000_000
"""Maximum size in bytes of all files of one name together."""


def ship(options: argparse.Namespace) -> Path:
    """Write the files and the card, and return the path of the card."""
    trained = load_trained(options.run)
    probe = load_probe(options.probe or options.run)
    folder = options.out / options.name
    with tempfile.TemporaryDirectory(dir=options.out) as temporary:
        draft = Path(temporary) / options.name
        save_trained(draft, trained, probe)
        size = sum(file.stat().st_size for file in _files(draft))
        if size > LIMIT:
            parameters = sum(p.numel() for p in trained.objective.model.parameters())
            raise ValueError(
                f"{options.run}: {parameters:,} parameters come to {size:,} bytes, "
                f"at most {LIMIT:,} may ship"
            )
        card = card_text(_measure(draft, options))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(draft, folder)
    path = options.out / f"{options.name}.md"
    path.write_text(card, encoding="utf-8")
    return path


def _measure(draft: Path, options: argparse.Namespace) -> Card:
    """Measure from the files that ship what the card says."""
    trained = load_trained(draft)
    if options.probe is None and options.seed == trained.config.unseen.seed:
        raise ValueError(f"--seed {options.seed}: the run's probe knows these people, need others")
    unseen = UnseenConfig(options.people, options.pairs, options.seed)
    trained = replace(trained, config=replace(trained.config, unseen=unseen))
    probe = load_probe(draft)
    assert trained.world is not None  # only such models are saved
    meaning = calibrate_and_tell(trained.encoder, probe, trained.world, options)
    save_probe(draft / PROBE / PROBE_FILE, probe)
    clips = []
    if options.clips is not None:
        clips = agreement_on_clips(options.clips, Extractor(trained.encoder, probe, ()))
    measurement = measure_unseen(trained, options.cache)
    summary = json.loads((options.run / SUMMARY_FILE).read_text())
    probed = options.probe and json.loads((options.probe / SUMMARY_FILE).read_text())
    aucs = _probe_aucs(trained, probe, options.cache)
    files = {path.relative_to(draft).as_posix(): path.stat().st_size for path in _files(draft)}
    start = load_config(options.run).init_from
    named = start.name if start is not None else None
    return Card(
        options.name, trained, aucs, summary, probed, measurement, clips, files, named, meaning
    )


def _probe_aucs(trained: Trained, probe: LinearProbe, cache: Path) -> dict[str, float]:
    """Measure the probe's AUC for each unit, and their mean, on people not trained on."""
    assert trained.world is not None  # only such models are saved
    people = rendered_people(trained, trained.world, cache)
    dataset, labels = people.dataset, people.labels
    embedded = embed_frames(trained.encoder, dataset, labels.frame_index)
    truth = labels.values[:, [labels.names.index(name) for name in probe.names]]
    scores = score(truth, probe.scores(embedded.of(probe.embedding)))
    return dict(zip(probe.names, scores.auc.tolist(), strict=True)) | {"mean": scores.auc_mean}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Read the command line and write the files."""
    unseen = UnseenConfig()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("run", type=Path, help="a finished run of tcae.train on rendered people")
    add("--name", default="synthetic-64", help="name of the weights")
    add("--probe", type=Path, help="a run of tcae.probe on the run's encoder; default: RUN's probe")
    add("--clips", type=Path, help="directory of videos of real faces, one person each")
    add("--seed", type=int, default=unseen.seed, help="which rendered people to measure on")
    add("--people", type=int, default=unseen.people, help="number of people to measure on")
    add("--pairs", type=int, default=unseen.pairs, help="number of pairs of frames to measure on")
    add("--cache", type=Path, default=Path("runs/data"), help="directory of rendered people")
    add("--out", type=Path, default=FOLDER, help="directory to write to")
    add_options(parser)
    torch.manual_seed(0)
    try:
        card = ship(parser.parse_args())
    except (ValueError, OSError) as error:
        sys.exit(f"ship_weights: error: {error}")
    print(card)


if __name__ == "__main__":
    main()
