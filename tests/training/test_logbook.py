from __future__ import annotations

import json
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tcae.training.logbook import Logbook, LogbookConfig


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_lines_are_json_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with Logbook(tmp_path) as logbook:
        logbook.write("train", 5, {"loss": 0.5, "bad": float("nan")})
    assert lines(tmp_path) == [{"kind": "train", "step": 5, "loss": 0.5, "bad": None}]


def test_a_resumed_record_has_each_line_once(tmp_path: Path) -> None:
    with Logbook(tmp_path) as logbook:
        for step in (1, 2):
            logbook.write("train", step, {"loss": step})
        state = logbook.state_dict(2)
        logbook.write("train", 3, {"loss": -1})  # after the checkpoint: it is repeated below
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"kind": "train", "st')  # the process was killed while writing
    with Logbook(tmp_path, state) as logbook:
        for step in (3, 4):
            logbook.write("train", step, {"loss": step})
    assert [(line["step"], line["loss"]) for line in lines(tmp_path)] == [
        (1, 1), (2, 2), (3, 3), (4, 4),
    ]  # fmt: skip
    board = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in board.Scalars("train/loss")] == [
        (1, 1), (2, 2), (3, 3), (4, 4),
    ]  # fmt: skip


def test_a_new_record_replaces_what_a_run_without_checkpoint_left(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("old\n")
    with Logbook(tmp_path) as logbook:
        logbook.write("val", 1, {"loss": 1})
    assert len(lines(tmp_path)) == 1


def test_lost_lines_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Logbook(tmp_path, {"bytes": 1000, "step": 3}):
        pass
    assert "metrics.jsonl: shorter than at the checkpoint" in caplog.text


def test_pictures_are_kept_as_png_and_in_tensorboard(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    with Logbook(tmp_path) as logbook:
        path = logbook.picture("panels", 30, picture)
    assert path == tmp_path / "panels" / "step-00000030.png"
    read = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(read, picture)
    board = EventAccumulator(str(tmp_path)).Reload()
    [image] = board.Images("panels")
    assert (image.step, image.width, image.height) == (30, 12, 8)


def test_a_full_disk_names_the_file(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(OSError, match=r"metrics\.jsonl"),
        Logbook(tmp_path) as logbook,
    ):
        logbook.write("train", 1, {"loss": 1.0})
        room = (tmp_path / "metrics.jsonl").stat().st_size + 10  # for a part of a line
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            logbook.write("train", 2, {"loss": 1.0})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [line["step"] for line in lines(tmp_path)] == [1]


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="every is 0"):
        LogbookConfig(every=0)
