from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tcae.data.crops import LANDMARK_COLUMNS, Crop, CroppedFrame
from tcae.data.faces import Face
from tcae.data.video import VideoError
from tcae.evaluation.extraction import SUCCESS, Extractor
from tcae.evaluation.linear_probe import LinearProbe

HEAD = ["video", "frame", "timestamp", "face_id", "confidence", "success"]
BOX = ["face_x", "face_y", "face_w", "face_h"]
VALUES = len(HEAD) + len(BOX)


def crop(track: str, frame: int, colour: tuple[int, int, int]) -> Crop:
    rgb = np.broadcast_to(np.array(colour, np.uint8), (32, 32, 3)).copy()
    face = Face(np.zeros(4), np.zeros((5, 2)), 0.5 + frame / 100)
    return Crop(track, frame, frame / 4, face, rgb)


def film(tracks: list[list[str]]) -> Iterator[CroppedFrame]:
    """Frame k shows the given tracks; the colour tells frame and track."""
    for k, names in enumerate(tracks):
        yield CroppedFrame(
            k, k / 4, [crop(name, k, (k % 256, 10 * int(name), 0)) for name in names]
        )


TRACKS = [["5"], [], ["5", "2"], ["2", "5"], [], ["7"]]


def all_rows(extractor: Extractor, frames: Iterator[CroppedFrame]) -> list[list]:
    batches = list(extractor.rows("v.mp4", frames))
    assert all(len(batch) <= extractor.batch_size for batch in batches)
    return [list(row) for batch in batches for row in batch]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_row_for_each_frame_and_face(encoder, batch_size):
    extractor = Extractor(encoder, batch_size=batch_size)
    names = [column.name for column in extractor.columns]
    assert names == [*HEAD, *BOX, *(f"{e}_00{i}" for e in ("au", "pose") for i in range(3))]
    rows = all_rows(extractor, film(TRACKS))
    # face_id counts tracks in the order in which they appear: "5" is 0, "2" is 1, "7" is 2.
    assert [row[:6] for row in rows] == [
        ["v.mp4", 0, 0.0, 0, 0.5, 1],
        ["v.mp4", 1, 0.25, None, 0.0, 0],
        ["v.mp4", 2, 0.5, 0, 0.52, 1],
        ["v.mp4", 2, 0.5, 1, 0.52, 1],
        ["v.mp4", 3, 0.75, 0, 0.53, 1],
        ["v.mp4", 3, 0.75, 1, 0.53, 1],
        ["v.mp4", 4, 1.0, None, 0.0, 0],
        ["v.mp4", 5, 1.25, 2, 0.55, 1],
    ]
    for row in rows:
        track = {0: 5, 1: 2, 2: 7}.get(row[3])
        expected = [row[1] / 255, (track or 0) * 10 / 255, 0] * 2 if track else [None] * 6
        assert row[VALUES:] == pytest.approx(expected, abs=1e-6)


def probe_of(encoder, embedding: str = "au") -> LinearProbe:
    probe = LinearProbe(3, ("AU12", "AU45"), embedding, encoder.fingerprint)
    probe.load_state_dict(
        {**probe.state_dict(), "linear.weight": torch.tensor([[100.0, 0, 0], [0, -100, 0]])}
    )
    return probe.eval()


@pytest.mark.parametrize("embedding", ["au", "pose"])
def test_probe_columns(encoder, embedding):
    extractor = Extractor(encoder, probe_of(encoder, embedding), ())
    names = [column.name for column in extractor.columns]
    assert names == [*HEAD, *BOX, "AU12_c", "AU45_c", "AU12_score", "AU45_score"]
    rows = all_rows(extractor, film([["0"], ["3"], []]))
    sigmoid = 1 / (1 + np.exp(-np.array([0, 100 / 255])))
    assert rows[0][VALUES:] == pytest.approx([1, 1, 0.5, 0.5])
    assert rows[1][VALUES : VALUES + 2] == [1, 0] and isinstance(rows[1][10], int)
    assert rows[1][12] == pytest.approx(sigmoid[1], abs=1e-5) and rows[1][13] < 1e-4
    assert rows[2][6:] == [None] * 8


@pytest.mark.parametrize("share", [0.5, 0.81, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("size", [32, 64, 256])
def test_sees_the_middle_without_scaling_it(encoder, share, size):
    encoder.crop, encoder.image_size = share, size
    extractor = Extractor(encoder, None, ("pose",))
    side = extractor.picture_size
    rgb = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    face = Crop("0", 0, 0.0, Face(np.zeros(4), np.zeros((5, 2)), 1.0), rgb)
    (row,) = all_rows(extractor, iter([CroppedFrame(0, 0.0, [face])]))
    corner = rgb[(side - size) // 2, (side - size) // 2]
    assert row[VALUES:] == pytest.approx(corner / 255, abs=1e-6)


def test_neither_embeddings_nor_probe(encoder):
    rows = all_rows(Extractor(encoder, None, ()), film(TRACKS))
    assert {len(row) for row in rows} == {10} and sum(row[SUCCESS] for row in rows) == 6


def test_a_probe_of_another_encoder_is_refused(encoder):
    probe = probe_of(encoder)
    encoder.fingerprint = "retrained"
    with pytest.raises(ValueError, match="trained on the encoder colour, not on this one, retr"):
        Extractor(encoder, probe)


def still(name: str, *places: tuple[float, float, float, float]) -> CroppedFrame:
    """A picture with faces in these boxes: left, top, right, bottom."""
    crops = [
        crop(str(k), 4, (9, 9, 9))._replace(face=Face(np.array(box, float), np.eye(5, 2), 0.5))
        for k, box in enumerate(places)
    ]
    return CroppedFrame(4, float("nan"), crops, Path("in") / name)


def test_stills_have_their_files_and_count_their_own_faces(encoder):
    extractor = Extractor(encoder, None, (), files=True)
    assert [column.name for column in extractor.columns] == [*HEAD, "file", *BOX]
    frames = [
        still("a.jpg", (1, 2, 11, 32), (5, 5, 9, 9)),
        still("b.jpg"),
        still("c.jpg", (0,) * 4),
    ]
    rows = all_rows(extractor, iter(frames))
    assert rows == [
        [None, 4, None, 0, 0.5, 1, "in/a.jpg", 1, 2, 10, 30],
        [None, 4, None, 1, 0.5, 1, "in/a.jpg", 5, 5, 4, 4],
        [None, 4, None, None, 0.0, 0, "in/b.jpg", *[None] * 4],
        [None, 4, None, 0, 0.5, 1, "in/c.jpg", 0, 0, 0, 0],
    ]
    (row,) = all_rows(extractor, film([["0"]]))  # a video in a table with pictures
    assert (row[0], row[6]) == ("v.mp4", "v.mp4")


def test_points_are_columns_if_asked_for(encoder):
    extractor = Extractor(encoder, None, (), points=True)
    names = [column.name for column in extractor.columns]
    assert names[10:] == [*LANDMARK_COLUMNS[2:]]
    rows = all_rows(extractor, iter([still("a.jpg", (1, 2, 11, 32)), still("b.jpg")]))
    assert rows[0][10:] == np.eye(5, 2).ravel().tolist() and rows[1][10:] == [None] * 10


def test_advance_counts_frames_whose_rows_the_caller_has(encoder):
    """Nothing of a frame after them was taken: work can go on from there."""
    seen, taken, done = [], 0, []

    def frames() -> Iterator[CroppedFrame]:
        nonlocal taken
        for frame in film([["0"], ["0", "1"], [], ["1"], ["0", "1", "2"], []]):
            taken += 1
            yield frame

    def advance(count: int) -> None:
        done.append(count)
        assert sum(done) == taken == len({row[1] for row in seen})

    for rows in Extractor(encoder, batch_size=3).rows("v.mp4", frames(), advance):
        seen += rows
    assert sum(done) == 6 and len(done) > 2


def test_unknown_times_are_empty(encoder):
    frames = iter([CroppedFrame(3, float("nan"), [])])
    assert all_rows(Extractor(encoder), frames)[0][1:4] == [3, None, None]


def test_rows_before_the_damage_come_first(encoder):
    def damaged() -> Iterator[CroppedFrame]:
        yield from film(TRACKS[:3])
        raise VideoError("v.mp4: truncated")

    rows = []
    with pytest.raises(VideoError, match="truncated"):
        for batch in Extractor(encoder).rows("v.mp4", damaged()):
            rows += batch
    assert [row[1] for row in rows] == [0, 1, 2, 2]


def test_a_long_video_is_never_held(encoder):
    """Counts the pictures that are alive while a video of 500 frames goes through."""
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def long_film() -> Iterator[CroppedFrame]:
        nonlocal alive, most
        for frame in film([["0"], ["0", "1"]] * 250):
            for face in frame.crops:
                weakref.finalize(face.rgb, gone)
                alive += 1
            most = max(most, alive)
            yield frame

    extractor = Extractor(encoder, batch_size=16)
    count = sum(len(batch) for batch in extractor.rows("v.mp4", long_film()))
    gc.collect()
    assert count == 750 and 16 <= most <= 3 * 16 and alive <= 2
