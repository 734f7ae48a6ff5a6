"""Face alignment: one similarity transform from five points to one published template.

The same template is stored with the packed frames and with the trained encoder, so that
pretraining, probing and inference all get faces that are cut out in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

POINT_NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")

# The five points of the widely used 112x112 face recognition crop (x, y in pixels; left and right
# are those of the picture).
_POINTS_112 = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
# That crop ends above the chin. Ours is the square of 132 of its pixels around (56, 83): raised
# brows and the chin of an open jaw stay inside, also after any crop of 85 %.
_SIDE, _CENTRE = 132.0, np.array([56.0, 83.0])
_SAMPLES = 16  # places along a side at which it is asked whether they are in the picture


@dataclass(frozen=True)
class AlignmentTemplate:
    """The places of the five points of a face in the aligned picture.

    Attributes:
        points: Five (x, y) pairs in [0, 1] of the crop's width and height (0 and 1 are the outer
            edges of the first and last pixel), ordered as `POINT_NAMES`.
        name: What to call this template in files.
    """

    points: tuple[tuple[float, float], ...]
    name: str = "custom"

    def __post_init__(self) -> None:
        array = np.asarray(self.points, dtype=np.float64)
        if array.shape != (5, 2) or not np.isfinite(array).all():
            raise ValueError(f"template points must be five finite (x, y) pairs, not {self.points}")

    def pixels(self, size: int) -> NDArray[np.float64]:
        """Return the points (5, 2) in pixels of a `size` crop; the first pixel's centre is 0."""
        return np.asarray(self.points, dtype=np.float64) * size - 0.5

    def to_dict(self) -> dict[str, Any]:
        """Return the template as plain JSON values, which `from_dict` reads."""
        return {"name": self.name, "points": [list(point) for point in self.points]}

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> AlignmentTemplate:
        """Return the template that `to_dict` gave these values.

        Raises:
            ValueError: The fields are not those of a template.
        """
        try:
            points = tuple((float(x), float(y)) for x, y in fields["points"])
            return AlignmentTemplate(points, str(fields["name"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an alignment template: {fields!r}") from error


DEFAULT_TEMPLATE = AlignmentTemplate(
    tuple(
        (round(float(x), 6), round(float(y), 6))
        for x, y in (_POINTS_112 + 0.5 - (_CENTRE - _SIDE / 2)) / _SIDE
    ),
    name="arcface-112-in-132",
)


def similarity(source: NDArray[Any], target: NDArray[Any]) -> NDArray[np.float64]:
    """Return the least-squares similarity transform between two point sets (Umeyama, 1991).

    Args:
        source: (n, 2) points.
        target: (n, 2) points, where the source points should come to lie.

    Returns:
        (2, 3) matrix of rotation, uniform scale and shift, without reflection.

    Raises:
        ValueError: Points are not finite, or all source points coincide.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if source.shape != target.shape or not np.isfinite([source, target]).all():
        raise ValueError(f"need two equal sets of finite points, got {source} and {target}")
    # In the plane the optimum has a closed form: with points as complex numbers, the transform is
    # z -> a z + b, and a is one linear regression coefficient.
    z, w = source @ [1, 1j], target @ [1, 1j]
    centred = z - z.mean()
    spread = float((np.abs(centred) ** 2).sum())
    if spread < 1e-12:
        raise ValueError("the points of the face all lie on one spot")
    a = (np.conj(centred) * (w - w.mean())).sum() / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def turn_of(matrix: NDArray[np.floating[Any]]) -> float:
    """Return by how many degrees a similarity transform (2, 3) turns a picture, clockwise."""
    return float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))


def half_turn(degrees: Any) -> Any:
    """Return the same turns, a number or an array of them, as angles from -180 to 180 degrees."""
    return (degrees + 180) % 360 - 180


def align(
    rgb: NDArray[np.uint8], points: NDArray[Any], template: AlignmentTemplate, size: int
) -> NDArray[np.uint8]:
    """Cut a face out so that its five points lie on the template.

    Args:
        rgb: (H, W, 3) picture.
        points: (5, 2) pixel coordinates x, y in it (first pixel's centre is 0), as `POINT_NAMES`.
        template: Where the points should lie.
        size: Side of the result in pixels.

    Returns:
        (size, size, 3) picture. Parts outside the source repeat its border. Shrinking is
        anti-aliased.

    Raises:
        ValueError: As for `similarity`.
    """
    matrix = similarity(points, template.pixels(size))
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    patch, matrix = _cut(rgb, matrix, size)
    if scale < 1:
        # warpAffine takes four neighbours only: without a blur, what is finer than the new pixel
        # grid would flicker. This sigma leaves ~ half of the amplitude at the new Nyquist limit.
        sigma = 0.4 * np.sqrt(1 / scale**2 - 1)
        if sigma > 0.1:
            patch = _blurred(patch, sigma)
    return cv2.warpAffine(  # type: ignore[return-value]
        patch, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def share_outside(
    points: NDArray[Any], template: AlignmentTemplate, height: int, width: int
) -> float:
    """Return which share of an aligned face lies outside the picture, so that `align` invents it.

    Args:
        points: (5, 2) as for `align`.
        template: Where the points should lie.
        height: Of the picture, in pixels.
        width: Likewise.
    """
    inverse = cv2.invertAffineTransform(similarity(points, template.pixels(_SAMPLES)))
    places = np.stack(np.meshgrid(*[np.arange(_SAMPLES)] * 2), -1).reshape(-1, 2)
    x, y = (places @ inverse[:, :2].T + inverse[:, 2]).T
    inside = (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return float(1 - inside.mean())


def _blurred(rgb: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    blurred = cv2.GaussianBlur(rgb, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return blurred  # type: ignore[return-value]


def _cut(
    rgb: NDArray[np.uint8], matrix: NDArray[np.float64], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return what the crop shows of the picture, with some margin, and the matrix from there."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]) @ inverse.T
    margin = 2 + 2 / max(float(np.hypot(matrix[0, 0], matrix[1, 0])), 1e-6)
    high = np.array([rgb.shape[1], rgb.shape[0]])
    # At least one pixel is kept, so that a face wholly outside shows the border's colour.
    first = np.clip(np.floor(corners.min(0) - margin), 0, high - 1).astype(int)
    last = np.clip(np.ceil(corners.max(0) + margin), first + 1, high).astype(int)
    patch = rgb[first[1] : last[1], first[0] : last[0]]
    moved = matrix.copy()
    moved[:, 2] += matrix[:, :2] @ first
    return patch, moved
