"""The looks of people: skin, brows, lips, eyes, hair and beard, painted on the head's texture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tcae.data.synthetic.atlas import FLESH, Atlas, Field, noise, ramp
from tcae.data.synthetic.features import box, features
from tcae.data.synthetic.haircut import STYLES, Haircut
from tcae.data.synthetic.head import PARTS, Head, Identity
from tcae.data.synthetic.lids import paint_lids
from tcae.data.synthetic.motion import check_range

Array = NDArray[np.float64]
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
_BLOOD = np.array([0.25, -0.9, -0.75], np.float32)  # what it adds to red, green and blue
_VEINS = np.array([0.5, 1, 1], np.float32)  # what the white of the eye lacks beside them
_BEARDS = ("stubble", "moustache", "goatee", "full")


@dataclass(frozen=True)
class AppearanceConfig:
    """How much people differ in their looks. 0 makes them all alike.

    Attributes:
        tone: Range of skin tones, from 0 (one tone for all) to 1 (all tones).
        blemishes: Strength of mottling, freckles, moles and redness. 1 is usual.
        hair: Share of people who have hair.
        beard: Share of men who have a beard.
        make_up: Share of women's videos in which lips and eyelids have make-up.
        lashes: How dark the edge of the upper lid and the fold above it are, from 0 to 1.
    """

    tone: float = 1.0
    blemishes: float = 1.0
    hair: float = 0.95
    beard: float = 0.5
    make_up: float = 0.4
    lashes: float = 0.0

    def __post_init__(self) -> None:
        for name in ("tone", "hair", "beard", "make_up", "lashes"):
            check_range(f"appearance.{name}", getattr(self, name), 0, 1)
        check_range("appearance.blemishes", self.blemishes, 0, 3)


class Look:
    """The looks that one person has in every video.

    Args:
        random: The person's random numbers.
        identity: The person's face.
        size: Side of the texture in texels.
        config: How much people differ.

    Attributes:
        texture: (size, size, 3) uint8 RGB.
        vertices: (V, 3) float32, the neutral face with its hair.
    """

    def __init__(
        self, random: np.random.Generator, identity: Identity, size: int, config: AppearanceConfig
    ) -> None:
        traits, skin, hair, beard, brows, lids = random.spawn(6)
        self._atlas, self._config, self._identity = Atlas.of(size), config, identity
        self._fields = features(size)
        self._choose(traits)
        self.texture = np.zeros((size, size, 4), np.uint8)
        flesh = self._skin(skin)
        self._brows(flesh, brows)
        if config.lashes > 0:
            paint_lids(flesh, lids, size, self.hair, config.lashes)
        self._beard(flesh, beard)
        self.vertices = self._hair(flesh, hair)
        self.texture[: len(flesh), :, :3] = np.clip(flesh, 0, 255)
        self._rest(traits)
        self.texture[..., 3] = self._gloss(skin)

    def dressed(self, random: np.random.Generator) -> tuple[Picture, Array]:
        """Return the texture for one video, with clothes and make-up, and the clothes' colour."""
        texture = self.texture.copy()
        flesh = texture[: round(FLESH * len(texture)), :, :3]
        cloth = np.clip(random.uniform(10, 225) + random.normal(0, 30, 3), 5, 245)
        layers = self._clothes(random, cloth)
        if self._identity.male < 0.5 and random.random() < self._config.make_up:
            layers += self._make_up(random)
        for name, share, colour in layers:
            where, field = box(len(texture), name)
            patch = flesh[where].astype(np.float32)
            _mix(patch, field * np.float32(share), colour)
            flesh[where] = np.clip(patch, 0, 255)
        return texture, cloth

    def _clothes(
        self, random: np.random.Generator, colour: Array
    ) -> list[tuple[str, float, ArrayLike]]:
        _, field = box(len(self.texture), "clothes")
        cells = (int(random.integers(8, 60)), int(random.integers(4, 60)))
        cloth = 1 + random.uniform(0.02, 0.2) * noise(random, field.shape[:2], cells)
        return [("clothes", 1.0, colour * cloth[..., None])]

    def _make_up(self, random: np.random.Generator) -> list[tuple[str, float, ArrayLike]]:
        lips = random.uniform([100, 15, 20], [220, 100, 120])
        return [
            ("lips", random.uniform(0.3, 0.85), lips),
            ("lids", random.uniform(0, 0.5), random.uniform(20, 130, 3)),
            ("rims", random.uniform(0.2, 0.8), [25, 20, 20]),
            ("cheeks", random.uniform(0, 0.3), [200, 90, 90]),
        ]

    def _choose(self, random: np.random.Generator) -> None:
        """Choose colours and styles that fit the face."""
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
        usual = [0.12, 0.3, 0.4, 0.14, 0.04] if man else [0.0, 0.03, 0.17, 0.35, 0.45]
        self.style = str(random.choice(STYLES, p=usual))
        if random.random() >= self._config.hair:
            self.style = "bald"
        bearded = man and random.random() < self._config.beard
        self.beard = str(random.choice(_BEARDS, p=[0.4, 0.1, 0.2, 0.3])) if bearded else ""
        self.man = man

    def _skin(self, random: np.random.Generator) -> Field:
        """Return the skin of face, neck and mouth as (h, size, 3) float32."""
        fields, level = self._fields, self._config.blemishes
        shape = fields["lips"].shape
        shade = np.zeros(shape, np.float32)
        for cells, strength in (((5, 9), 0.02), ((24, 44), 0.018), ((90, 170), 0.03)):
            shade += strength * noise(random, shape, cells)
        blood = 0.03 * noise(random, shape, (11, 20)) + 0.018 * noise(random, shape, (50, 96))
        for name, most in (("cheeks", 0.12), ("nose", 0.12), ("ears", 0.08), ("chin", 0.04)):
            blood += fields[name] * np.float32(most * random.random())
        shade -= fields["under_eyes"] * np.float32(random.uniform(0.02, 0.16))
        shade -= fields["sockets"] * np.float32(random.uniform(0.0, 0.1))
        if self._identity.age > 0.3:
            shade -= fields["creases"] * np.float32(0.25 * (self._identity.age - 0.2))
        shade, blood = 1 + level * shade, level * blood
        flesh = (shade[..., None] * self.skin).astype(np.float32)
        flesh *= 1 + blood[..., None] * _BLOOD
        self._spots(flesh, random)
        lips = self.skin * np.array([0.88, 0.6, 0.6]) + np.array([6, 0, 4])
        lips = lips * random.uniform(0.8, 1.1) + random.normal(0, 5, 3)
        _mix(flesh, fields["lips"] * random.uniform(0.55, 0.95), lips)
        _mix(flesh, fields["rims"] * random.uniform(0.2, 0.7), self.skin * 0.35)
        _mix(flesh, fields["inside"], [92, 34, 34])
        return flesh

    def _spots(self, flesh: Field, random: np.random.Generator) -> None:
        """Add freckles, moles and pimples."""
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
        brown, red = np.array([[0.62, 0.5, 0.45], [0.9, 0.55, 0.52]])
        colour = self.skin * (brown if random.random() < 0.8 else red)
        _mix(flesh, strength, colour)

    def _brows(self, flesh: Field, random: np.random.Generator) -> None:
        place = self._atlas.place[: len(flesh)]
        part, _ = box(len(self._atlas.part), "brows")
        x, y = np.abs(place[part][..., 0]), place[part][..., 1]
        rise, arch = random.normal(-0.07, 0.05), random.uniform(-0.02, 0.05)
        along = x - 0.56
        bend = np.where(along < 0, 0.7, 1.4 + 8 * arch) * along**2
        middle = 0.34 + arch + rise - bend
        broad = random.uniform(0.035, 0.075) + 0.015 * self.man
        thick = broad * np.interp(x, [0.2, 0.35, 0.6, 0.85], [1.0, 1.1, 0.85, 0.35])
        inner, outer = random.uniform(0.13, 0.24), random.uniform(0.78, 0.9)
        alpha = ramp(np.abs(y - middle) / thick, 1.25, 0.55)
        alpha *= ramp(x, inner - 0.03, inner + 0.08) * ramp(x, outer + 0.06, outer - 0.12)
        alpha *= ramp(place[part][..., 2], -0.5, -0.2)
        shape = (alpha.shape[0], alpha.shape[1])
        hairs = noise(random, shape, (shape[0] // 2, shape[1] // 5))
        alpha *= np.clip(random.uniform(0.35, 1.0) + 0.25 * hairs, 0, 1)
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
            zone, density = fields["beard"], float(random.uniform(0.3, 0.6))
        elif self.beard == "full":
            zone, density = fields["beard"], float(random.uniform(0.75, 0.98))
        elif self.beard == "goatee":
            zone, density = np.maximum(fields["moustache"], fields["goatee"]), 0.9
        else:
            zone, density = fields["moustache"], 0.9
        hairs = noise(random, shape, (shape[0] * 2 // 3, shape[1] * 2 // 3))
        patches = noise(random, shape, (20, 30))
        zone = zone * np.clip(density + 0.22 * hairs + 0.1 * patches, 0, 1)
        _mix(flesh, zone * (1 - fields["lips"]), hair)

    def _hair(self, flesh: Field, random: np.random.Generator) -> Field:
        """Paint the hair. Return the vertices with it."""
        if self.style == "bald":
            return self._identity.vertices
        cut, colour = Haircut(random, self.style), self.hair.astype(np.float32)
        share, tint = cut.paint(len(self._atlas.part))
        _mix(flesh, share, tint[..., None] * colour + 6)
        where, tint = cut.sheet(len(self._atlas.part))
        self.texture[where][..., :3] = np.clip(tint[..., None] * colour + 6, 0, 255)
        return cut.grow(Head.load(), self._identity.vertices)

    def _gloss(self, random: np.random.Generator) -> Picture:
        """Return how much the surface shines: (size, size)."""
        levels = {"skin": 22, "neck": 16, "mouth": 60, "socket": 40, "tongue": 90, "teeth": 150,
                  "lashes": 0, "eye": 235, "hair": 45}  # fmt: skip
        table = np.array([levels[name] for name in PARTS], np.float32)
        gloss = table[self._atlas.part]
        fields, oily = self._fields, random.uniform(0, 50)
        upper = gloss[: len(fields["lips"])]
        upper += np.float32(oily) * np.maximum(fields["nose"], fields["forehead"])
        upper += np.float32(random.uniform(10, 70)) * fields["lips"]
        return np.asarray(gloss).astype(np.uint8)

    def _rest(self, random: np.random.Generator) -> None:
        """Add teeth, tongue, lashes and eyes."""
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
        eye -= (ramp(angle, 0.5, 1.6) * 60)[..., None] * _VEINS
        iris = 0.46 * random.uniform(0.94, 1.06)
        fibres = random.normal(0, 1, 60).astype(np.float32)
        rays = fibres[((turn + np.pi) / (2 * np.pi) * 59.99).astype(int)]
        colour = (1 + 0.12 * rays + 0.35 * ramp(angle, iris, 0.2))[..., None] * self.iris
        _mix(eye, ramp(angle, iris + 0.03, iris - 0.02), colour * 0.9)
        _mix(eye, ramp(np.abs(angle - iris), 0.06, 0.0) * 0.7, self.iris * 0.3)
        _mix(eye, ramp(angle, random.uniform(0.17, 0.24), 0.14), [8, 8, 10])
        mask = part[start:, : eye.shape[1]] == PARTS.index("eye")
        texture[start:, : eye.shape[1]][mask] = np.clip(eye, 0, 255)[mask]


def _mix(picture: Field, share: ArrayLike, colour: ArrayLike) -> None:
    """Lay a colour (or a picture) over a picture, in place."""
    share = np.asarray(share, np.float32)
    picture += share[..., None] * (np.asarray(colour, np.float32) - picture)


def _along(colours: NDArray[np.int_], place: float) -> NDArray[np.float64]:
    """Return the colour at a place in [0, 1] of a list of colours."""
    at = np.linspace(0, 1, len(colours))
    return np.array([np.interp(place, at, channel) for channel in colours.T])
