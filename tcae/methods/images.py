"""Images for scikit-image, and its descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcae.models.encoder import unit_range

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def each_grey(images: Tensor) -> Iterator[NDArray[np.float32]]:
    """Yield the luminance (S, S) in [0, 1] of each image of (N, 3, S, S), uint8 or in [0, 1]."""
    return (np.tensordot(_LUMINANCE, image, 1) for image in unit_range(images).cpu().numpy())


def skimage_feature() -> Any:
    """Import the module `skimage.feature`, which is an optional dependency.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import skimage.feature
    except ImportError:
        raise ValueError(
            "hog, lbp: need scikit-image: pip install 'tcae[experiments]', or leave them out "
            "with --methods"
        ) from None
    return skimage.feature
