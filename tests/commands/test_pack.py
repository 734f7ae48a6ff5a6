from __future__ import annotations

import contextlib
import csv
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tcae.data.align import DEFAULT_TEMPLATE
from tcae.data.crops import LANDMARK_COLUMNS
from tcae.data.shards import PackedDataset
from tcae.pack import main


def pack(source, out, *options):
    words = ["--aligned", "--image-size", "32", "--workers", "1", *options]
    return main([str(source), "--out", str(out), *words])


def manifest(out):
    with open(out / "manifest.csv", newline="") as file:
        return {row["video"]: row for row in csv.DictReader(file)}


def contents(out):
    """Name of every frame and its picture."""
    dataset = PackedDataset(out)
    assert dataset.failures == []
    names = [dataset.name(i) for i in range(len(dataset))]
    assert len(set(names)) == len(names)
    return {name: dataset.read(i).tobytes() for i, name in enumerate(names)}


@pytest.fixture
def videos(write_video, tmp_path):
    """Folder of ten videos of two persons, six frames at 2 a second each."""
    folder = tmp_path / "videos"
    for i in range(10):
        write_video(folder / f"id{i % 2}" / f"v{i // 2}" / f"{i}.mp4", seed=i)
    return folder


# What comes out ----------------------------------------------------------------------------------


def test_a_folder_of_videos(videos, tmp_path, capfd):
    out = tmp_path / "out"
    assert pack(videos, out, "--workers", "2", "--fps", "1") == 0
    dataset = PackedDataset(out)
    assert dataset.image_size == 32
    assert dataset.template == DEFAULT_TEMPLATE
    expected = [
        f"id{p}/v{v}/{2 * v + p}-0/{k}" for p in range(2) for v in range(5) for k in (0, 2, 4)
    ]
    assert [dataset.name(i) for i in range(len(dataset))] == expected
    assert dataset.frames["timestamp"].tolist() == [0, 1, 2] * 10
    rows = manifest(out)
    assert len(rows) == 10
    assert rows["id0/v2/4"] == {
        "video": "id0/v2/4", "path": "id0/v2/4.mp4", "status": "packed", "identity": "id0",
        "frames": "3", "faces": "3", "tracks": "1", "reason": "", "length": "5",
        "size": str((videos / "id0/v2/4.mp4").stat().st_size),
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["videos"] == summary["videos_packed"] == summary["tracks"] == 10
    assert summary["frames"] == summary["faces"] == 30
    assert all(isinstance(value, (int, float)) for value in summary.values())
    assert "30 faces in 10 tracks of 10 videos" in capfd.readouterr().out


def test_the_set_does_not_depend_on_the_number_of_workers(videos, tmp_path):
    assert pack(videos, tmp_path / "one") == 0
    assert pack(videos, tmp_path / "three", "--workers", "3") == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_landmarks_from_a_table(videos, tmp_path):
    rows = [",".join(LANDMARK_COLUMNS)]
    for i in range(10):
        points = (DEFAULT_TEMPLATE.pixels(40) + i % 3).round(2).ravel()
        rows.append(f"id{i % 2}/v{i // 2}/{i}.mp4,0," + ",".join(map(str, points)))
    table = tmp_path / "points.csv"
    table.write_text("\n".join(rows[:-1]))
    out = tmp_path / "out"
    words = [str(videos), "--out", str(out), "--image-size", "32", "--landmarks", str(table)]
    assert main([*words, "--workers", "1"]) == 1  # the last video has no face
    assert len(PackedDataset(out)) == 9
    assert manifest(out)["id1/v4/9"]["status"] == "no face"


def test_two_people_are_two_tracks(write_video, tmp_path):
    write_video(tmp_path / "talk.mp4", frames=3, fps=1)
    rows = [",".join([*LANDMARK_COLUMNS, "track"])]
    for frame in range(3):
        for track, shift in (("left", 0), ("right", 30)):
            points = (DEFAULT_TEMPLATE.pixels(20) + shift).round(2).ravel()
            rows.append(f"talk.mp4,{frame}," + ",".join(map(str, points)) + f",{track}")
    (tmp_path / "points.csv").write_text("\n".join(rows))
    words = ["--out", str(tmp_path / "out"), "--landmarks", str(tmp_path / "points.csv")]
    assert main([str(tmp_path / "talk.mp4"), *words, "--workers", "1"]) == 0
    dataset = PackedDataset(tmp_path / "out")
    assert [c.track for c in dataset.clips] == ["left", "right"]
    assert len(dataset) == 6


def test_landmarks_of_a_video_that_is_not_there(write_video, tmp_path, capfd):
    """As a spreadsheet saves a name in Latin-1."""
    write_video(tmp_path / "zo\u00e9.mp4", frames=1)
    points = ",".join(map(str, DEFAULT_TEMPLATE.pixels(20).ravel()))
    table = tmp_path / "points.csv"
    text = f"{','.join(LANDMARK_COLUMNS)}\nzo\u00e9.mp4,0,{points}\n"
    table.write_bytes(text.encode("latin-1"))
    words = ["--out", str(tmp_path / "out"), "--landmarks", str(table), "--workers", "1"]
    assert main([str(tmp_path / "zo\u00e9.mp4"), *words]) == 1
    line = capfd.readouterr().err.splitlines()[0]
    assert f"{table}: 1 of its 1 videos are not there, as zo" in line
    assert line.endswith("some of its names are not UTF-8: perhaps save it as such")


def test_the_prepared_tree(tmp_path):
    for track, count in (("0_folder", 3), ("1_folder", 2)):
        for k in range(count):
            path = tmp_path / f"data/id09238/VqEJCd7pbgQ/{track}/img_0_{k + 1:03d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((40, 40, 3), 50 * k, np.uint8))
    assert pack(tmp_path / "data", tmp_path / "out") == 0
    dataset = PackedDataset(tmp_path / "out")
    assert [dataset.name(i) for i in range(5)] == [
        *(f"id09238/VqEJCd7pbgQ/0_folder/{k}" for k in (1, 2, 3)),
        *(f"id09238/VqEJCd7pbgQ/1_folder/{k}" for k in (1, 2)),
    ]


def test_videos_pictures_and_folders_together(videos, write_video, tmp_path):
    write_video(tmp_path / "talk.mp4", frames=3, fps=1)
    for name in ("still.png", "v/1.png", "v/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((40, 40, 3), 50, np.uint8))
    paths = [str(tmp_path / name) for name in ("still.png", "v", "talk.mp4", "videos/id0")]
    out = tmp_path / "out"
    assert main([*paths, "--out", str(out), "--aligned", "--image-size", "32"]) == 0
    rows = manifest(out)
    assert {name: row["faces"] for name, row in rows.items()} == {
        "talk": "3", "still": "1", "v": "2", **{f"v{k}/{2 * k}": "3" for k in range(5)},
    }  # fmt: skip


def test_warnings_of_workers_are_lines_of_the_command(write_video, tmp_path, capfd):
    path = write_video(tmp_path / "joined.ts", frames=4)
    path.write_bytes(path.read_bytes() * 2)
    assert pack(path, tmp_path / "out") == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"tcae.pack: warning: {path}: ")


# Bad input ---------------------------------------------------------------------------------------


def test_bad_videos_are_named_and_the_rest_goes_on(videos, tmp_path, write_video, capfd):
    (videos / "id0" / "junk.mp4").write_bytes(b"no video at all")
    (videos / "id0" / "empty.mp4").write_bytes(b"")
    write_video(videos / "id0" / "short.mp4", frames=1)
    damaged = write_video(videos / "id1" / "bad.mp4", frames=60, size=(160, 120))
    content = bytearray(damaged.read_bytes())
    middle = content.index(b"mdat") + len(content) // 2
    content[middle : middle + 3000] = b"\xff" * 3000
    damaged.write_bytes(content)
    out = tmp_path / "out"
    assert pack(videos, out) == 1
    rows = manifest(out)
    assert rows["id0/junk"]["status"] == rows["id0/empty"]["status"] == "failed"
    assert rows["id1/bad"]["status"] == "damaged"
    assert rows["id0/short"]["status"] == "packed"
    assert sum(row["status"] == "packed" for row in rows.values()) == 11
    assert int(rows["id1/bad"]["faces"]) > 5
    dataset = PackedDataset(out)
    assert sum(c.video.startswith("id") for c in dataset.clips) == 12
    lines = capfd.readouterr().err.splitlines()
    for name in ("id0/junk.mp4", "id0/empty.mp4", "id0/short.mp4", "id1/bad.mp4"):
        assert sum(name in line for line in lines) == 1
    assert next(line for line in lines if "short" in line).endswith("so it gives no pairs")
    assert not any("Traceback" in line for line in lines)


def test_a_failed_video_is_tried_again_and_new_ones_are_added(videos, tmp_path, write_video):
    out = tmp_path / "out"
    (videos / "id0" / "junk.mp4").write_bytes(b"no video at all")
    assert pack(videos, out) == 1
    before = contents(out)
    stamps = {p.name: p.stat().st_mtime_ns for p in (out / "shards").iterdir()}
    write_video(videos / "id0" / "junk.mp4")
    write_video(videos / "id2" / "new.mp4")
    assert pack(videos, out) == 0
    after = contents(out)
    assert after.items() > before.items()
    assert len(after) == len(before) + 6
    assert {row["status"] for row in manifest(out).values()} == {"packed"}
    for path in (out / "shards").glob("*-*"):  # new shards only
        assert stamps.get(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns


def test_the_manifest_remembers_other_sources(videos, tmp_path, write_video):
    out = tmp_path / "out"
    (videos / "junk.mp4").write_bytes(b"no video at all")
    assert pack(videos, out) == 1
    write_video(tmp_path / "more" / "new.mp4")
    assert pack(tmp_path / "more", out) == 0
    rows = manifest(out)
    assert len(rows) == 12
    assert rows["junk"]["status"] == "failed"


def test_another_video_of_the_same_name(write_video, tmp_path, capfd):
    write_video(tmp_path / "a" / "talk.mp4")
    write_video(tmp_path / "b" / "talk.mp4", frames=9)
    assert pack(tmp_path / "a", tmp_path / "out") == 0
    assert pack(tmp_path / "b", tmp_path / "out") == 1
    assert "talk.mp4: another video named talk" in capfd.readouterr().err
    assert len(PackedDataset(tmp_path / "out")) == 3


def error_of(capfd, *words):
    assert main([str(word) for word in words]) == 2
    captured = capfd.readouterr()
    (line,) = captured.err.splitlines()
    return line


def test_mistakes_are_one_line(videos, tmp_path, capfd):
    out = tmp_path / "out"
    assert pack(videos, out) == 0
    capfd.readouterr()
    common = [videos, "--out", out, "--aligned"]
    assert "image_size 32, not 64" in error_of(capfd, *common, "--image-size", 64)
    line = error_of(capfd, *common, "--image-size", 32, "--fps", 3)
    assert "fps 1.0, not 3.0" in line
    assert "--overwrite" in line
    assert "no such file" in error_of(capfd, tmp_path / "none", "--out", out, "--aligned")
    assert "PATH: none given" in error_of(capfd, "--out", out)
    line = error_of(capfd, videos, videos, "--out", out, "--dataset", "disfa")
    assert "2 PATHs given, it needs a single one" in line
    assert "--fps" in error_of(capfd, *common, "--fps", 0)
    assert "--image-size" in error_of(capfd, *common, "--image-size", 1)
    assert "detector must be one of" in error_of(capfd, videos, "--out", out, "--detector", "x")
    assert "exclude" in error_of(capfd, *common, "--landmarks", tmp_path / "l.csv")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("dear")
    for more in ([], ["--overwrite"]):
        line = error_of(capfd, videos, "--out", tmp_path / "foreign", "--aligned", *more)
        assert "not empty and not a packed data set" in line
    assert (tmp_path / "foreign" / "thesis.tex").read_text() == "dear"


def test_overwrite_starts_afresh_and_keeps_labels(videos, tmp_path):
    out = tmp_path / "out"
    assert pack(videos, out) == 0
    (out / "labels.csv").write_text("mine")
    assert pack(videos / "id0", out, "--overwrite", "--fps", "2") == 0
    assert len(PackedDataset(out)) == 30
    assert (out / "labels.csv").read_text() == "mine"


def test_a_damaged_index_is_packed_again(videos, tmp_path, capfd):
    out = tmp_path / "out"
    assert pack(videos, out) == 0
    before = contents(out)
    (index,) = (out / "shards").glob("*.index")
    index.write_bytes(index.read_bytes()[:-1])
    assert pack(videos, out) == 0
    assert f"{index}" in capfd.readouterr().err
    index.unlink()
    assert contents(out) == before


def test_no_second_packer_beside_one(videos, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("tcae.files.durable._LOCK_SECONDS", 0.2)
    out = tmp_path / "out"
    assert pack(videos, out) == 0
    capfd.readouterr()
    with open(out / "dataset.json") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        line = error_of(capfd, videos, "--out", out, "--aligned", "--image-size", 32)
    assert "another tcae.pack is writing to it" in line


# Kills -------------------------------------------------------------------------------------------

# Runs the command with every video durable at once, in the workers too, as they import this file.
# A pipe is no video, but here it holds a worker while it opens one.
SCRIPT = """
    import sys
    import tcae.data.pack_worker
    import tcae.data.video
    tcae.data.pack_worker.FLUSH_SECONDS = 0.0
    tcae.data.video.irregular = lambda path: None
    if __name__ == "__main__":
        from tcae.pack import main
        sys.exit(main())
"""


@pytest.fixture
def start(tmp_path):
    """Function that starts the packer in a process group of its own."""
    script = tmp_path / "packer.py"
    script.write_text(textwrap.dedent(SCRIPT))
    root = str(Path(__file__).parents[2])
    started = []

    def run(source, out, *options, **settings):
        words = ["--aligned", "--image-size", "32", "--workers", "1", *options]
        process = subprocess.Popen(
            [sys.executable, str(script), str(source), "--out", str(out), *words],
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
            **settings,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def hold(path):
    """Make `path` a pipe; function that waits until a process is stuck in opening it."""
    path.unlink()
    os.mkfifo(path)

    def wait_for_reader():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            time.sleep(0.02)
        raise TimeoutError("nobody reads")

    return wait_for_reader


def worker_of(process):
    """Process id of the packer's only worker."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("needs /proc to find the worker process")
    for child in children.read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("no worker")


def test_a_kill_loses_nothing_and_the_next_run_completes_the_set(videos, tmp_path, start):
    assert pack(videos, tmp_path / "whole") == 0
    out, stuck = tmp_path / "out", videos / "id0" / "v2" / "4.mp4"
    content = stuck.read_bytes()
    wait = hold(stuck)
    process = start(videos, out)
    os.close(wait())  # two videos of id0 are packed; now the power fails
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = contents(out)
    assert {name.split("/")[2] for name in kept} == {"0-0", "2-0"}
    stuck.unlink()
    stuck.write_bytes(content)
    assert pack(videos, out) == 0
    assert contents(out) == contents(tmp_path / "whole")
    assert contents(out).items() > kept.items()
    assert len(manifest(out)) == 10


def test_killed_again_and_again(write_video, tmp_path, start):
    for i in range(40):
        write_video(tmp_path / "videos" / f"{i:02d}.mp4", frames=12, seed=i)
    assert pack(tmp_path / "videos", tmp_path / "whole", "--fps", "2") == 0
    out, ends = tmp_path / "out", []
    for delay in (0.0, 0.1, 0.3):
        process = start(tmp_path / "videos", out, "--fps", "2", "--workers", "2")
        seen = len(list(out.glob("shards/*.bin")))
        while len(list(out.glob("shards/*.bin"))) <= seen and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()  # unless it was fast enough to finish; the workers notice by themselves
        ends.append(process.wait())
    assert ends[0] == -signal.SIGKILL
    assert pack(tmp_path / "videos", out, "--fps", "2") == 0
    assert contents(out) == contents(tmp_path / "whole")


def test_a_worker_that_dies_is_replaced_and_its_video_named(videos, tmp_path, start):
    assert pack(videos, tmp_path / "whole") == 0
    out, deadly = tmp_path / "out", videos / "id0" / "v2" / "4.mp4"
    wait = hold(deadly)
    process = start(videos, out)
    pipe = wait()
    os.kill(worker_of(process), signal.SIGSEGV)
    _, err = process.communicate(timeout=600)
    os.close(pipe)
    assert process.returncode == 1
    assert err.count("4.mp4: the process that decoded it died (signal 11)") == 1
    assert "Traceback" not in err
    expected = contents(tmp_path / "whole")
    assert contents(out) == {k: v for k, v in expected.items() if not k.startswith("id0/v2/")}
    assert manifest(out)["id0/v2/4"]["status"] == "failed"


def test_unsaved_videos_of_a_dead_worker_are_done_again(videos, tmp_path, start):
    """As above, but nothing is durable yet when the worker dies."""
    script = tmp_path / "packer.py"
    script.write_text(script.read_text().replace("= 0.0", "= 1e9"))
    out, deadly = tmp_path / "out", videos / "id0" / "v2" / "4.mp4"
    wait = hold(deadly)
    process = start(videos, out)
    pipe = wait()
    assert list((out / "shards").glob("*.index")) == []
    os.kill(worker_of(process), signal.SIGKILL)
    assert process.wait(timeout=600) == 1
    os.close(pipe)
    assert len(contents(out)) == 27


def test_ctrl_c_keeps_what_is_finished(videos, tmp_path, start):
    script = tmp_path / "packer.py"
    script.write_text(script.read_text().replace("= 0.0", "= 1e9"))
    # The worker waits for data in the fifth video of the second person.
    held = videos / "id1" / "v4" / "9.mp4"
    content = held.read_bytes()
    wait = hold(held)
    process = start(videos, tmp_path / "out")
    pipe = wait()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    time.sleep(0.3)
    held.unlink()
    held.write_bytes(content)  # it is opened a second time, to decode what the first time showed
    os.write(pipe, content)
    os.close(pipe)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130
    assert err.splitlines() == ["tcae.pack: interrupted"]
    assert len(contents(tmp_path / "out")) == 27
    assert len(manifest(tmp_path / "out")) == 9


@pytest.mark.parametrize("limit", ["file size", "file system"])
def test_a_full_disk(write_video, tmp_path, start, limit):
    for i in range(12):
        write_video(tmp_path / "videos" / f"{i:02d}.mp4", frames=12, seed=i)
    source, out, words = tmp_path / "videos", tmp_path / "disk" / "out", ["--fps", "2"]
    assert pack(source, tmp_path / "whole", *words) == 0
    whole = contents(tmp_path / "whole")
    room = sum(p.stat().st_size for p in (tmp_path / "whole" / "shards").iterdir()) * 2 // 3
    out.parent.mkdir()
    settings = {}
    if limit == "file size":
        settings["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, -1))
    else:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(out.parent)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("needs the right to mount a small file system")
    try:
        process = start(source, out, *words, **settings)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 2
        (line,) = err.splitlines()
        assert "what was packed before is safe" in line and f"{out}/shards/" in line
        assert ("File too large" if limit == "file size" else "No space left on device") in line
        kept = contents(out)
        assert 12 <= len(kept) < len(whole)
        assert kept.items() < whole.items()
        if limit == "file system":
            more = ["mount", "-o", f"remount,size={room * 4}", str(out.parent)]
            subprocess.run(more, check=True)
        assert pack(source, out, *words) == 0
        assert contents(out) == whole
    finally:
        if limit == "file system":
            subprocess.run(["umount", str(out.parent)], check=True)
