"""Write a detector that `tcae.finetune` made to `tcae/weights`, with a card that describes it.

    python tools/ship_weights/detector.py RESULT --data wide --steps 2000 --clips CLIPS

The card's figures are measured from the files as they ship, rounded to half precision, on rendered
people whom training did not see, and on clips of real faces.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

import numpy as np
from calibration import add_options, calibrate_and_tell
from card import changed_options

from tcae.data.labels import LABELS, read_labels
from tcae.data.shard_files import PackInfo
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.packed import world_of
from tcae.evaluation.agreement import VARIES, Agreement, mean_correlation, unit_table
from tcae.evaluation.clips import agreement_on_clips
from tcae.evaluation.embedding import embed_frames
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.linear_probe import PROBE, PROBE_FILE, LinearProbe, load_probe, save_probe
from tcae.evaluation.metrics import score
from tcae.evaluation.unseen import UnseenConfig, unseen_world
from tcae.finetune import SETTINGS
from tcae.measuring.people import rendered
from tcae.models.encoder_file import ENCODER_FILE, FrozenEncoder, load_encoder, save_encoder
from tcae.models.half_precision import rounded
from tcae.training.config import versions
from tcae.weights import FOLDER


def ship(options: argparse.Namespace) -> Path:
    """Write the files and the card, and return the path of the card."""
    folder = options.out / options.name
    with tempfile.TemporaryDirectory(dir=options.out) as temporary:
        draft = Path(temporary) / options.name
        _save(draft, options)
        text = _card(draft, options)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(draft, folder)
    path: Path = options.out / f"{options.name}.md"
    path.write_text(text, encoding="utf-8")
    return path


def _save(draft: Path, options: argparse.Namespace) -> None:
    """Write the encoder, rounded, its probe, and the options of the world it learned from."""
    encoder, probe = load_encoder(options.result), load_probe(options.result)
    (draft / PROBE).mkdir(parents=True)
    network = rounded(encoder.network)
    save_encoder(draft / ENCODER_FILE, network, encoder.template, encoder.crop)
    probe = copy.deepcopy(probe)
    probe.encoder = load_encoder(draft).fingerprint
    save_probe(draft / PROBE / PROBE_FILE, probe)
    PackInfo.load(options.data).save(draft)


def _card(draft: Path, options: argparse.Namespace) -> str:
    world, encoder, probe = world_of(draft), load_encoder(draft), load_probe(draft)
    meaning = calibrate_and_tell(encoder, probe, world, options)
    save_probe(draft / PROBE / PROBE_FILE, probe)
    start = load_encoder(options.start), load_probe(options.start)
    settings = json.loads((options.result / SETTINGS).read_text())
    unseen = UnseenConfig(options.people, seed=options.seed)
    people = PackedDataset(rendered(options.cache, unseen_world(world, unseen)))
    rows = {name: _on_clips(options.clips, *which)
            for name, which in (("after", (encoder, probe)), ("before", start))}  # fmt: skip
    after = np.array([row.correlation for row in rows["after"] if row.counts])
    files = sorted(path for path in draft.rglob("*") if path.is_file())
    shown = ("learning_rate", "layer_decay", "batch_size")
    return Template(Path(__file__).with_name("detector.md").read_text(encoding="utf-8")).substitute(
        name=options.name,
        start=options.start,
        size=encoder.image_size,
        template=encoder.template["name"],
        units=len(probe.names),
        pose_width=encoder.pose_size,
        files=", ".join(f"`{p.relative_to(draft).as_posix()}` {p.stat().st_size:,}" for p in files),
        people=world.identities,
        videos=world.videos,
        frames=f"{world.identities * world.videos * world.frames:,}",
        changed=changed_options(world),
        options=" ".join(f"--{n.replace('_', '-')} {settings[n]}" for n in shown),
        steps=options.steps,
        versions=", ".join(f"{name} {value}" for name, value in versions().items()),
        unseen=options.people,
        aucs=_aucs(people, {options.name: (encoder, probe), options.start: start}),
        clips=len({row.clip for row in rows["after"]}),
        varies=VARIES,
        before="{:.2f} of {}".format(*mean_correlation(rows["before"])),
        agreement=unit_table(rows["after"]),
        meaning=meaning,
        negative=f"{np.mean(after < -0.2):.0%}" if len(after) else "-",
    )


def _on_clips(
    clips: Path | None, encoder: FrozenEncoder, probe: LinearProbe
) -> Sequence[Agreement]:
    return [] if clips is None else agreement_on_clips(clips, Extractor(encoder, probe, ()))


def _aucs(people: PackedDataset, detectors: Mapping[str, tuple[FrozenEncoder, LinearProbe]]) -> str:
    """Return a table of the AUC of each unit by each detector, and their means."""
    labels = read_labels(people.path / LABELS, people)
    columns: dict[str, dict[str, float]] = {}
    for name, (encoder, probe) in detectors.items():
        embedded = embed_frames(encoder, people, labels.frame_index)
        scores = probe.scores(embedded.of(probe.embedding))
        truth = labels.values[:, [labels.names.index(unit) for unit in probe.names]]
        found = score(truth, scores)
        columns[name] = dict(zip(probe.names, found.auc.tolist(), strict=True))
        columns[name]["mean"] = found.auc_mean
    names = [*next(iter(columns.values()))]
    lines = [f"| unit | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for unit in names:
        cells = (f"{c[unit]:.3f}" if unit in c else "-" for c in columns.values())
        lines.append(f"| {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("result", type=Path, help="a finished result of tcae.finetune on rendered people")
    add("--data", type=Path, required=True, help="the packed rendered people it learned from")
    add("--steps", type=int, required=True, help="after how many steps it was stopped")
    add("--start", default="synthetic-64", help="the weights that it started from")
    add("--name", default="detector-64", help="name of the weights")
    add("--clips", type=Path, help="directory of videos of real faces, one person each")
    add("--seed", type=int, default=12, help="which rendered people to measure on")
    add("--people", type=int, default=80, help="number of people to measure on")
    add("--cache", type=Path, default=Path("runs/data"), help="directory of rendered people")
    add("--out", type=Path, default=FOLDER, help="directory to write to")
    add_options(parser)
    try:
        print(ship(parser.parse_args()))
    except (ValueError, OSError) as error:
        sys.exit(f"detector: error: {error}")


if __name__ == "__main__":
    main()
