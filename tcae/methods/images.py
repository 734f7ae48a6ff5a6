"""Images as the descriptors of scikit-image want them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tcae.models.encoder import unit_range

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def each_grey(images: Tensor) -> Iterator[NDArray[np.float32]]:
    """Luminance (S, S) in [0, 1] of each of the images (N, 3, S, S), uint8 or in [0, 1]."""
    return (np.tensordot(_LUMINANCE, image, 1) for image in unit_range(images).cpu().numpy())


def skimage_feature() -> Any:
    """The module `skimage.feature`, which is an extra.

    Raises:
        ValueError: it is not installed.
    """
    try:
        import skimage.feature
    except ImportError:
        raise ValueError(
            "hog, lbp: need scikit-image: pip install 'tcae[experiments]', or leave them out "
            "with --methods"
        ) from None
    return skimage.feature
