"""Pictures that cannot be decoded are told from those that can."""

from pathlib import Path

import cv2
import numpy as np
import pytest

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


@pytest.mark.parametrize("ending", ["webp", "png", "avif"])
def test_an_animation_is_no_picture(tmp_path: Path, ending: str) -> None:
    pictures = [np.full((16, 24, 3), 40 * i, np.uint8) for i in range(3)]
    animation = cv2.Animation()
    animation.frames, animation.durations = pictures, [100] * 3
    moving = tmp_path / f"a.{ending}"
    try:
        assert cv2.imwriteanimation(str(moving), animation)
        still = cv2.imencode(f".{ending}", pictures[1])[1].tobytes()
    except cv2.error:
        pytest.skip(f"this OpenCV cannot write {ending}")
    assert cv2.imdecode(np.fromfile(moving, np.uint8), cv2.IMREAD_COLOR) is not None
    content = moving.read_bytes()
    assert decode_image(content) is None
    assert all(decode_image(content[:length]) is None for length in range(60))
    decoded = decode_image(still)
    assert decoded is not None and decoded.shape == (16, 24, 3)
