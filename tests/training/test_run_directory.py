from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tcae.training.config import TrainConfig, save_config
from tcae.training.run_directory import find_run, lock_run, prepare_run


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return TrainConfig(out=tmp_path / "run", steps=5)


def begin(config: TrainConfig) -> Path:
    run, checkpoint = find_run(config)
    prepare_run(run, config, checkpoint)
    return run


def test_a_new_run_writes_its_configuration(config: TrainConfig) -> None:
    assert [path.name for path in begin(config).iterdir()] == ["config.yaml"]


def test_deciding_writes_nothing(config: TrainConfig, tmp_path: Path) -> None:
    find_run(config)
    assert list(tmp_path.iterdir()) == []


def test_without_out_the_name_tells_preset_and_time() -> None:
    run, _ = find_run(TrainConfig(preset="paper"))
    assert run.parent == Path("runs")
    assert run.name.startswith("paper-20")


def test_a_run_is_not_overwritten_unasked(config: TrainConfig) -> None:
    begin(config)
    with pytest.raises(ValueError, match=r"holds a run already; --resume auto .* --overwrite"):
        find_run(config)


def test_overwrite_removes_what_a_run_wrote_and_nothing_else(config: TrainConfig) -> None:
    run = begin(config)
    (run / "notes.txt").write_text("mine")
    (run / "metrics.jsonl").write_text("old")
    (run / "events.out.tfevents.1").write_text("old")
    (run / "panels").mkdir()
    (run / "panels" / "step-1.png").write_text("old")
    begin(dataclasses.replace(config, overwrite=True))
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml", "notes.txt"]


def test_one_writes_at_a_time(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tcae.files.durable._LOCK_SECONDS", 0.2)
    run = begin(config)
    with (
        lock_run(run),
        pytest.raises(ValueError, match=f"--out {run}: another process is training"),
        lock_run(run),
    ):
        pass
    with lock_run(run):
        pass


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("resume", [None, "auto"])
def test_a_foreign_directory_is_never_touched(
    config: TrainConfig, overwrite: bool, resume: str | None
) -> None:
    assert config.out is not None
    config.out.mkdir()
    (config.out / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match="not empty, and not a run"):
        find_run(dataclasses.replace(config, overwrite=overwrite, resume=resume))
    (config.out / "thesis.tex").rename(config.out.parent / "file")
    in_the_way = dataclasses.replace(config, out=config.out.parent / "file")
    with pytest.raises(ValueError, match="a file is in the way"):
        find_run(dataclasses.replace(in_the_way, overwrite=overwrite, resume=resume))


def test_what_cannot_be_resumed_is_refused(config: TrainConfig, tmp_path: Path) -> None:
    run = begin(config)
    with pytest.raises(ValueError, match="--overwrite: would throw away"):
        find_run(dataclasses.replace(config, resume="auto", overwrite=True))
    with pytest.raises(ValueError, match=f"--resume {run}: holds no checkpoint"):
        find_run(dataclasses.replace(config, resume=str(run)))
    with pytest.raises(ValueError, match=r"--out .*other: the run to resume lives in"):
        find_run(dataclasses.replace(config, resume=str(run), out=tmp_path / "other"))
    with pytest.raises(ValueError, match=r"--seed: the run has 0 .*config.yaml"):
        find_run(dataclasses.replace(config, resume="auto", seed=1))
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-00000001.pt").write_text("damaged")
    with pytest.raises(ValueError, match="no usable checkpoint; --overwrite starts anew"):
        find_run(dataclasses.replace(config, resume="auto"))


def test_an_edited_configuration_is_noticed(config: TrainConfig) -> None:
    run = begin(config)
    save_config(dataclasses.replace(config, seed=5), run)
    with pytest.raises(ValueError, match=r"--seed: the run has 5 .*config\.yaml"):
        find_run(dataclasses.replace(config, resume="auto"))
