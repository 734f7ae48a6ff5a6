"""What the options are by default: a file comes before presets and runs, the command line first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from tcae.cli import command
from tcae.training.command_line import command_line_defaults
from tcae.training.config import PRESETS, TrainConfig, save_config
from tcae.training.optimizer import OptimizerConfig


def parse(*argv: str | Path) -> TrainConfig:
    """What the command line makes of these words."""
    seen: list[TrainConfig] = []

    def work(config: TrainConfig) -> int:
        seen.append(config)
        return 0

    words = [str(word) for word in argv]
    assert (
        command.run(work, TrainConfig, prog="tcae.train", argv=words, default=command_line_defaults)
        == 0
    )
    return seen[0]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_a_file_comes_before_the_preset_and_the_command_line_before_the_file(file: Path) -> None:
    file.write_text("steps: 7\noptimizer: {learning_rate: 0.5}\ncurriculum: {windows: [[0, 1]]}\n")
    expected = TrainConfig(
        steps=7, config=file, optimizer=dataclasses.replace(OptimizerConfig(), learning_rate=0.5)
    )
    assert parse("--config", file) == expected
    official = parse("--config", file, "--preset", "official", "--steps", "8")
    assert (official.steps, official.optimizer.learning_rate) == (8, 0.5)
    assert official.optimizer.algorithm == "sgd"  # of the preset, as the file does not say
    assert official.curriculum.windows == ((0, 1),)  # a list as a whole
    file.write_text("preset: paper\n")
    assert parse("--config", file) == dataclasses.replace(PRESETS["paper"], config=file)


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "1.e-3", ".1e-2", "+1e-3", "1.0e-3"])
def test_powers_of_ten_are_numbers_in_a_file_too(file: Path, number: str) -> None:
    file.write_text(f"optimizer: {{learning_rate: {number}}}\n")
    assert parse("--config", file).optimizer.learning_rate == 0.001


def test_the_file_of_a_run_repeats_it_elsewhere(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    config = TrainConfig(out=run, data=Path("faces"), steps=7, seed=3)
    save_config(config, run)
    file = run / "config.yaml"
    assert parse("--config", file) == dataclasses.replace(config, out=None, config=file)
    # An option that the run is older than has the value that held then, not its default now.
    record = yaml.safe_load(file.read_text())
    del record["objective"]["twin_every"]
    file.write_text(yaml.safe_dump(record))
    older = parse("--config", file)
    assert (older.objective.twin_every, config.objective.twin_every) == (1, 4)
    assert older == dataclasses.replace(
        config,
        out=None,
        config=file,
        objective=dataclasses.replace(config.objective, twin_every=1),
    )


def test_a_run_resumed_with_its_file_is_still_that_run(tmp_path: Path, file: Path) -> None:
    run = tmp_path / "run"
    file.write_text(f"out: {run}\nseed: 3\n")
    fresh = parse("--config", file, "--resume", "auto")
    assert (fresh.out, fresh.seed) == (run, 3)
    run.mkdir()
    save_config(dataclasses.replace(fresh, steps=7, batch_size=4), run)
    again = parse("--config", file, "--resume", "auto")
    assert again == dataclasses.replace(fresh, steps=7, batch_size=4)
    moved = run.rename(tmp_path / "moved")
    assert parse("--config", file, "--resume", moved).out == moved
    file.write_text("seed: 4\n")
    assert parse("--config", file, "--resume", moved).seed == 4  # refused when it is resumed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: {learning_rat: 1}", "optimizer.learning_rat: unknown field, did you mean "),
        ("batchsize: 3", "batchsize: unknown field, did you mean batch_size?"),
        ("optimizer: 3", "optimizer: need named fields"),
        ("steps: many", "steps: need int or nothing, got 'many'"),
        ("overwrite: true", "overwrite: belongs on the command line, as --overwrite"),
        ("preset: offical", "preset: need one of default, paper, official"),
        ("a: b: c", "not YAML"),
        ("3", "need named fields"),
    ],
)
def test_a_file_that_does_not_fit_names_file_and_field(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        command_line_defaults(["--config", str(file)])
    assert str(file) in str(caught.value)


def test_a_preset_cannot_replace_what_a_run_says_in_full(tmp_path: Path) -> None:
    save_config(TrainConfig(), tmp_path)
    file = tmp_path / "config.yaml"
    assert parse("--config", file, "--preset", "default").preset == "default"
    with pytest.raises(ValueError, match=r"--preset paper: .*has the value of every option"):
        command_line_defaults(["--config", str(file), "--preset", "paper"])


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--config", "nowhere.yaml"]
    run = command.run(lambda _: 0, TrainConfig, prog="t", argv=argv, default=command_line_defaults)
    assert run == 2
    assert capsys.readouterr().err == "t: error: nowhere.yaml: No such file or directory\n"
