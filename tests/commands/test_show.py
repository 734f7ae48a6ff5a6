from __future__ import annotations

import csv
import os
import struct
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tcae import show
from tcae.data.video import read_frames
from tcae.report import overlay_video
from tcae.report.overlay import FACE_COLOURS

HEAD = ["file", "frame", "timestamp", "face_id", "confidence", "success",
        "face_x", "face_y", "face_w", "face_h", "AU12_c", "AU12_p", "AU45_c", "AU45_p"]  # fmt: skip


def write_table(path: Path, rows: list[list[object]]) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])
    return path


def row(file: object, frame: int, fps: float, face: int = 0) -> list[object]:
    on = int(frame % 4 < 2)
    seen = [face, 0.9, 1, 20, 10, 30, 30, on, 0.75 if on else 0.125, 0, 0.25]
    return [file, frame, f"{frame / fps:.4f}", *seen]


@pytest.fixture
def talk(tmp_path, write_video, monkeypatch) -> Path:
    """A video of 12 frames with its table beside it, in the working directory."""
    monkeypatch.setattr("tcae.cli.displays.LINE_SECONDS", float("inf"))
    monkeypatch.chdir(tmp_path)
    video = write_video(tmp_path / "talk.mp4", 12, fps=4, size=(320, 240))
    write_table(tmp_path / "talk.csv", [row("talk.mp4", k, 4) for k in range(12)])
    return video


def main(*words: object) -> int:
    return show.main(list(map(str, words)))


def test_a_video_gets_a_film_and_a_page(talk, capsys) -> None:
    assert main("talk.mp4") == 0
    assert capsys.readouterr().out.split() == ["talk-faces.mp4", "talk.html"]
    source, film = (list(read_frames(talk.with_name(n))) for n in ("talk.mp4", "talk-faces.mp4"))
    assert [frame.timestamp for frame in film] == [frame.timestamp for frame in source]
    for ours, theirs in zip(film, source, strict=True):
        assert ours.rgb.shape[0] == 480 and ours.rgb.shape[1] > 640
        shown = cv2.resize(ours.rgb[:, :640], (320, 240), interpolation=cv2.INTER_AREA)
        below = slice(100, None)  # the face
        assert np.abs(shown[below].astype(int) - theirs.rgb[below]).mean() < 12
    with av.open(str(talk.with_name("talk-faces.mp4"))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    page = talk.with_suffix(".html").read_text()
    assert "lip corner puller" in page and "One face in 3 s" in page
    assert sorted(p.name for p in talk.parent.iterdir()) == [
        "talk-faces.mp4", "talk.csv", "talk.html", "talk.mp4",
    ]  # fmt: skip


def bar(rgb: np.ndarray) -> int:
    """Pixels of bright bars beside the picture."""
    near = np.abs(rgb[60:, 640:].astype(int) - FACE_COLOURS[0]).max(-1) < 40
    return int(near.sum())


def test_each_frame_shows_its_own_row(talk) -> None:
    assert main(talk) == 0
    bars = [bar(frame.rgb) for frame in read_frames(talk.with_name("talk-faces.mp4"))]
    on = np.array([k % 4 < 2 for k in range(12)])
    assert min(np.array(bars)[on]) > 300 + max(np.array(bars)[~on])


def test_frames_that_the_table_leaves_out_show_the_one_before(talk) -> None:
    write_table(talk.with_suffix(".csv"), [row("talk.mp4", k, 4) for k in range(0, 12, 2)])
    assert main(talk) == 0
    bars = [bar(frame.rgb) for frame in read_frames(talk.with_name("talk-faces.mp4"))]
    on = np.array(bars) > max(bars) / 2
    assert on.tolist() == [True, True, False, False] * 3


def test_after_the_last_row_nothing_is_shown(talk) -> None:
    write_table(talk.with_suffix(".csv"), [row("talk.mp4", k, 4) for k in range(2)])
    assert main(talk) == 0
    bars = [bar(frame.rgb) for frame in read_frames(talk.with_name("talk-faces.mp4"))]
    assert min(bars[:2]) > 300 and max(bars[3:]) < 100


def test_results_are_not_replaced_unasked(talk, capsys) -> None:
    assert main(talk) == 0
    assert main(talk) == 2
    assert (
        "talk.html: already there; give --overwrite, or another folder" in capsys.readouterr().err
    )
    assert main(talk, "--overwrite") == 0
    assert main(talk, "--out", "new/one") == 0
    assert {path.name for path in Path("new/one").iterdir()} == {"talk-faces.mp4", "talk.html"}


def test_a_table_of_another_video_is_one_line(talk, capsys) -> None:
    other = write_table(Path("other.csv"), [row("other.mp4", k, 4) for k in range(12)])
    assert main(talk, other) == 2
    assert f"rows are of other.mp4, none is of {talk}" in capsys.readouterr().err
    longer = write_table(Path("longer.csv"), [row("talk.mp4", k, 4) for k in range(14)])
    assert main(talk, longer) == 2
    assert "no frame at the times of 2 of the table's 14 frames" in capsys.readouterr().err
    faster = write_table(Path("faster.csv"), [row("talk.mp4", k, 30) for k in range(80)])
    assert main(talk, faster) == 2
    assert "longer.csv" not in (err := capsys.readouterr().err) and "does not fit" in err
    assert not list(talk.parent.glob("talk-faces*")) and not Path("talk.html").exists()


def test_a_damaged_video_is_shown_as_far_as_it_goes(talk, capsys, monkeypatch) -> None:
    def broken(*args, **kwargs):
        frames = read_frames(*args, **kwargs)
        yield from (next(frames) for _ in range(8))
        raise overlay_video.VideoError("talk.mp4: truncated")

    monkeypatch.setattr(overlay_video, "read_frames", broken)
    assert main(talk) == 1
    assert "warning: talk.mp4: truncated" in capsys.readouterr().err
    assert len(list(read_frames("talk-faces.mp4"))) == 8 and Path("talk.html").exists()


def test_an_interrupt_leaves_nothing(talk, monkeypatch) -> None:
    def stopped(*args, **kwargs):
        yield from (frame for _, frame in zip(range(3), read_frames(*args, **kwargs), strict=False))
        raise KeyboardInterrupt

    monkeypatch.setattr(overlay_video, "read_frames", stopped)
    assert main(talk) == 130
    assert sorted(p.name for p in talk.parent.iterdir()) == ["talk.csv", "talk.mp4"]


def test_a_missing_table_is_made(talk, monkeypatch) -> None:
    rows = [row("talk.mp4", k, 4) for k in range(12)]
    Path("talk.csv").unlink()
    asked = []

    def analyse(options) -> int:
        asked.append((options.inputs, options.out))
        write_table(options.out, rows)
        return 0

    monkeypatch.setattr(show, "analyse", analyse)
    assert main("talk.mp4", "--out", "new") == 0
    assert asked == [(("talk.mp4",), Path("new/talk.csv"))]
    assert main("talk.mp4", "--out", "new", "--overwrite") == 0
    assert len(asked) == 1


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """A folder of two pictures, a face in the first, with its table beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name, level in (("a.png", 60), ("b.png", 200)):
        cv2.imwrite(str(tmp_path / "in" / name), np.full((100, 140, 3), level, np.uint8))
    nothing = ["in/b.png", 1, "", "", 0, 0, *[""] * 8]
    write_table(tmp_path / "in.csv", [row("in/a.png", 0, 1), nothing])
    return tmp_path / "in"


def test_a_folder_of_pictures(pictures) -> None:
    assert main("in") == 0
    marked = {path.name: cv2.imread(str(path)) for path in Path("in-faces").iterdir()}
    assert {name: picture.shape[0] for name, picture in marked.items()} == {
        "a.png.jpg": 480,
        "b.png.jpg": 480,
    }
    blue = np.array(FACE_COLOURS[0])[::-1]
    near = {
        k: (np.abs(v[:, :672].astype(int) - blue).max(-1) < 40).sum() for k, v in marked.items()
    }
    assert near["a.png.jpg"] > 300 and near["b.png.jpg"] == 0
    page = Path("in.html").read_text()
    assert "One face in 2 pictures" in page and page.count("<article") == 2
    assert "AU12 lip corner puller" in page and "No face." in page


def test_one_picture_of_the_folder(pictures) -> None:
    assert main("in/a.png", "in.csv", "--out", "one") == 0
    assert {path.name for path in Path("one").iterdir()} == {"a-faces.jpg", "a.html"}
    assert "One face in one picture; on: lip corner puller." in Path("one/a.html").read_text()


def test_pictures_that_are_too_many_lie_beside_the_page(pictures, monkeypatch) -> None:
    monkeypatch.setattr("tcae.report.marked_pictures.MOST_HELD", 0)
    assert main("in") == 0
    assert 'src="in-faces/a.png.jpg"' in Path("in.html").read_text()


def test_names_in_any_encoding_and_with_any_sign(talk, monkeypatch) -> None:
    monkeypatch.setattr("tcae.report.video_page.MOST_FILM", 0)
    name = os.fsdecode(b"caf\xe9 <b>&\"'#%.mp4")
    talk.rename(name)
    with open("t.csv", "w", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows([HEAD, *(row(name, k, 4) for k in range(12))])
    assert main(name, "t.csv") == 0
    page = Path(os.fsdecode(b"caf\xe9 <b>&\"'#%.html")).read_text(errors="surrogateescape")
    assert 'src="caf%E9%20%3Cb%3E%26%22%27%23%25-faces.mp4"' in page
    assert '<b>&"' not in page and "&lt;b&gt;&amp;&quot;" in page


def test_the_folder_where_one_is(pictures, monkeypatch) -> None:
    monkeypatch.chdir("in")
    assert main(".", "../in.csv", "--out", "..") == 0
    assert "<h1>in</h1>" in Path("../in.html").read_text()


def test_a_video_without_a_face_is_shown_too(talk) -> None:
    rows = [["talk.mp4", k, k / 4, "", 0, 0, *[""] * 8] for k in range(12)]
    write_table(Path("talk.csv"), rows)
    assert main(talk) == 0
    assert "No face in 3 s." in Path("talk.html").read_text()
    assert len(list(read_frames("talk-faces.mp4"))) == 12


def test_a_table_in_place_of_the_video_is_refused(talk, capsys) -> None:
    assert main("talk.csv") == 2
    assert "talk.csv: is a table; give the video or the pictures first" in capsys.readouterr().err


def test_a_folder_of_videos_is_refused(talk, capsys) -> None:
    assert main(talk.parent) == 2
    assert "holds talk.mp4; give one video, one picture or one folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.mkv", "a.png"])
def test_hdr_without_a_table_is_analysed_and_shown(
    tmp_path, monkeypatch, capsys, write_hdr_video, name
) -> None:
    monkeypatch.chdir(tmp_path)
    grey = write_hdr_video(tmp_path / "a.mkv")
    png = cv2.imencode(".png", grey)[1].tobytes()
    chunk = b"cICP" + bytes([9, 16, 0, 1])  # PNG, 11.3.2.6
    chunk = struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    Path("a.png").write_bytes(png[:33] + chunk + png[33:])
    assert main(name) == 2
    assert "--tone-map reads it (tcae analyse, extract, pack and" in capsys.readouterr().err
    assert main(name, "--tone-map") == 0
    assert Path("a.html").exists() and Path("a.csv").exists()
