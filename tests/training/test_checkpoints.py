from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tcae.training.checkpoints import CheckpointFolder, CheckpointsConfig, read_checkpoint


def state(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "total_steps": None,
        "minutes": 0.5,
        "best": 1.0,
        "failures": 0,
        "skipped": 0,
        "threads": 1,
        "measures": {},
        "config": {"seed": 0},
        "data": "hash",
        "model": {"w": torch.arange(1000.0) + step},
        "optimizer": {},
        "curriculum": {},
        "random": {"cpu": torch.get_rng_state()},
        "logbook": {"bytes": 0, "step": step},
        "progress": {},
    }


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = CheckpointFolder(tmp_path / "c").save(state(7))
    read = read_checkpoint(path)
    assert read["step"] == 7
    assert read["source"] == str(path)
    assert torch.equal(read["model"]["w"], torch.arange(1000.0) + 7)


def test_the_last_few_and_the_best_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep=2)
    folder.save(state(1), best=True)
    for step in (1, 2, 10, 9):
        folder.save(state(step))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.pt", "step-00000009.pt", "step-00000010.pt"]
    assert folder.latest() is not None
    assert folder.latest()[1]["step"] == 10  # type: ignore[index]


def test_a_half_written_file_is_no_checkpoint(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.latest() is None
    whole = folder.save(state(1))
    (tmp_path / "step-00000002.pt.tmp").write_bytes(whole.read_bytes()[:100])
    assert folder.latest()[0] == whole  # type: ignore[index]


def test_a_damaged_latest_one_is_passed_over_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = CheckpointFolder(tmp_path)
    good, bad = folder.save(state(1)), folder.save(state(2))
    bad.write_bytes(bad.read_bytes()[:-50])
    assert folder.latest()[0] == good  # type: ignore[index]
    assert len(caplog.messages) == 1
    assert str(bad) in caplog.messages[0]


def test_later_checkpoints_are_forgotten(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2, 3):
        folder.save(state(step))
    folder.forget_after(2)
    assert [path.name for path in folder.numbered()] == ["step-00000001.pt", "step-00000002.pt"]


def test_no_bit_can_be_flipped_unseen(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("flips")
    path = CheckpointFolder(folder).save(state(1))
    whole = path.read_bytes()
    truth = state(1)["model"]["w"]

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, len(whole) * 8 - 1))
    def flip(bit: int) -> None:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path)
        except ValueError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
        else:  # a bit that carries nothing, such as padding
            assert torch.equal(read["model"]["w"], truth)
            assert read["step"] == 1

    flip()


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_hostile_checkpoint_runs_no_code(tmp_path: Path) -> None:
    path, proof = tmp_path / "step-1.pt", tmp_path / "proof"
    torch.save({**state(1), "format": "tcae-checkpoint", "measures": Hostile(proof)}, path)
    with pytest.raises(ValueError, match="damaged or not a checkpoint"):
        read_checkpoint(path)
    assert not proof.exists()


def write_foreign(path: Path, kind: str) -> None:
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"a": 1}))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    elif kind == "torch":
        torch.save({"state_dict": {}}, path)
    else:
        torch.save([1, 2], path)


@pytest.mark.parametrize("kind", ["text", "empty", "pickle", "zip", "torch", "list"])
def test_a_foreign_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "foreign.pt"
    write_foreign(path, kind)
    with pytest.raises(ValueError, match=r"foreign\.pt: (damaged or )?not a checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"best": "7"}, "field best is of type str"),
        ({"optimizer": None}, "field optimizer is of type NoneType"),
        ({"version": 99}, "version: need 1, got 99"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = CheckpointFolder(tmp_path).save({**state(1), **change})
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_a_missing_field_or_file_is_named(tmp_path: Path) -> None:
    partial = {k: v for k, v in state(1).items() if k != "curriculum"}
    path = CheckpointFolder(tmp_path).save(partial)
    with pytest.raises(ValueError, match="field curriculum is missing"):
        read_checkpoint(path)
    with pytest.raises(FileNotFoundError, match=r"none\.pt: no such checkpoint"):
        read_checkpoint(tmp_path / "none.pt")


@pytest.mark.parametrize("field", ["every", "keep"])
def test_settings_are_checked(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0"):
        CheckpointsConfig(**{field: 0})


def test_the_best_is_gone_back_to_when_no_other_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = CheckpointFolder(tmp_path)
    assert folder.is_empty()
    best = folder.save(state(2), best=True)
    for step in (3, 4):
        folder.save(state(step)).write_bytes(b"damaged")
    path, found = folder.latest()  # type: ignore[misc]
    assert (path, found["step"]) == (best, 2)
    assert f"{best}: going on from the best checkpoint, of step 2" in caplog.messages
    assert len(caplog.messages) == 3
    best.write_bytes(b"damaged, too")
    assert folder.latest() is None
    assert not folder.is_empty()
