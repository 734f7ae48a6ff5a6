from __future__ import annotations

import os

import cv2
import numpy as np
import pytest

from tcae.data.sources import find_sources, gather_stills, join_sources
from tcae.data.video import VideoError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(root):
    return [(s.identity, s.video, s.clip, s.track("1") if s.is_file else s.track())
            for s in find_sources(root)]  # fmt: skip


def test_one_file(tmp_path):
    touch(tmp_path, "talk.mp4")
    assert found(tmp_path / "talk.mp4") == [("talk", "talk", "", "1")]


def test_flat_folder_of_videos(tmp_path):
    touch(tmp_path, "b.mov", "a.MP4", "notes.txt", ".hidden.mp4", "._a.mp4")
    assert found(tmp_path) == [("a", "a", "", "1"), ("b", "b", "", "1")]


def test_folder_levels_name_identity_and_video(tmp_path):
    touch(tmp_path, "ann/news.mp4", "ann/film/1.mp4", "ann/film/2.mp4", "bob.avi")
    assert found(tmp_path) == [
        ("ann", "ann/film", "1", "1-1"),
        ("ann", "ann/film", "2", "2-1"),
        ("ann", "ann/news", "", "1"),
        ("bob", "bob", "", "1"),
    ]


@pytest.mark.parametrize("top", ["", "mp4/", "dev/mp4/"])
def test_voxceleb2(tmp_path, top):
    touch(tmp_path, f"{top}id00012/21Uxsk56VDQ/00001.mp4", f"{top}id00012/21Uxsk56VDQ/00002.mp4")
    assert found(tmp_path) == [
        ("id00012", "id00012/21Uxsk56VDQ", "00001", "00001-1"),
        ("id00012", "id00012/21Uxsk56VDQ", "00002", "00002-1"),
    ]


@pytest.mark.parametrize("top", ["", "unzippedFaces/"])
def test_voxceleb1_faces(tmp_path, top):
    touch(tmp_path, f"{top}A.J._Buckley/1.6/1zcIwhmdeo4/0000375.jpg")
    assert found(tmp_path) == [("A.J._Buckley", "A.J._Buckley/1zcIwhmdeo4", "", "0")]


@pytest.mark.parametrize("top", ["", "data/", "unzippedIntervalFaces/data/"])
def test_voxceleb1_interval_faces(tmp_path, top):
    touch(
        tmp_path,
        f"{top}Zoe/1.6/yt/3/01.jpg",
        f"{top}Zoe/1.6/yt/3/02.jpg",
        f"{top}Zoe/1.6/yt/4/1.jpg",
    )
    assert found(tmp_path) == [("Zoe", "Zoe/yt", "3", "3"), ("Zoe", "Zoe/yt", "4", "4")]


def test_prepared_tree(tmp_path):
    touch(tmp_path, "data/id09238/VqEJCd7pbgQ/0_folder/img_0_001.jpg", "data/id09238/other/a.png")
    assert found(tmp_path) == [
        ("id09238", "id09238/VqEJCd7pbgQ", "0_folder", "0_folder"),
        ("id09238", "id09238/other", "", "0"),
    ]


def test_bp4d_frames_and_a_folder_of_pictures_itself(tmp_path):
    touch(tmp_path / "bp4d", "F001/T1/0001.jpg", "F001/T2/001.jpg")
    assert found(tmp_path / "bp4d") == [
        ("F001", "F001/T1", "", "0"),
        ("F001", "F001/T2", "", "0"),
    ]
    assert found(tmp_path / "bp4d" / "F001" / "T1") == [("T1", "T1", "", "0")]


def test_order_does_not_depend_on_the_file_system(tmp_path):
    names = [f"id{i}/v/{k}.mp4" for i in range(5) for k in range(5)]
    touch(tmp_path / "a", *names)
    touch(tmp_path / "b", *reversed(names))
    assert found(tmp_path / "a") == found(tmp_path / "b")


def test_equal_names_keep_their_ending(tmp_path):
    touch(tmp_path, "talk.mp4", "talk.mov", "ann/x/1.mp4", "ann/x/1.avi", "other.mp4")
    assert found(tmp_path) == [
        ("ann", "ann/x", "1.avi", "1.avi-1"),
        ("ann", "ann/x", "1.mp4", "1.mp4-1"),
        ("other", "other", "", "1"),
        ("talk.mov", "talk.mov", "", "1"),
        ("talk.mp4", "talk.mp4", "", "1"),
    ]


def test_a_clash_of_names_is_refused(tmp_path):
    touch(tmp_path, "dev/id1/v/1.jpg", "test/id1/v/1.jpg")
    with pytest.raises(ValueError, match="would both be named id1/v"):
        find_sources(tmp_path)


def test_links_are_followed_once(tmp_path):
    touch(tmp_path / "store", "v.mp4")
    (tmp_path / "in").mkdir()
    os.symlink(tmp_path / "store", tmp_path / "in" / "ann")
    os.symlink(tmp_path / "in", tmp_path / "in" / "loop")
    assert found(tmp_path / "in") == [("ann", "ann/v", "", "1")]


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match="no such file or folder"):
        find_sources(tmp_path / "none")
    with pytest.raises(ValueError, match="no video and no folder of pictures"):
        find_sources(tmp_path)


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), value, np.uint8))


def test_one_picture(tmp_path):
    picture(tmp_path / "ann_7.png", 50)
    (source,) = find_sources(tmp_path / "ann_7.png")
    assert (source.identity, source.video, source.clip) == ("ann_7", "ann_7", "")
    assert source.size() == (tmp_path / "ann_7.png").stat().st_size
    (frame,) = source.read(fps=None)
    assert (frame.index, frame.file, frame.rgb[0, 0, 0]) == (7, tmp_path / "ann_7.png", 50)
    touch(tmp_path, "bob.jpg")
    with pytest.raises(VideoError, match=r"bob\.jpg: cannot be read as a picture"):
        next(find_sources(tmp_path / "bob.jpg")[0].read(fps=None))


def test_pictures_that_are_named_one_after_the_other_are_gathered(tmp_path):
    for name in ("a.png", "b.png", "c.png", "v/1.png"):
        picture(tmp_path / name, 50)
    touch(tmp_path, "talk.mp4")
    names = ["a.png", "b.png", "talk.mp4", "c.png", "v"]
    sources = gather_stills(s for name in names for s in find_sources(tmp_path / name))
    assert [[file.name for file in source.stills] for source in sources] == [
        ["a.png", "b.png"], [], ["c.png"], [],
    ]  # fmt: skip
    assert [source.label for source in sources] == [
        f"{tmp_path}/a.png and 1 more",
        *(f"{tmp_path}/{name}" for name in ("talk.mp4", "c.png", "v")),
    ]
    assert [f.file.name for s in sources if not s.is_file for f in s.read(None)] == [
        "a.png", "b.png", "c.png", "1.png",
    ]  # fmt: skip


def test_several_paths_are_one_data_set(tmp_path):
    touch(tmp_path, "a/ann/1.mp4", "b/bob/1.mp4", "c.mp4", "d/ann/1.mp4")
    paths = [tmp_path / name for name in ("a", "c.mp4", "b", "c.mp4", "a")]
    found = join_sources(map(find_sources, paths))
    assert [source.name for source in found] == ["ann/1", "c", "bob/1"]
    with pytest.raises(ValueError, match="would both be named ann/1"):
        join_sources(map(find_sources, [tmp_path / "a", tmp_path / "d"]))


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["img_0_002.png", "img_0_010.png", "img_0_003.png"], [2, 3, 10]),
        (["9.png", "10.png", "0011.png"], [9, 10, 11]),
        (["b.png", "a.png", "c.png"], [0, 1, 2]),
        (["a_1.png", "b_1.png"], [0, 1]),
    ],
)
def test_pictures_are_numbered(tmp_path, names, numbers):
    for name in names:
        picture(tmp_path / "id" / "v" / name, 50)
    (source,) = find_sources(tmp_path)
    assert source.size() == len(names)
    frames = list(source.read(fps=1))
    assert [frame.index for frame in frames] == numbers
    assert np.isnan([frame.timestamp for frame in frames]).all()


def test_pictures_that_cannot_be_read_are_told_after_the_rest(tmp_path):
    picture(tmp_path / "v" / "1.png", 10)
    touch(tmp_path, "v/2.png")
    picture(tmp_path / "v" / "3.png", 30)
    (source,) = find_sources(tmp_path)
    frames = []
    with pytest.raises(
        VideoError, match=r"v: 1 of 3 pictures are left out, as 2.png, which cannot be read as"
    ):
        for frame in source.read(fps=None):
            frames.append((frame.index, int(frame.rgb[0, 0, 0])))
    assert frames == [(1, 10), (3, 30)]


def test_what_is_no_regular_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "talk.mp4")
    with pytest.raises(ValueError, match=r"talk\.mp4: a FIFO, not a regular file or a folder"):
        find_sources(tmp_path / "talk.mp4")
    picture(tmp_path / "v" / "1.png", 10)
    os.mkfifo(tmp_path / "v" / "2.png")
    video, pictures = find_sources(tmp_path)
    with pytest.raises(VideoError, match="a FIFO, not a regular file"):
        next(video.read(fps=None))
    frames = pictures.read(fps=None)
    assert next(frames).index == 1
    with pytest.raises(
        VideoError, match=r"1 of 2 pictures are left out, as 2\.png, which is a FIFO"
    ):
        next(frames)
