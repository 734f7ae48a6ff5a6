"""The motion of a talking head: smooth random processes, evaluated at any times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BEAT_HERTZ = np.array([1.1, 1.7, 0.8])  # of shaking, nodding and tilting while one speaks
_FIXATION_SECONDS = 0.8
_MOST_GAZE = 25.0  # degrees
_MOST = 3.0  # standard deviations; a talking head does not turn its back


@dataclass(frozen=True)
class MotionConfig:
    """How far and how fast heads turn.

    Attributes:
        yaw: Standard deviation of the yaw in degrees, over all videos. A positive yaw turns the
            nose to the right of the picture.
        pitch: Standard deviation of the pitch in degrees. A positive pitch lowers the nose.
        roll: Standard deviation of the roll in degrees, before the crop turns the face upright. A
            positive roll is clockwise in the picture.
        view: Share of the variance between videos, from where the camera stands. The rest is
            motion within each video.
        beats: Share of the variance from nodding and shaking at the rhythm of speech.
        pace: Seconds that a head takes to turn another way.
        gaze: Standard deviation of the direction of the eyes, in degrees.
        sway: Standard deviation of the head's place in the room, as a share of the crop's side. It
            moves the background behind an aligned face.
    """

    yaw: float = 13.0
    pitch: float = 7.0
    roll: float = 5.0
    view: float = 0.25
    beats: float = 0.1
    pace: float = 0.8
    gaze: float = 8.0
    sway: float = 0.08

    def __post_init__(self) -> None:
        for name in ("yaw", "pitch", "roll", "gaze", "sway"):
            check_range(f"motion.{name}", getattr(self, name), 0, 90)
        for name in ("view", "beats"):
            check_range(f"motion.{name}", getattr(self, name), 0, 1)
        check_range("motion.view + motion.beats", self.view + self.beats, 0, 1)
        check_range("motion.pace", self.pace, 0.05, 60)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse an option outside its range.

    Raises:
        ValueError: The value is outside, or not a number.
    """
    if not low <= value <= high:
        raise ValueError(f"{name} must be from {low:g} to {high:g}, not {value}")


def smooth_noise(random: np.random.Generator, times: Array, seconds: float, count: int) -> Array:
    """Return independent stationary Gaussian processes with mean 0 and variance 1.

    Their correlation over a time d is about exp(-d^2 / (4 seconds^2)). Each is a sum of bumps at
    fixed moments, so later times do not change the values at earlier ones.

    Args:
        random: Random numbers for the heights of the bumps.
        times: (T,) seconds from the start, none negative.
        seconds: Width of a bump.
        count: Number of processes.

    Returns:
        (T, count).
    """
    spacing = seconds / 2
    reach = 8  # bumps: four widths
    first = np.floor(times / spacing).astype(int)
    heights = random.standard_normal((int(first.max(initial=0)) + 2 * reach + 1, count))
    near = first[:, None] + np.arange(2 * reach + 1)
    bumps = np.exp(-(((near - reach) * spacing - times[:, None]) ** 2) / (2 * seconds**2))
    bumps /= np.sqrt((bumps**2).sum(1, keepdims=True))
    return np.einsum("tk,tkc->tc", bumps, heights[near])


def head_motion(random: np.random.Generator, times: Array, config: MotionConfig) -> Array:
    """Return the rotation of one head in a video.

    Args:
        random: The video's random numbers.
        times: (T,) seconds from the start.
        config: How heads move.

    Returns:
        (T, 3) yaw, pitch and roll in degrees. Each is Gaussian, up to three standard deviations,
        with the variance of the options.
    """
    view, slow, beat = random.spawn(3)
    posture = smooth_noise(slow, times, config.pace, 3)
    rhythm = smooth_noise(beat, times, config.pace, 6)
    phase = 2 * np.pi * times[:, None] * _BEAT_HERTZ
    beats = rhythm[:, :3] * np.cos(phase) + rhythm[:, 3:] * np.sin(phase)
    attitude = (
        np.sqrt(config.view) * view.standard_normal(3)
        + np.sqrt(1 - config.view - config.beats) * posture
        + np.sqrt(config.beats) * beats
    )
    spread = np.array([config.yaw, config.pitch, config.roll])
    return np.asarray(spread * np.clip(attitude, -_MOST, _MOST))


def room_motion(random: np.random.Generator, times: Array, config: MotionConfig) -> Array:
    """Return the head's place in the room in a video: (T, 2), as shares of the crop's side."""
    return config.sway * smooth_noise(random, times, 2 * config.pace, 2)


def gaze(random: np.random.Generator, times: Array, attitude: Array, config: MotionConfig) -> Array:
    """Return the direction of the eyes. They jump between places; half of the time to the camera.

    Args:
        random: The video's random numbers.
        times: (T,) seconds from the start.
        attitude: (T, 3) from `head_motion`. Eyes that look at the camera turn against the head.
        config: How eyes move.

    Returns:
        (T, 2) radians relative to the head, to the right of the picture and down.
    """
    ends = np.cumsum(0.15 + random.exponential(_FIXATION_SECONDS, int(8 * times.max()) + 8))
    places = random.standard_normal((len(ends), 2)) * [1, 0.5] * config.gaze
    at_camera = random.random(len(ends)) < 0.5
    now = np.minimum(np.searchsorted(ends, times), len(ends) - 1)
    counter = -np.clip(attitude[:, :2], -_MOST_GAZE, _MOST_GAZE) * (config.gaze > 0)
    degrees = np.where(at_camera[now, None], counter, places[now])
    return np.asarray(np.radians(np.clip(degrees, -_MOST_GAZE, _MOST_GAZE)))
