from __future__ import annotations

import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE, align
from tcae.data.synthetic.camera import CameraConfig, Sensor, crop_jitter, crop_matrix

PERFECT = CameraConfig(blur=0, coarse=0, noise=0, exposure=0, tint=0, compression=100)
NO_JITTER = np.zeros(4)


def points(random):
    face = DEFAULT_TEMPLATE.pixels(200) + random.normal(0, 4, (5, 2))
    turn = np.exp(1j * random.uniform(-0.5, 0.5)) * random.uniform(0.5, 2)
    z = (face @ [1, 1j]) * turn + 300
    return np.stack([z.real, z.imag], 1)


def test_the_crop_is_that_of_real_videos():
    """A picture cut by `tcae.data.align.align` shows the same place at the same pixel."""
    random = np.random.default_rng(0)
    for _ in range(5):
        face = points(random)
        matrix = crop_matrix(face, NO_JITTER, DEFAULT_TEMPLATE, upright=True)
        picture = np.zeros((900, 900, 3), np.uint8)
        spot = face.mean(0) + random.uniform(-20, 20, 2)
        column, row = np.round(spot).astype(int)
        picture[row - 3 : row + 4, column - 3 : column + 4] = 255
        cut = align(picture, face, DEFAULT_TEMPLATE, 128)[..., 0].astype(float)
        rows, columns = np.mgrid[:128, :128]
        seen = np.array([(columns * cut).sum(), (rows * cut).sum()]) / cut.sum()
        expected = (matrix[:, :2] @ [column, row] + matrix[:, 2]) * 128 - 0.5
        assert np.allclose(seen, expected, atol=0.1)


def test_heads_keep_their_roll_if_asked():
    random = np.random.default_rng(1)
    face = points(random)
    matrix = crop_matrix(face, NO_JITTER, DEFAULT_TEMPLATE, upright=False)
    assert matrix[0, 1] == pytest.approx(0, abs=1e-12) and matrix[0, 0] > 0
    upright = crop_matrix(face, NO_JITTER, DEFAULT_TEMPLATE, upright=True)
    assert np.linalg.det(matrix[:, :2]) == pytest.approx(np.linalg.det(upright[:, :2]))
    middle = face.mean(0)
    assert np.allclose(matrix @ [*middle, 1], upright @ [*middle, 1])


def test_jitter_is_what_it_is_called():
    face = points(np.random.default_rng(2))
    plain = crop_matrix(face, NO_JITTER, DEFAULT_TEMPLATE, upright=True)
    jittered = crop_matrix(face, np.array([0.1, -0.2, 0.3, 0.4]), DEFAULT_TEMPLATE, upright=True)
    middle = np.array([*face.mean(0), 1])
    assert np.allclose(jittered @ middle - plain @ middle, [0.1, -0.2])
    a, b = (m[0, 0] + 1j * m[1, 0] for m in (plain, jittered))
    assert np.log(abs(b / a)) == pytest.approx(0.3)
    assert np.angle(b / a) == pytest.approx(0.4)


def test_jitter_has_the_spread_asked_for():
    config = CameraConfig(jitter_shift=0.02, jitter_scale=0.03, jitter_roll=4)
    times = np.arange(20) / 5
    jitter = np.stack([crop_jitter(np.random.default_rng(i), times, config) for i in range(800)])
    assert jitter.std((0, 1)) == pytest.approx([0.02, 0.02, 0.03, np.radians(4)], rel=0.1)


def scene(size=64):
    y, x = np.mgrid[:size, :size]
    return np.stack([x * 2 + 60, y * 2 + 60, (x + y) + 40], -1).astype(np.uint8)


def test_a_perfect_camera_shows_what_there_is():
    sensor = Sensor(np.random.default_rng(0), 64, PERFECT)
    assert np.array_equal(sensor.take(scene(), np.random.default_rng(1)), scene())


@pytest.mark.parametrize(
    "fault",
    ["blur", "coarse", "noise", "exposure", "tint", "compression", "codec", "sharpening"],
)
def test_each_fault_changes_the_picture(fault):
    strong = {"blur": 3.0, "coarse": 0.9, "noise": 30.0, "exposure": 0.8, "tint": 0.5,
              "compression": 5, "codec": 1.0, "sharpening": 3.0}  # fmt: skip
    config = CameraConfig(**(vars(PERFECT) | {fault: strong[fault]}))
    rng = np.random.default_rng(4)
    rough = np.clip(scene() + rng.normal(0, 25, (64, 64, 1)), 0, 255).astype(np.uint8)
    changes = []
    for seed in range(5):  # every video has its own strength
        sensor = Sensor(np.random.default_rng(seed), 64, config)
        taken = sensor.take(rough, np.random.default_rng(1))
        assert taken.shape == rough.shape and taken.dtype == np.uint8
        changes.append(np.abs(taken.astype(int) - rough).mean())
    assert max(changes) > 2
    assert len(set(changes)) > 1


def test_noise_is_the_frames_own():
    sensor = Sensor(np.random.default_rng(0), 64, CameraConfig(noise=40.0))
    one, two, again = (sensor.take(scene(), np.random.default_rng(i)) for i in (1, 2, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, two)


def rough(seed=4):
    return np.random.default_rng(seed).integers(30, 220, (64, 64, 3)).astype(np.uint8)


def test_videos_that_no_codec_went_over_stay_as_they_were():
    same = 0
    for seed in range(30):
        pictures = [
            Sensor(np.random.default_rng(seed), 64, CameraConfig(codec=share)).take(
                rough(), np.random.default_rng(1)
            )
            for share in (0.0, 0.5)
        ]
        same += np.array_equal(*pictures)
    assert 8 <= same <= 22


def test_a_codec_blurs_colours_more_than_brightness():
    """Chroma is kept at half the resolution: fine coloured stripes fade, grey ones less."""
    stripes = (np.arange(64) // 2 % 2 * 120)[None, :, None] + np.zeros((64, 1, 1))
    grey = (60 + stripes * [1, 1, 1]).astype(np.uint8)
    coloured = (120 + (stripes - 60) * [1, -0.5, 0]).astype(np.uint8)
    kept = {"grey": [], "coloured": []}
    for seed in range(12):
        sensor = Sensor(
            np.random.default_rng(seed), 64, CameraConfig(**vars(PERFECT) | {"codec": 1})
        )
        for name, picture in (("grey", grey), ("coloured", coloured)):
            taken = sensor.take(picture, np.random.default_rng(seed)).astype(float)
            kept[name].append(taken[8:-8, 8:-8, 0].std() / picture[..., 0].std())
    assert np.mean(kept["coloured"]) < 0.7 * np.mean(kept["grey"])


def test_sharpening_makes_halos_at_edges_only():
    edge = np.full((64, 64, 3), 60, np.uint8)
    edge[:, 32:] = 180
    sensor = Sensor(np.random.default_rng(0), 64, CameraConfig(**vars(PERFECT) | {"sharpening": 3}))
    taken = sensor.take(edge, np.random.default_rng(1)).astype(int)
    assert (taken[:, 31] < 55).all() and (taken[:, 32] > 185).all()
    assert np.array_equal(taken[:, :24], edge[:, :24])
    assert np.array_equal(taken[:, 40:], edge[:, 40:])


@pytest.mark.parametrize("way", [(1.0, 0.0), (0.0, -1.0), (0.6, 0.8)])
def test_moving_heads_are_blurred_along_their_way(way):
    """A dot becomes a line, whose variance along the way is a twelfth of its length squared."""
    config = CameraConfig(**vars(PERFECT) | {"shutter": 0.1})
    dot = np.zeros((65, 65, 3), np.uint8)
    dot[31:34, 31:34] = 250
    lengths = []
    for seed in range(6):
        sensor = Sensor(np.random.default_rng(seed), 65, config)
        still = sensor.take(dot, np.random.default_rng(1))
        assert np.array_equal(still, dot)
        taken = sensor.take(dot, np.random.default_rng(1), np.multiply(way, 2.0))[..., 0] / 1.0
        y, x = np.mgrid[:65, :65] - 32
        along, across = x * way[0] + y * way[1], y * way[0] - x * way[1]
        spread = [(taken * d * d).sum() / taken.sum() - 2 / 3 for d in (along, across)]
        lengths.append(np.sqrt(12 * max(spread[0], 0)))
        assert abs(spread[1]) < 0.5
    # A head that crosses two sides of the crop a second, for up to a tenth of it: 13 pixels.
    assert max(lengths) <= 13.5 and max(lengths) > 5
    assert len(set(np.round(lengths, 1))) > 3


@pytest.mark.parametrize(
    "options", [{"compression": 0}, {"blur": -1.0}, {"coarse": 0.95}, {"codec": 2.0}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=r"camera\."):
        CameraConfig(**options)
