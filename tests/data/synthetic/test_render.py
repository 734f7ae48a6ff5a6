from __future__ import annotations

import numpy as np

from tcae.data.synthetic.hair import HairStyle
from tcae.data.synthetic.head import PARTS, Head
from tcae.data.synthetic.raster import trace
from tcae.data.synthetic.render import render
from tcae.data.synthetic.scene import Camera, Light, Pose, Surface, look

HEAD = Head.load()
SIZE = 96
CAMERA = Camera(12.0, np.array([[33, 0, 47.5], [0, 33, 42]], np.float32))
STYLE = HairStyle([0, 0.75, 1.1, 1.35, 1.75, 3.2], [0.95, 0.8, 0.35, -0.2, -0.2, -1.0])


def plain(colour=(200, 150, 120), gloss=0):
    texture = np.empty((64, 64, 4), np.uint8)
    texture[..., :3], texture[..., 3] = colour, gloss
    return Surface(texture, np.zeros((64, 64, 2), np.int8))


def light(ambient=0.0, lamps=()):
    """Even light from all around and lamps as (x, y, z, strength)."""
    harmonics = np.zeros((9, 3), np.float32)
    harmonics[0] = ambient
    lamps = np.array(lamps, np.float32).reshape(-1, 4)
    directions = lamps[:, :3] / np.linalg.norm(lamps[:, :3], axis=1, keepdims=True)
    return Light(harmonics, directions, np.repeat(lamps[:, 3:], 3, 1))


def shot(paint, lit, pose=None, wrinkles=None, vertices=None, behind=(10, 60, 200)):
    shape = HEAD.vertices if vertices is None else vertices
    background = np.full((SIZE, SIZE, 3), behind, np.uint8)
    return render(HEAD, look(HEAD, shape, pose or Pose(), CAMERA), paint, lit, background, wrinkles)


def test_the_paint_shows_in_even_light_and_the_background_beside():
    picture = shot(plain(), light(ambient=1))
    assert (picture[:4, :4] == [10, 60, 200]).all()
    cheek = picture[55, 33].astype(int)
    assert np.abs(cheek - [200, 150, 120]).max() < 25
    assert (shot(plain(), light())[20:70, 35:60] == 0).all()


def test_light_is_linear_in_gamma_two():
    one, four = (shot(plain(), light(ambient=a))[20:60, 35:60].astype(float) for a in (0.2, 0.8))
    np.testing.assert_allclose(four, 2 * one, atol=3)


def test_a_lamp_lights_its_side():
    left = shot(plain(), light(lamps=[(-1, 0, 0.4, 1)])).astype(float)
    right = shot(plain(), light(lamps=[(1, 0, 0.4, 1)])).astype(float)
    face = np.s_[30:70, 25:71]
    half = left[face].shape[1] // 2
    assert left[face][:, :half].mean() > 1.5 * left[face][:, half:].mean()
    np.testing.assert_allclose(left[face], right[:, ::-1][face], atol=60)
    assert np.abs(left[face] - right[:, ::-1][face]).mean() < 2
    both = light(lamps=[(-1, 0, 0.4, 1), (1, 0, 0.4, 1)])
    total = left**2 + right**2
    dark = total < 250**2
    np.testing.assert_allclose(
        shot(plain(), both, behind=(0, 0, 0))[dark].astype(float), np.sqrt(total)[dark], atol=260
    )


def test_gloss_adds_light_only():
    lamp = light(0.2, [(0, 0, 1, 0.5)])
    matt, glossy = (shot(plain(gloss=g), lamp).astype(int) for g in (0, 255))
    assert (glossy >= matt).all()
    assert (glossy - matt).max() > 20


def test_wrinkles_darken_the_skin_of_their_side():
    paint = plain()
    paint.wrinkles[..., 1] = -60
    lit = light(ambient=1)
    still = shot(paint, lit).astype(int)
    strengths = np.zeros((2, 2), np.float32)
    strengths[1] = 0.8, 0.0  # the person's left: the picture's right
    folded = shot(paint, lit, wrinkles=strengths).astype(int)
    change = (still - folded)[40:70].sum(2)
    assert change[:, 60:70].mean() > 30
    assert np.abs(change[:, 22:30]).max() == 0


# Means of 4 x 4 blocks of the picture below.
REFERENCE = [
    [93.2, 115.6, 139.8, 113.7],
    [91.3, 110.9, 146.2, 119.7],
    [92.4, 106.5, 130.0, 111.2],
    [87.5, 93.1, 134.3, 98.0],
]


def test_same_input_same_picture_and_as_on_other_machines():
    """Other machines may differ in the last bit of sines and roots: by a level at most."""
    random = np.random.default_rng(5)
    person = HEAD.identity(random)
    vertices = HEAD.with_hair(person.vertices, STYLE, random)
    texture = random.integers(0, 256, (64, 64, 4)).astype(np.uint8)
    paint = Surface(texture, np.zeros((64, 64, 2), np.int8))
    lit = light(0.4, [(0.5, 0.7, 0.8, 0.8)])
    first, second = (shot(paint, lit, Pose(0.2, 0.1, 0.05), None, vertices) for _ in range(2))
    assert np.array_equal(first, second)
    blocks = first.reshape(4, 24, 4, 24, 3).mean((1, 3, 4))
    np.testing.assert_allclose(blocks, REFERENCE, atol=1)


def test_hair_covers_the_crown_and_not_the_face():
    random = np.random.default_rng(0)
    person = HEAD.identity(random)
    grown = HEAD.with_hair(person.vertices, STYLE, random)
    texture = np.full((512, 512, 4), 0, np.uint8)
    texture[..., 1] = 200
    texture[round(0.72 * 512) :, round(0.28 * 512) :, :3] = (200, 0, 0)
    paint = Surface(texture, np.zeros((8, 8, 1), np.int8))
    picture = shot(paint, light(ambient=1), vertices=grown)
    red = picture[..., 0] > 2 * picture[..., 1].astype(int) + 20
    assert red[8:10, 44:52].all()
    assert not red[35:75, 38:58].any()
    bald = shot(paint, light(ambient=1), vertices=person.vertices)
    assert not (bald[..., 0] > 60).any()


def test_hanging_hair_hides_the_ears_and_a_fringe_the_forehead():
    random = np.random.default_rng(1)
    person = HEAD.identity(random).vertices
    long = HairStyle(STYLE.azimuths, STYLE.heights, length=2.0, fringe=0.5, opening=1.2, rough=0)
    ears = HEAD.masks["ears"][HEAD.triangles].mean(1) > 0.7
    shares, rows = [], []
    for style in (STYLE, long):
        view = look(HEAD, HEAD.with_hair(person, style, random), Pose(yaw=1.2), CAMERA)
        seen, _ = trace(view.pixels, view.depth, HEAD.triangles, HEAD.two_sided, SIZE, SIZE, 1)
        shares.append(ears[seen[seen >= 0]].mean())
        front = look(HEAD, HEAD.with_hair(person, style, random), Pose(), CAMERA)
        seen, _ = trace(front.pixels, front.depth, HEAD.triangles, HEAD.two_sided, SIZE, SIZE, 1)
        rows.append(np.flatnonzero(HEAD.parts[seen[:60, 47]] == PARTS.index("hair")).max())
    assert shares[1] < 0.4 * shares[0]
    assert rows[1] > rows[0] + 6
