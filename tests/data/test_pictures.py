"""Pictures that cannot be decoded are told from those that can."""

import cv2
import numpy as np

from tcae.data.pictures import decode_image

JPEG = cv2.imencode(".jpg", np.full((8, 8, 3), 200, np.uint8))[1].tobytes()


def test_a_picture_is_rgb() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    decoded = decode_image(cv2.imencode(".png", red)[1].tobytes())
    assert decoded is not None
    np.testing.assert_array_equal(decoded, red[..., ::-1])


def test_what_cannot_be_decoded_is_none() -> None:
    assert decode_image(JPEG) is not None
    start = JPEG.index(b"\xff\xc0") + 5
    enormous = JPEG[:start] + b"\xff\xff\xff\xff" + JPEG[start + 4 :]  # more than OpenCV allows
    for blob in (b"", b"no picture", JPEG[:20], enormous):
        assert decode_image(blob) is None
