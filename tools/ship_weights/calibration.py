"""Calibrate the probe of weights that ship, and say in their card what its numbers mean.

    python tools/ship_weights/calibration.py detector-64 --clips CLIPS

The tools that make new weights do the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from meaning import meaning
from rendered_faces import rendered_faces

from tcae.data.synthetic.packed import world_of
from tcae.data.synthetic.world import World
from tcae.evaluation.calibration import calibrate
from tcae.evaluation.linear_probe import PROBE, PROBE_FILE, LinearProbe, load_probe, save_probe
from tcae.evaluation.unseen import UnseenConfig, unseen_world
from tcae.models.encoder_file import FrozenEncoder, load_encoder
from tcae.weights import FOLDER

_SEED = 61  # of the people whom calibrations are fitted to


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that calibrating needs, beside `cache` and `clips`."""
    text = "fit calibrations to so many rendered people; half as many others measure them"
    parser.add_argument("--calibration-people", type=int, default=400, help=text)


def calibrate_and_tell(
    encoder: FrozenEncoder, probe: LinearProbe, world: World, options: argparse.Namespace
) -> str:
    """Calibrate a probe by rendered people it has not seen, and return what its card says of it."""
    people, cache = options.calibration_people, options.cache
    unseen = unseen_world(world, UnseenConfig(people, seed=_SEED))
    faces = rendered_faces(encoder, probe, unseen, cache)
    probe.calibration = calibrate(faces.logits, faces.present, faces.intensities)
    return meaning(encoder, probe, world, people, cache, options.clips)


def recalibrate(options: argparse.Namespace) -> Path:
    """Calibrate weights in their folder, and rewrite what their card says of it."""
    folder, card = options.out / options.name, options.out / f"{options.name}.md"
    text = card.read_text(encoding="utf-8")
    probe, file = load_probe(folder), folder / PROBE / PROBE_FILE
    section = calibrate_and_tell(load_encoder(folder), probe, world_of(folder), options)
    save_probe(file, probe)
    size = f"`{PROBE}/{PROBE_FILE}` {file.stat().st_size:,}"
    text = re.sub(rf"`{PROBE}/{PROBE_FILE}` [\d,]+", size, text)
    section = section.replace("\\", r"\\")
    pattern = r"^## What the numbers mean\n.*?(?=^## )"
    text = re.sub(pattern, section + "\n\n", text, flags=re.DOTALL | re.MULTILINE)
    card.write_text(text, encoding="utf-8")
    return Path(card)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("name", help="name of weights in --out")
    add("--clips", type=Path, help="directory of videos of real faces, one person each")
    add("--cache", type=Path, default=Path("runs/data"), help="directory of rendered people")
    add("--out", type=Path, default=FOLDER, help="directory of weights")
    add_options(parser)
    try:
        print(recalibrate(parser.parse_args()))
    except (ValueError, OSError) as error:
        sys.exit(f"calibration: error: {error}")


if __name__ == "__main__":
    main()
