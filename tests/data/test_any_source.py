from __future__ import annotations

import cv2
import numpy as np
import pytest

from tcae.data import camera as cameras
from tcae.data.any_source import has_camera, sources_of
from tcae.data.camera import camera
from tcae.data.sources import Picture
from tcae.data.video import VideoError

PICTURE = np.zeros((40, 60, 3), np.uint8)


def test_a_mixture(tmp_path, write_video):
    video = write_video(tmp_path / "a.mp4", 2)
    cv2.imwrite(str(tmp_path / "b.png"), PICTURE)
    given = [PICTURE, PICTURE, str(video), tmp_path / "b.png", np.stack([PICTURE] * 3), 2]
    sources = sources_of(given, fps=4)
    names = ["array 0", str(video), str(tmp_path / "b.png"), "array 1", "camera 2"]
    assert [source.label for source in sources] == names
    assert [source.is_file for source in sources] == [True, True, False, True, True]
    assert [s.estimated_frames() for s in sources] == [2, 2, 1, 3, None]
    assert [frame.timestamp for frame in sources[3].read()] == [0, 0.25, 0.5]
    assert has_camera(given) and not has_camera(given[:-1])


def test_one_picture_alone_is_a_still():
    (source,) = sources_of(PICTURE, fps=25)
    (frame,) = source.read()
    assert isinstance(frame, Picture) and np.isnan(frame.timestamp) and not source.is_file


def test_frames_without_a_rate_have_no_times():
    (source,) = sources_of(np.stack([PICTURE] * 2))
    assert [(frame.index, str(frame.timestamp)) for frame in source.read()] == [
        (0, "nan"),
        (1, "nan"),
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "an empty list"),
        (1.5, "float came"),
        (True, "bool came"),
        (None, "NoneType came"),
        (PICTURE[..., 0], r"shape \(40, 60\) came"),
        (PICTURE[..., :2], r"array 0: uint8 of shape \(40, 60, 2\) came"),
        (PICTURE.astype(np.float32), r"array 0: float32 .* in uint8 from 0 to 255"),
        (PICTURE[None][:0], "array 0: no frame"),
        ("nowhere.mp4", "nowhere.mp4: no such file"),
    ],
)
def test_what_is_no_source_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        sources_of(given)


class Capture:
    """A camera that gives so many pictures, one each tenth of a second: red by their number."""

    clock = 0.0
    pictures = 5

    def __init__(self, number: int) -> None:
        self.number, self.given, self.released = number, 0, False

    def isOpened(self) -> bool:
        return self.number == 0

    def set(self, *_: object) -> None:
        pass

    def read(self) -> tuple[bool, np.ndarray | None]:
        Capture.clock += 0.1
        self.given += 1
        if self.given > self.pictures:
            return False, None
        return True, np.full((4, 4, 3), (0, 0, self.given), np.uint8)  # blue comes first

    def release(self) -> None:
        self.released = True


@pytest.fixture
def capture(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.setattr(cameras.time, "monotonic", lambda: Capture.clock)
    monkeypatch.setattr(Capture, "pictures", 50)


def test_a_camera_for_some_seconds(capture):
    frames = list(camera(0, seconds=0.95).read())
    assert [frame.index for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.timestamp for frame in frames], 0.1 * np.arange(10))
    assert [frame.rgb[0, 0].tolist() for frame in frames] == [[k, 0, 0] for k in range(1, 11)]


def test_a_camera_at_a_lower_rate(capture):
    frames = list(camera(0, seconds=1.95).read(fps=2))
    np.testing.assert_allclose([frame.timestamp for frame in frames], [0, 0.5, 1.0, 1.5])


def test_a_camera_until_it_is_told(capture):
    answers = iter([False, False, False, True])
    assert len(list(camera(0, stopped=lambda: next(answers)).read())) == 3


def test_a_camera_that_vanishes_keeps_its_pictures(capture, monkeypatch):
    monkeypatch.setattr(Capture, "pictures", 4)
    frames, camera_frames = [], camera(0).read()
    with pytest.raises(VideoError, match=r"camera 0: gives no more pictures after 0.4 seconds"):
        frames.extend(camera_frames)
    assert len(frames) == 4


def test_no_camera(capture):
    with pytest.raises(VideoError, match="camera 7: there is none"):
        next(camera(7).read())
