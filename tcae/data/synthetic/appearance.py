"""How people look: skin, brows, lips, eyes, hair and beard, painted on the head's texture plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcae.data.synthetic.atlas import FLESH, Atlas, Field, azimuth, bump, noise, ramp
from tcae.data.synthetic.head import PARTS, Head, Identity
from tcae.data.synthetic.motion import check_range

Picture = NDArray[np.uint8]

# Colours are RGB, 0 to 255.
_SKIN = np.array(  # from light to dark
    [[242, 208, 190], [232, 186, 160], [206, 156, 124], [164, 114, 84], [116, 77, 57], [80, 53, 43]]
)
_TONE_OF_RACE = np.array([0.78, 0.3, 0.14])  # african, asian, caucasian: places in _SKIN, 0 to 1
_HAIR = np.array(  # black, three browns, blond, red, grey
    [[24, 20, 18], [44, 31, 24], [78, 52, 34], [116, 82, 50], [178, 140, 90], [128, 64, 36],
     [150, 147, 144]]
)  # fmt: skip
_HAIR_ODDS_LIGHT = np.array([0.1, 0.2, 0.25, 0.17, 0.17, 0.08, 0.03])
_HAIR_ODDS_DARK = np.array([0.6, 0.33, 0.05, 0.0, 0.01, 0.0, 0.01])
_IRIS = np.array([[58, 38, 24], [88, 60, 36], [112, 98, 60], [86, 114, 96], [96, 128, 156]])
_STYLES = ("bald", "cropped", "short", "medium", "long")
_BEARDS = ("stubble", "moustache", "goatee", "full")


@dataclass(frozen=True)
class AppearanceConfig:
    """How different people look; 0 makes them all alike in that respect.

    Attributes:
        tone: Range of skin tones, as a share of all that there are.
        blemishes: Strength of mottling, freckles, moles and redness, 1 as usual.
        hair: Share of people who have hair.
        beard: Share of men who do not shave.
        make_up: Share of videos with women in which lips and lids are painted.
        glasses: Share of the people who wear glasses.
    """

    tone: float = 1.0
    blemishes: float = 1.0
    hair: float = 0.95
    beard: float = 0.5
    make_up: float = 0.4
    glasses: float = 0.15

    def __post_init__(self) -> None:
        for name in ("tone", "hair", "beard", "make_up", "glasses"):
            check_range(f"appearance.{name}", getattr(self, name), 0, 1)
        check_range("appearance.blemishes", self.blemishes, 0, 3)


class Look:
    """What one person looks like in every video.

    Args:
        random: The person's.
        identity: The person's face.
        size: Side of the texture in texels.
        config: How different people look.

    Attributes:
        texture: (size, size, 3) uint8 RGB.
        vertices: (V, 3) float32, the neutral face with its hair.
    """

    def __init__(
        self, random: np.random.Generator, identity: Identity, size: int, config: AppearanceConfig
    ) -> None:
        traits, skin, hair, beard, brows = random.spawn(5)
        self._atlas, self._config, self._identity = Atlas.of(size), config, identity
        self._fields = _fields(size)
        self._choose(traits)
        flesh = self._skin(skin)
        self._brows(flesh, brows)
        self._beard(flesh, beard)
        self.vertices = self._hair(flesh, hair)
        self.texture = np.zeros((size, size, 4), np.uint8)
        self.texture[: len(flesh), :, :3] = np.clip(flesh, 0, 255)
        self._rest(traits)
        self.texture[..., 3] = self._gloss(skin)

    def dressed(self, random: np.random.Generator) -> Picture:
        """The texture of one video: with that day's clothes, and make-up if the person uses any."""
        texture = self.texture.copy()
        flesh = texture[: round(FLESH * len(texture)), :, :3]
        layers = self._clothes(random)
        if self._identity.male < 0.5 and random.random() < self._config.make_up:
            layers += self._make_up(random)
        for name, share, colour in layers:
            where, field = _box(len(texture), name)
            patch = flesh[where].astype(np.float32)
            _mix(patch, field * np.float32(share), colour)
            flesh[where] = np.clip(patch, 0, 255)
        return texture

    def _clothes(self, random: np.random.Generator) -> list[tuple[str, float, ArrayLike]]:
        colour = np.clip(random.uniform(10, 225) + random.normal(0, 35, 3), 5, 245)
        where, field = _box(len(self.texture), "clothes")
        cells = (int(random.integers(8, 60)), int(random.integers(4, 60)))
        cloth = 1 + random.uniform(0.02, 0.2) * noise(random, field.shape[:2], cells)
        return [("clothes", 1.0, colour * cloth[..., None])]

    def _make_up(self, random: np.random.Generator) -> list[tuple[str, float, ArrayLike]]:
        lips = np.array([170, 40, 60]) + random.uniform([-70, -25, -40], [50, 60, 60])
        return [
            ("lips", random.uniform(0.3, 0.85), lips),
            ("lids", random.uniform(0, 0.5), random.uniform(20, 130, 3)),
            ("rims", random.uniform(0.2, 0.8), [25, 20, 20]),
            ("cheeks", random.uniform(0, 0.3), [200, 90, 90]),
        ]

    def _choose(self, random: np.random.Generator) -> None:
        """Colours and styles that go with the face."""
        person = self._identity
        tone = float(person.race @ _TONE_OF_RACE) + random.normal(0, 0.09)
        tone = 0.3 + (np.clip(tone, 0, 1) - 0.3) * self._config.tone
        self.tone = float(tone)
        self.skin = _along(_SKIN, tone) * random.uniform(0.94, 1.05) + random.normal(0, 4, 3)
        light = float(np.clip(1.6 - 3.2 * tone, 0, 1)) * float(person.race[2] > 0.3)
        odds = light * _HAIR_ODDS_LIGHT + (1 - light) * _HAIR_ODDS_DARK
        self.hair = _HAIR[random.choice(len(_HAIR), p=odds)] * random.uniform(0.8, 1.2)
        if random.random() < (person.age - 0.35) * 1.3:
            self.hair += (_HAIR[-1] - self.hair) * random.uniform(0.3, 1)
        dark = self.hair.mean() < 60
        iris = random.uniform(0, 0.35 if dark and light < 0.5 else 1.0)
        self.iris = _along(_IRIS, iris) * random.uniform(0.8, 1.2)
        man = random.random() < person.male
        odds = [0.12, 0.3, 0.4, 0.14, 0.04] if man else [0.0, 0.03, 0.17, 0.35, 0.45]
        self.style = str(random.choice(_STYLES, p=odds))
        if random.random() >= self._config.hair:
            self.style = "bald"
        bearded = man and random.random() < self._config.beard
        self.beard = str(random.choice(_BEARDS, p=[0.4, 0.1, 0.2, 0.3])) if bearded else ""
        self.man = man

    def _skin(self, random: np.random.Generator) -> Field:
        """Skin of face, neck and mouth as (h, size, 3) float32."""
        fields, level = self._fields, self._config.blemishes
        shape = fields["lips"].shape
        shade = np.zeros(shape, np.float32)
        for cells, strength in (((5, 9), 0.02), ((24, 44), 0.018), ((90, 170), 0.03)):
            shade += strength * noise(random, shape, cells)
        blood = 0.03 * noise(random, shape, (11, 20)) + 0.025 * noise(random, shape, (50, 96))
        for name, most in (("cheeks", 0.12), ("nose", 0.12), ("ears", 0.08), ("chin", 0.04)):
            blood += fields[name] * np.float32(most * random.random())
        shade -= fields["under_eyes"] * np.float32(random.uniform(0.02, 0.16))
        shade -= fields["sockets"] * np.float32(random.uniform(0.0, 0.1))
        if self._identity.age > 0.3:
            shade -= fields["creases"] * np.float32(0.25 * (self._identity.age - 0.2))
        shade, blood = 1 + level * shade, level * blood
        flesh = (shade[..., None] * self.skin).astype(np.float32)
        flesh *= 1 + blood[..., None] * np.float32([0.25, -0.9, -0.75])
        self._spots(flesh, random)
        lips = self.skin * [0.88, 0.6, 0.6] + [6, 0, 4]
        lips = lips * random.uniform(0.8, 1.1) + random.normal(0, 5, 3)
        _mix(flesh, fields["lips"] * random.uniform(0.55, 0.95), lips)
        _mix(flesh, fields["rims"] * random.uniform(0.2, 0.7), self.skin * 0.35)
        _mix(flesh, fields["inside"], [92, 34, 34])
        return flesh

    def _spots(self, flesh: Field, random: np.random.Generator) -> None:
        """Freckles, moles and pimples."""
        level = self._config.blemishes
        spots = np.zeros(flesh.shape[:2], np.uint8)
        freckled = random.random() < 0.25 and self.tone < 0.4
        count = int(level * (random.integers(150, 500) if freckled else random.integers(0, 25)))
        rows, columns = flesh.shape[0] * 0.74, flesh.shape[1]  # the skin
        for x, y, radius in random.random((count, 3)):
            centre = (int(x * columns * 16), int(y * rows * 16))
            size = int((0.3 + 0.7 * radius**2) * columns / 512 * (18 if freckled else 26))
            cv2.circle(spots, centre, size, int(90 + 120 * radius), -1, cv2.LINE_AA, 4)
        strength = spots.astype(np.float32) * np.float32(random.uniform(0.3, 0.7) / 255)
        colour = self.skin * ([0.62, 0.5, 0.45] if random.random() < 0.8 else [0.9, 0.55, 0.52])
        _mix(flesh, strength, colour)

    def _brows(self, flesh: Field, random: np.random.Generator) -> None:
        place = self._atlas.place[: len(flesh)]
        part, _ = _box(len(self._atlas.part), "brows")
        x, y = np.abs(place[part][..., 0]), place[part][..., 1]
        rise, arch = random.uniform(-0.03, 0.05), random.uniform(-0.02, 0.05)
        middle = np.interp(x, [0.15, 0.28, 0.42, 0.58, 0.8, 0.9],
                           [0.24, 0.26, 0.33, 0.34 + arch, 0.24, 0.17]) + rise  # fmt: skip
        thick = random.uniform(0.035, 0.075) + 0.015 * self.man
        thick = thick * np.interp(x, [0.2, 0.35, 0.6, 0.85], [1.0, 1.1, 0.85, 0.35])
        inner, outer = random.uniform(0.13, 0.24), random.uniform(0.78, 0.9)
        alpha = ramp(np.abs(y - middle) / thick, 1.25, 0.55)
        alpha *= ramp(x, inner - 0.03, inner + 0.08) * ramp(x, outer + 0.06, outer - 0.12)
        alpha *= ramp(place[part][..., 2], -0.5, -0.2)
        shape = (alpha.shape[0], alpha.shape[1])
        hairs = noise(random, shape, (shape[0] // 2, shape[1] // 5))
        alpha *= np.clip(random.uniform(0.6, 1.0) + 0.25 * hairs, 0, 1)
        colour = self.hair * random.uniform(0.6, 0.95)
        _mix(flesh[part], alpha, np.minimum(colour, self.skin * 0.8))

    def _beard(self, flesh: Field, random: np.random.Generator) -> None:
        fields, hair = self._fields, np.minimum(self.hair * 0.8, self.skin * 0.8)
        shape = flesh.shape[:2]
        if self.man:  # the shadow of what is shaved
            shadow = fields["beard"] * np.float32(random.uniform(0, 0.25))
            _mix(flesh, shadow, self.skin * 0.5 + hair * 0.3)
        if not self.beard:
            return
        if self.beard == "stubble":
            zone, density = fields["beard"], random.uniform(0.3, 0.6)
        elif self.beard == "full":
            zone, density = fields["beard"], random.uniform(0.75, 0.98)
        elif self.beard == "goatee":
            zone, density = np.maximum(fields["moustache"], fields["goatee"]), 0.9
        else:
            zone, density = fields["moustache"], 0.9
        hairs = noise(random, shape, (shape[0] * 2 // 3, shape[1] * 2 // 3))
        patches = noise(random, shape, (20, 30))
        zone = zone * np.clip(density + 0.22 * hairs + 0.1 * patches, 0, 1)
        _mix(flesh, zone * (1 - fields["lips"]), hair)

    def _hair(self, flesh: Field, random: np.random.Generator) -> Field:
        """Paint the hair; the vertices with its volume."""
        vertices = self._identity.vertices
        if self.style == "bald":
            return vertices
        line = _hairline(random, self.style)
        soft = 0.05 if self.style != "cropped" else 0.1
        shape = flesh.shape[:2]
        edge = 0.05 * noise(random, shape, (40, 60))
        above = self._fields["height"] - np.interp(self._fields["azimuth"], *line) + edge
        cover = ramp(above, -soft, soft)
        ears = self._fields["ears"]
        if self.style in ("cropped", "short", "medium"):
            cover *= 1 - ears
        if self.style == "cropped":
            cover *= random.uniform(0.5, 0.85)
        strands = _strands(random, self._fields, self.style)
        tint = 1 + 0.22 * strands + 0.12 * noise(random, shape, (9, 12))
        depth = np.float32(0.75) + np.float32(0.25) * ramp(above, 0.0, 0.7)
        colour = (tint * depth)[..., None] * self.hair.astype(np.float32)
        flesh += cover[..., None] * (colour + 6 - flesh)
        return self._volume(random, line)

    def _volume(self, random: np.random.Generator, line: tuple[list[float], list[float]]) -> Field:
        mean, vertices = Head.load().vertices, self._identity.vertices
        most = {"cropped": 0.03, "short": 0.14, "medium": 0.28, "long": 0.3}[self.style]
        above = mean[:, 1] - np.interp(azimuth(mean), *line)
        grown = ramp(above, -0.02, 0.35) * _vertex_scalp()
        thick = most * random.uniform(0.5, 1.2)
        around = azimuth(mean)
        top = ramp(mean[:, 1], 0.6, 1.6)
        form = 1 + random.uniform(-0.3, 0.6) * top + random.uniform(-0.3, 0.5) * ramp(around, 1, 2)
        curls = 1 + random.uniform(0.05, 0.35) * _lumps(random, mean)
        away = mean - np.array([0, -0.1, -0.9])
        away[:, 1] *= ramp(mean[:, 1], -0.6, 0.6)
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        moved = vertices + (grown * thick * form * curls)[:, None] * away
        if self.style == "long":  # falls over the sides of the neck
            falls = ramp(around, 1.25, 1.9) * ramp(mean[:, 1], 0.2, -0.7) * _vertex_scalp()
            width = random.uniform(1.15, 1.45) * (1 + 0.08 * _lumps(random, mean))
            outward = away.copy()
            outward[:, 1] = 0
            outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
            radius = np.linalg.norm((mean - [0, 0, -0.9])[:, [0, 2]], axis=1)
            moved += (falls * np.maximum(width - radius, 0))[:, None] * outward
        return moved.astype(np.float32)

    def _gloss(self, random: np.random.Generator) -> Picture:
        """How much the surface shines: (size, size)."""
        levels = {"skin": 22, "neck": 16, "mouth": 60, "socket": 40, "tongue": 90, "teeth": 150,
                  "lashes": 0, "eye": 235}  # fmt: skip
        table = np.array([levels[name] for name in PARTS], np.float32)
        gloss = table[self._atlas.part]
        fields, oily = self._fields, random.uniform(0, 50)
        upper = gloss[: len(fields["lips"])]
        upper += np.float32(oily) * np.maximum(fields["nose"], fields["forehead"])
        upper += np.float32(random.uniform(10, 70)) * fields["lips"]
        return np.asarray(gloss).astype(np.uint8)

    def _rest(self, random: np.random.Generator) -> None:
        """Teeth, tongue, lashes and eyes."""
        part, texture = self._atlas.part, self.texture[..., :3]
        white = np.clip(np.array([236, 228, 208]) * random.uniform(0.85, 1.05), 0, 255)
        below = np.s_[round(0.5 * len(texture)) :]
        for name, colour in (
            ("teeth", white), ("tongue", np.array([176, 92, 92])), ("lashes", self.hair * 0.35),
            ("socket", self.skin * 0.55),
        ):  # fmt: skip
            texture[below][part[below] == PARTS.index(name)] = colour
        start = round(FLESH * len(texture))
        eye = np.full((len(texture) - start, len(texture) // 4 + 8, 3), 232, np.float32)
        y, x = np.mgrid[start : len(texture), : eye.shape[1]].astype(np.float32)
        x, y = (x + 0.5) / len(texture) - 0.13, (y + 0.5) / len(texture) - 0.85
        angle, turn = np.hypot(x, y) / 0.12 * np.deg2rad(96), np.arctan2(y, x)
        eye -= (ramp(angle, 0.5, 1.6) * 60)[..., None] * np.float32([0.5, 1, 1])
        iris = 0.46 * random.uniform(0.94, 1.06)
        fibres = random.normal(0, 1, 60).astype(np.float32)
        rays = fibres[((turn + np.pi) / (2 * np.pi) * 59.99).astype(int)]
        colour = (1 + 0.12 * rays + 0.35 * ramp(angle, iris, 0.2))[..., None] * self.iris
        _mix(eye, ramp(angle, iris + 0.03, iris - 0.02), colour * 0.9)
        _mix(eye, ramp(np.abs(angle - iris), 0.06, 0.0) * 0.7, self.iris * 0.3)
        _mix(eye, ramp(angle, random.uniform(0.17, 0.24), 0.14), [8, 8, 10])
        mask = part[start:, : eye.shape[1]] == PARTS.index("eye")
        texture[start:, : eye.shape[1]][mask] = np.clip(eye, 0, 255)[mask]


@cache
def _box(size: int, name: str) -> tuple[tuple[slice, slice], Field]:
    """The part of the plane that a field covers, and the field there."""
    field = _fields(size)[name]
    rows, columns = np.flatnonzero((field > 0.01).any(1)), np.flatnonzero((field > 0.01).any(0))
    where = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return where, field[where]


def _mix(picture: Field, share: ArrayLike, colour: ArrayLike) -> None:
    """Lay a colour (or a picture) over a picture, in place."""
    share = np.asarray(share, np.float32)
    picture += share[..., None] * (np.asarray(colour, np.float32) - picture)


def _along(colours: NDArray[np.int_], place: float) -> NDArray[np.float64]:
    """Colour at a place in [0, 1] of a list of colours."""
    at = np.linspace(0, 1, len(colours))
    return np.array([np.interp(place, at, channel) for channel in colours.T])


def _lumps(random: np.random.Generator, place: Field) -> Field:
    """Smooth noise of about unit variance at places in space, (n,)."""
    waves = random.normal(0, 4, (6, 3))
    return np.asarray(np.cos(place @ waves.T + random.uniform(0, 6.3, 6)).sum(1) / np.sqrt(3))


def _hairline(random: np.random.Generator, style: str) -> tuple[list[float], list[float]]:
    """Height above which hair grows, as a function of the azimuth."""
    forehead = 0.95 + random.uniform(-0.2, 0.2)
    bays = random.uniform(0.0, 0.25)
    temple = random.uniform(0.25, 0.6)
    side = random.uniform(-0.6, 0.1)
    nape = {"long": -4.0, "medium": -2.0}.get(style, -1.3)
    ear = -4.0 if style == "long" else {"medium": -0.9}.get(style, -0.2)
    return (
        [0, 0.35, 0.75, 1.1, 1.35, 1.55, 1.75, 2.2, 3.2],
        [forehead, forehead + bays, temple + 0.45, temple, side, side, ear, nape, nape],
    )


def _strands(random: np.random.Generator, fields: dict[str, Field], style: str) -> Field:
    """Noise drawn out along the hair."""
    fine = 260 if style != "cropped" else 500
    sheet = noise(random, (256, 512), (int(random.integers(4, 40)), fine))
    return np.asarray(cv2.remap(sheet, fields["strand_x"], fields["strand_y"], cv2.INTER_LINEAR,
                                borderMode=cv2.BORDER_REFLECT_101))  # fmt: skip


@cache
def _vertex_scalp() -> Field:
    """(V,) 1 where hair can have volume: skin and neck, but for ears and face."""
    head = Head.load()
    outside = np.zeros(len(head.vertices), np.float32)
    for name in ("skin", "neck"):
        outside[head.triangles[head.parts == PARTS.index(name)]] = 1
    return np.asarray(outside * (1 - head.masks["ears"]) * (1 - head.masks["trunk"]))


@cache
def _fields(size: int) -> dict[str, Field]:
    """Where things are on the upper part of the texture plane: (h, size) float32 each."""
    atlas, masks = Atlas.of(size), Head.load().masks
    h = round(FLESH * size)
    place, part = atlas.place[:h], atlas.part[:h]
    x, y, z = np.abs(place[..., 0]), place[..., 1], place[..., 2]
    around = azimuth(place)
    skin = (part == PARTS.index("skin")).astype(np.float32)
    front = skin * ramp(z, -0.9, -0.5)
    fields = {name: atlas.spread(masks[key])[:h] for name, key in (
        ("lips", "lips"), ("rims", "eyelids"), ("ears", "ears"), ("inside", "inside-mouth"))
    }  # fmt: skip
    fields["lips"] = ramp(fields["lips"], 0.2, 0.8)
    fields["inside"] = np.maximum(
        ramp(fields["inside"], 0.5, 1.0) * (1 - skin), part == PARTS.index("mouth")
    ).astype(np.float32)
    fields["height"], fields["azimuth"] = y, around
    signed = np.arctan2(place[..., 0], z + 0.9)
    fields["strand_x"] = ((signed / (2 * np.pi) + 0.5) * 511).astype(np.float32)
    fields["strand_y"] = ((2.0 - y) / 5 * 255).astype(np.float32)
    for name, centre, width in (
        ("cheeks", (0.62, -0.6), (0.22, 0.22)), ("nose", (0.0, -0.62), (0.15, 0.14)),
        ("chin", (0.0, -1.5), (0.25, 0.15)), ("forehead", (0.0, 0.65), (0.4, 0.2)), ("under_eyes", (0.45, -0.24), (0.2, 0.06)),
        ("sockets", (0.45, 0.05), (0.3, 0.16)), ("lids", (0.5, 0.1), (0.22, 0.07)),
    ):  # fmt: skip
        fields[name] = bump(place, centre, width) * skin
    fold = 0.24 + (-0.62 - y) * 0.42  # from the nose's wing to beside the mouth
    fields["creases"] = (
        np.exp(-0.5 * ((x - fold) / 0.025) ** 2) * ramp(y, -1.15, -0.95) * ramp(y, -0.55, -0.7)
        + np.exp(-0.5 * ((np.sin(y * 42)) / 0.35) ** 2) * 0.5 * ramp(y, 0.45, 0.6)
        * ramp(y, 1.0, 0.85) * ramp(x, 0.6, 0.3)
    ).astype(np.float32) * front  # fmt: skip
    line = np.interp(around, [0, 0.3, 0.5, 0.9, 1.4, 1.7],
                     [-0.86, -0.88, -1.02, -0.9, -0.5, -0.3])  # fmt: skip
    beard = ramp(y - line, 0.04, -0.1) * ramp(around, 1.75, 1.55) * ramp(y, -2.1, -1.8)
    fields["beard"] = beard * skin * (1 - fields["ears"])
    lip = ramp(x, 0.5, 0.38)
    fields["moustache"] = ramp(y, -0.8, -0.86) * ramp(y, -1.2, -1.05) * lip * front
    fields["goatee"] = ramp(y, -1.05, -1.2) * ramp(x, 0.48, 0.36) * front * ramp(y, -2.0, -1.8)
    neck = (part == PARTS.index("neck")).astype(np.float32)
    fields["clothes"] = ramp(y + 0.12 * x, -2.1, -2.14) * neck
    fields["brows"] = ((x < 1.0) & (np.abs(y - 0.28) < 0.3) & (z > -0.5)) * skin
    return fields
