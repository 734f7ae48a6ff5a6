from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcae.data.au_sets.numbering import Numbers, frame_offsets


def numbers(labels, pictures):
    """From the first and the last label, and the pictures (None: a video file)."""
    first, last = labels
    there = None if pictures is None else np.array(list(pictures))
    return Numbers(np.arange(first, last + 1), there)


@pytest.mark.parametrize(
    ("labels", "pictures", "offset"),
    [
        ((1, 10), None, -1),  # a video file counts from 0
        ((0, 9), None, 0),
        ((1, 10), range(10), -1),  # pictures from 0, as cv2 users write them
        ((1, 10), range(1, 11), 0),  # pictures from 1, as ffmpeg writes them
        ((0, 9), range(10), 0),
        ((0, 9), range(1, 11), 1),
        ((1, 10), [0, 4, 7], -1),  # faces were not found in the others
        ((1, 10), [3, 10], 0),
        ((1, 10), range(1, 12), 0),  # a picture more at the end
        ((1, 10), range(9), -1),  # and one less
    ],
)
def test_the_offset_that_numbers_show(labels, pictures, offset):
    assert frame_offsets({"SN001": numbers(labels, pictures)}, None) == {"SN001": offset}
    assert frame_offsets({"SN001": numbers(labels, pictures)}, offset) == {"SN001": offset}
    other = -1 if offset == 0 and labels[0] == 1 else 1 - labels[0] if offset < 0 else 0
    if other != offset:
        with pytest.raises(ValueError, match=rf"their offset is {offset}, not {other}"):
            frame_offsets({"SN001": numbers(labels, pictures)}, other)


videos_of_one_program = st.lists(
    st.tuples(st.integers(3, 12), st.integers(0, 1)).flatmap(
        lambda video: st.tuples(st.just(video), st.sets(st.integers(0, video[0] - 1), min_size=1))
    ),
    min_size=1,
    max_size=4,
)


@given(st.integers(0, 1), videos_of_one_program)
def test_whatever_frames_are_missing_no_label_moves(base, videos):
    """`base` is the program's first picture; each video has a length, a first label, its frames."""
    truth, seen = {}, {}
    for k, ((length, first), frames) in enumerate(videos):
        truth[f"SN{k:03d}"] = base - first
        there = [frame + base for frame in sorted(frames)]
        seen[f"SN{k:03d}"] = numbers((first, first + length - 1), there)
    shown = [0 in frames if base == 0 else length - 1 in frames for (length, _), frames in videos]
    if any(shown):
        assert frame_offsets(seen, None) == truth
    else:
        with pytest.raises(ValueError, match="no sign whether"):
            frame_offsets(seen, None)


def test_each_video_for_itself():
    videos = {
        "SN001": numbers((1, 10), range(10)),
        "SN002": numbers((1, 10), range(1, 11)),
        "SN003": numbers((1, 10), None),
    }
    assert frame_offsets(videos, None) == {"SN001": -1, "SN002": 0, "SN003": -1}


def test_a_video_that_does_not_tell_is_like_the_others(caplog):
    videos = {
        "SN001": numbers((1, 10), range(10)),
        "SN002": numbers((1, 10), range(3, 8)),
        "SN003": numbers((0, 9), range(3, 8)),
        "SN004": numbers((1, 10), None),
    }
    expected = {"SN001": -1, "SN002": -1, "SN003": 0, "SN004": -1}
    assert frame_offsets(videos, None) == expected
    (line,) = [record.getMessage() for record in caplog.records]
    assert "2 videos, as SN002" in line and "count from 0, as those of the others" in line


def test_nobody_tells():
    videos = {"SN001": numbers((1, 10), None), "SN002": numbers((1, 10), range(3, 8))}
    message = (
        "SN002: labels 1 to 10, 5 pictures 3 to 7: no sign whether .* those of the other videos "
        "do not tell; --frame-offset"
    )
    with pytest.raises(ValueError, match=message):
        frame_offsets(videos, None)
    assert frame_offsets({"SN002": videos["SN002"]}, 0) == {"SN002": 0}
    assert frame_offsets({"SN002": videos["SN002"]}, -1) == {"SN002": -1}


def test_the_others_disagree():
    videos = {
        "SN001": numbers((1, 10), range(10)),
        "SN002": numbers((1, 10), range(1, 11)),
        "SN003": numbers((1, 10), range(3, 8)),
    }
    with pytest.raises(ValueError, match=r"SN003: .*other videos contradict each other"):
        frame_offsets(videos, None)


def test_a_contradiction_says_what_was_found():
    videos = {"SN001": numbers((1, 10), range(11))}
    message = (
        "SN001: labels 1 to 10, 11 pictures 0 to 10: counted from 0 the last picture has no "
        "label, counted from 1 the first has none; --frame-offset"
    )
    with pytest.raises(ValueError, match=message):
        frame_offsets(videos, None)
    assert frame_offsets(videos, -1) == {"SN001": -1}
    assert frame_offsets(videos, 0) == {"SN001": 0}


def test_labels_that_begin_later():
    videos = {"001A": numbers((301, 400), range(2000)), "001B": numbers((301, 400), None)}
    with pytest.raises(ValueError, match=r"001A: labels 301 to 400.* begin neither with 0 nor"):
        frame_offsets(videos, None)
    assert frame_offsets(videos, -1) == {"001A": -1, "001B": -1}
    same = {"001A": numbers((301, 400), range(301, 401))}
    assert frame_offsets(same, None) == {"001A": 0}


def test_a_given_offset_beyond_the_trap_moves_the_labels():
    videos = {"001A": numbers((1, 100), range(2000)), "001B": numbers((1, 100), None)}
    assert frame_offsets(videos, 299) == {"001A": 299, "001B": 299}
