"""The picture that camera and face alignment take of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.align import AlignmentTemplate, similarity
from tcae.data.pictures import decode_image, resize
from tcae.data.synthetic.motion import check_range, smooth_noise

Array = NDArray[np.float64]
Picture = NDArray[np.uint8]

_JITTER_SECONDS = 0.3
_NOISE_PICTURES = 4
_BLOCK = 16  # pixels
_HALO = 1.5  # standard deviation in pixels of a 128 pixel picture
_LEAST_SMEAR = 0.3  # pixels


@dataclass(frozen=True)
class CameraConfig:
    """How faces are cut out, and how good the pictures are.

    blur to tint are the largest strengths. Each video has its own strength below them.

    Attributes:
        upright: Turn faces upright, as the alignment of real videos does. Off: heads keep their
            roll.
        jitter_shift: Standard deviation of the crop's place, as a share of the crop's side.
        jitter_scale: Standard deviation of the crop's scale, as a share.
        jitter_roll: Standard deviation of the crop's rotation, in degrees.
        blur: Standard deviation of the blur, in pixels of a 128 pixel picture.
        coarse: Share of the resolution that is lost, as in faces that are small in their video.
        noise: Standard deviation of the noise, in grey levels from 0 to 255.
        exposure: Change of brightness and contrast, as a share.
        tint: Change of each colour channel, as a share.
        compression: Lowest JPEG quality. Each video has one from here to 95. 100: no compression.
        codec: Share of the videos that a codec of low rate went over before the face was cut out:
            blocks, smeared colours, lost detail.
        sharpening: Largest strength of the halos at edges that cameras add.
        shutter: Longest exposure of a frame in seconds. It blurs along the motion of the head.
    """

    upright: bool = True
    jitter_shift: float = 0.012
    jitter_scale: float = 0.02
    jitter_roll: float = 2.5
    blur: float = 0.8
    coarse: float = 0.3
    noise: float = 3.0
    exposure: float = 0.25
    tint: float = 0.06
    compression: int = 70
    codec: float = 0.0
    sharpening: float = 0.0
    shutter: float = 0.0

    def __post_init__(self) -> None:
        for name in ("jitter_shift", "jitter_scale", "coarse", "exposure", "tint"):
            check_range(f"camera.{name}", getattr(self, name), 0, 0.9)
        check_range("camera.jitter_roll", self.jitter_roll, 0, 180)
        check_range("camera.blur", self.blur, 0, 20)
        check_range("camera.noise", self.noise, 0, 100)
        check_range("camera.compression", self.compression, 1, 100)
        check_range("camera.codec", self.codec, 0, 1)
        check_range("camera.sharpening", self.sharpening, 0, 10)
        check_range("camera.shutter", self.shutter, 0, 1)


def crop_jitter(random: np.random.Generator, times: Array, config: CameraConfig) -> Array:
    """Return the error of a detector's points: half of it is constant in a video, half trembles.

    Args:
        random: The video's random numbers.
        times: (T,) seconds from the start.
        config: Size of the error.

    Returns:
        (T, 4) shift x, y (shares of the crop's side), logarithm of scale, rotation in radians.
    """
    lasting, trembling = random.spawn(2)
    error = lasting.standard_normal(4) + smooth_noise(trembling, times, _JITTER_SECONDS, 4)
    spread = [config.jitter_shift, config.jitter_shift, config.jitter_scale,
              np.radians(config.jitter_roll)]  # fmt: skip
    return np.asarray(error / np.sqrt(2) * spread)


def crop_matrix(points: Array, jitter: Array, template: AlignmentTemplate, upright: bool) -> Array:
    """Return the similarity transform that cuts the face out.

    Args:
        points: (5, 2) points of the face, in any unit.
        jitter: (4,) from `crop_jitter`.
        template: Places of the points in the crop.
        upright: Whether to turn the face upright too.

    Returns:
        (2, 3) matrix from the points' unit to shares of the crop's side.
    """
    target = np.asarray(template.points)
    a, b = similarity(points, target)[0, :2]
    turn = (a - 1j * b) if upright else abs(a - 1j * b)
    turn *= np.exp(jitter[2] + 1j * jitter[3])
    z, w = (points @ [1, 1j]).mean(), (target @ [1, 1j]).mean()
    shift = w + jitter[0] + 1j * jitter[1] - turn * z
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


class Sensor:
    """The faults of the camera of one video.

    Args:
        random: Random numbers that choose the camera.
        size: Side of the pictures in pixels.
        config: How good cameras are.
    """

    def __init__(self, random: np.random.Generator, size: int, config: CameraConfig) -> None:
        self._sigma = config.blur * size / 128 * random.random()
        self._coarse = max(round(size * (1 - config.coarse * random.random() ** 2)), 8)
        self._noise = config.noise * random.random()
        self._quality = round(95 - random.random() * (95 - config.compression))
        self._compressed = config.compression < 100
        gain, contrast = 1 + config.exposure * random.uniform(-1, 1, 2)
        tint = 1 + config.tint * random.uniform(-1, 1, 3)
        levels = np.arange(256)[:, None] / 255
        levels = (levels ** (1 / gain) - 0.5) * contrast + 0.5
        self._levels = (np.clip(levels * tint, 0, 1) * 255).round().astype(np.uint8)[None]
        coded, small, rate, halo, exposed = random.random(5)
        self._codec = _Codec(size, small, rate) if coded < config.codec else None
        self._halo, self._exposed = config.sharpening * halo, config.shutter * exposed

    def take(
        self, scene: Picture, random: np.random.Generator, motion: Array | None = None
    ) -> Picture:
        """Return the picture that the camera takes.

        Args:
            scene: (S, S, 3) picture without faults.
            random: The frame's random numbers.
            motion: (2,) motion of the head to the right and down, in sides of the crop a second;
                None for none.

        Returns:
            (S, S, 3).
        """
        size = len(scene)
        rgb = cv2.LUT(scene, self._levels)
        if motion is not None and self._exposed > 0:
            rgb = _smeared(rgb, motion * self._exposed * size)
        if self._codec is not None:
            rgb = self._codec.over(np.asarray(rgb, np.uint8), random)
        if self._coarse < size:
            small = cv2.resize(rgb, (self._coarse, self._coarse), interpolation=cv2.INTER_AREA)
            rgb = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
        if self._sigma > 0.2:
            rgb = cv2.GaussianBlur(rgb, (0, 0), self._sigma)
        if self._halo > 0:
            soft = cv2.GaussianBlur(rgb, (0, 0), _HALO * size / 128)
            rgb = cv2.addWeighted(rgb, 1 + self._halo, soft, -self._halo, 0)
        if self._noise > 0:
            tile = _noise(size)[random.integers(_NOISE_PICTURES)]
            tile = np.roll(tile, random.integers(size, size=2), (0, 1))
            share = self._noise / _NOISE_LEVELS
            rgb = cv2.addWeighted(rgb, 1, tile, share, -128 * share)
        return self._compress(rgb) if self._compressed else rgb  # type: ignore[return-value]

    def _compress(self, rgb: NDArray[np.integer | np.floating]) -> Picture:
        return _jpeg(rgb, self._quality)


class _Codec:
    """The faults of a video codec of low rate.

    Args:
        size: Side of the pictures in pixels.
        small: How small the face was in its video, from 0 to 1.
        rate: How much was spent on it, from 0 to 1.
    """

    def __init__(self, size: int, small: float, rate: float) -> None:
        self._side = max(round(size * (1.25 - 0.65 * small)), 16)
        self._quality = round(15 + 35 * rate)

    def over(self, rgb: Picture, random: np.random.Generator) -> Picture:
        """Return the picture (S, S, 3) that is left of one. The face moves over the blocks."""
        before = resize(rgb, self._side)
        top, left = random.integers(_BLOCK, size=2).tolist()
        framed = cv2.copyMakeBorder(
            before, top, _BLOCK - top, left, _BLOCK - left, cv2.BORDER_REPLICATE
        )
        coded = _jpeg(framed, self._quality)[top : top + self._side, left : left + self._side]
        return resize(coded, len(rgb))


def _smeared(
    rgb: NDArray[np.integer | np.floating], way: Array
) -> NDArray[np.integer | np.floating]:
    """Return a picture that moved by `way` (2,) pixels while it was taken."""
    length = float(np.hypot(*way))
    if length < _LEAST_SMEAR:
        return rgb
    reach = int(np.ceil(length / 2)) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    kernel = np.zeros(x.shape)
    for share in np.linspace(-0.5, 0.5, 4 * reach + 1):
        kernel += np.clip(1 - np.abs(x - share * way[0]), 0, 1) * np.clip(
            1 - np.abs(y - share * way[1]), 0, 1
        )
    return cv2.filter2D(rgb, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def _jpeg(rgb: NDArray[np.integer | np.floating], quality: int) -> Picture:
    """Return what JPEG makes of a picture."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    decoded = decode_image(cv2.imencode(".jpg", rgb[..., ::-1], options)[1].tobytes())
    assert decoded is not None
    return decoded


_NOISE_LEVELS = 32.0


@cache
def _noise(size: int) -> Picture:
    """Return Gaussian noise around 128, (_NOISE_PICTURES, size, size, 3)."""
    random = np.random.default_rng(0)
    values = 128 + _NOISE_LEVELS * random.standard_normal((_NOISE_PICTURES, size, size, 3))
    return np.clip(values.round(), 0, 255).astype(np.uint8)
