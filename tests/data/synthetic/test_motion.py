from __future__ import annotations

import numpy as np
import pytest

from tcae.data.synthetic.motion import MotionConfig, gaze, head_motion, room_motion, smooth_noise


def attitudes(config, videos=1500, seconds=8.0, fps=5):
    times = np.arange(int(seconds * fps)) / fps
    return np.stack(
        [head_motion(np.random.default_rng([5, i]), times, config) for i in range(videos)]
    )


def test_noise_is_a_unit_gaussian_process():
    times = np.linspace(0, 30, 301)
    noise = np.stack([smooth_noise(np.random.default_rng(i), times, 0.5, 2) for i in range(1000)])
    assert np.allclose(noise.mean(0), 0, atol=0.15)
    assert np.allclose(noise.std(0), 1, atol=0.1)
    later = (noise[:, :-5] * noise[:, 5:]).mean()  # half a second
    assert later == pytest.approx(np.exp(-(0.5**2) / (4 * 0.5**2)), abs=0.02)
    assert (noise[..., 0] * noise[..., 1]).mean() == pytest.approx(0, abs=0.03)


def test_spread_is_as_asked():
    assert attitudes(MotionConfig()).std((0, 1)) == pytest.approx([13, 7, 5], rel=0.05)
    assert attitudes(MotionConfig(yaw=30, pitch=0)).std((0, 1)) == pytest.approx(
        [30, 0, 5], rel=0.05
    )


def test_heads_move_smoothly_and_stay_in_view():
    turned = attitudes(MotionConfig(), videos=40, seconds=20, fps=100)
    speed = np.abs(np.diff(turned, axis=1)) * 100
    assert np.median(speed[..., 0]) < 30  # degrees a second
    assert speed.max() < 250
    assert np.abs(turned / [13, 7, 5]).max() <= 3


def test_shares_of_the_variance():
    """A camera that stands still at the side; nods at the rhythm of speech."""
    fixed = attitudes(MotionConfig(view=1.0, beats=0.0), videos=300)
    assert np.ptp(fixed, axis=1).max() == 0
    assert fixed.std(0)[0] == pytest.approx([13, 7, 5], rel=0.15)
    nods = attitudes(MotionConfig(view=0.0, beats=1.0), videos=100, seconds=20, fps=50)[..., 1]
    power = (np.abs(np.fft.rfft(nods, axis=1)) ** 2).mean(0)
    peak = np.fft.rfftfreq(nods.shape[1], 1 / 50)[power.argmax()]
    assert 1 < peak < 3


def test_eyes_jump_and_often_look_at_the_camera():
    times = np.arange(0, 60, 0.05)
    attitude = np.tile([20.0, -10.0, 0.0], (len(times), 1))
    looks = gaze(np.random.default_rng(0), times, attitude, MotionConfig())
    at_camera = np.isclose(looks, np.radians([-20, 10])).all(1)
    assert 0.3 < at_camera.mean() < 0.7
    jumps = (np.abs(np.diff(looks, axis=0)).max(1) > 0).sum() / 60
    assert 0.5 < jumps < 2
    still = gaze(np.random.default_rng(0), times, attitude, MotionConfig(gaze=0.0))
    assert np.abs(still).max() == 0


def test_heads_sway_in_the_room():
    times = np.arange(40) / 5
    places = [
        room_motion(np.random.default_rng(i), times, MotionConfig(sway=0.1)) for i in range(300)
    ]
    assert np.std(places) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    "options", [{"yaw": -1.0}, {"view": 0.7, "beats": 0.5}, {"pace": 0.0}, {"pitch": float("nan")}]
)
def test_wrong_options_are_refused(options):
    with pytest.raises(ValueError, match=r"motion\."):
        MotionConfig(**options)
