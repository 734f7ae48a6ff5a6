from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tcae.cli import command
from tcae.data.pairs import PairsConfig
from tcae.evaluation.unseen import UnseenConfig
from tcae.models.model_config import MODEL_PRESETS, ModelConfig
from tcae.objectives.curriculum import CURRICULUM_PRESETS, CurriculumConfig
from tcae.objectives.objective_config import OBJECTIVE_PRESETS, ObjectiveConfig
from tcae.training.command_line import command_line_defaults
from tcae.training.config import (
    PRESET_STEPS,
    PRESETS,
    TrainConfig,
    check_resumable,
    describe,
    load_config,
    plain_config,
    resumed_run,
    save_config,
    with_steps,
)
from tcae.training.device import Compiled
from tcae.training.optimizer import OPTIMIZER_PRESETS, OptimizerConfig
from tcae.training.validation import VALIDATION_PRESETS, ValidationConfig


def parse(*argv: str) -> TrainConfig:
    """What the command line makes of these words."""
    seen: list[TrainConfig] = []

    def work(config: TrainConfig) -> int:
        seen.append(config)
        return 0

    assert (
        command.run(work, TrainConfig, prog="tcae.train", argv=argv, default=command_line_defaults)
        == 0
    )
    return seen[0]


def error_of(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert (
        command.run(lambda _: 0, TrainConfig, prog="t", argv=argv, default=command_line_defaults)
        == 2
    )
    return capsys.readouterr().err


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_gives_the_defaults(name: str) -> None:
    assert parse("--preset", name) == PRESETS[name]
    assert parse(f"--preset={name}") == PRESETS[name]


def test_the_published_settings() -> None:
    official, paper = PRESETS["official"], PRESETS["paper"]
    for config in (official, paper):
        assert (config.image_size, config.batch_size) == (256, 64)
        assert with_steps(config).steps == 82_000
        assert config.optimizer.algorithm == "sgd"
        assert config.optimizer.learning_rate == 1e-3
    assert round(official.pairs.crop_min * 256) == 200
    assert round(official.pairs.crop_max * 256) == 224
    assert not official.pairs.flip
    for config in (official, paper):
        assert (config.pairs.together, config.pairs.crop_shift) == (1, 1)
        assert (config.model.embedding_size, config.model.pose_size) == (256, 256)
    assert len(official.curriculum.windows) == 5
    assert len(paper.curriculum.windows) == 3


def test_in_python_a_preset_gives_its_options_too() -> None:
    official = TrainConfig(preset="official")
    assert (official.image_size, official.batch_size) == (256, 64)
    assert official.model == MODEL_PRESETS["official"] != ModelConfig()
    assert official.objective == OBJECTIVE_PRESETS["official"] != ObjectiveConfig()
    assert official.curriculum == CURRICULUM_PRESETS["official"] != CurriculumConfig()
    assert official.optimizer == OPTIMIZER_PRESETS["official"] != OptimizerConfig()
    assert official.validation == VALIDATION_PRESETS["official"] != ValidationConfig()
    assert official.pairs.jitter_validation and not PairsConfig().jitter_validation
    assert TrainConfig() == TrainConfig(preset="default")


def test_in_python_what_is_given_beats_the_preset() -> None:
    given = TrainConfig(preset="official", image_size=64, model=ModelConfig(), pairs=PairsConfig())
    assert (given.image_size, given.model, given.pairs) == (64, ModelConfig(), PairsConfig())
    assert (given.batch_size, given.objective) == (64, OBJECTIVE_PRESETS["official"])
    assert "embedding_size=128*" in describe(given)


def test_an_unknown_preset_is_refused_in_python() -> None:
    with pytest.raises(ValueError, match="preset is 'offical', it must be one of default, paper, "):
        TrainConfig(preset="offical")  # type: ignore[arg-type]


def test_any_field_can_be_given() -> None:
    config = parse(
        "--preset", "official", "--steps", "9", "--model.base-filters", "8",
        "--pairs.flip", "True", "--curriculum.windows", "0", ".5", ".25", ".75",
    )  # fmt: skip
    official = PRESETS["official"]
    assert config == dataclasses.replace(
        official,
        steps=9,
        model=dataclasses.replace(official.model, base_filters=8),
        pairs=dataclasses.replace(official.pairs, flip=True),
        curriculum=dataclasses.replace(official.curriculum, windows=((0, 0.5), (0.25, 0.75))),
    )


@pytest.mark.parametrize("preset", list(PRESETS))
def test_help_explains_every_option(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--help", "--preset", preset]
    assert (
        command.run(lambda _: 1, TrainConfig, prog="t", argv=argv, default=command_line_defaults)
        == 0
    )
    text = capsys.readouterr().out
    shared = "data out preset image-size batch-size steps minutes seed device workers resume"
    for name in [*shared.split(), "init-from", "overwrite", "optimizer.learning-rate"]:
        assert f"--{name}" in text
    # Under each option stand words of its own before its default.
    lines = [line.strip("│ ") for line in text.splitlines()]
    headers = [i for i, line in enumerate(lines) if re.match(r"--[a-z]", line)]
    for start, end in itertools.pairwise([*headers, len(lines)]):
        words = " ".join(lines[start + 1 : end]).split("(default: ")[0].split()
        assert len(words) > 3, lines[start]
    assert f"(default: {PRESETS[preset].optimizer.learning_rate})" in " ".join(lines)


@pytest.mark.parametrize(
    "config",
    [
        *PRESETS.values(),
        TrainConfig(Path("d"), minutes=1.5),
        dataclasses.replace(PRESETS["default"], preset="official"),  # not one option of its own
    ],
)
def test_a_configuration_survives_its_file(config: TrainConfig, tmp_path: Path) -> None:
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config
    versions = yaml.safe_load((tmp_path / "config.yaml").read_text())["versions"]
    assert {"tcae", "torch", "python"} <= set(versions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: {learning_rat: 1}", "optimizer.learning_rat: unknown field, did you mean"),
        ("batch_size: many", "batch_size: need int, got 'many'"),
        ("batch_size: 0", "batch_size is 0"),
        ("pairs: {same: tracks}", "pairs.same: need one of track, video, got 'tracks'"),
        ("a: b: c", "not YAML"),
        ("3", "need named fields"),
    ],
)
def test_a_file_that_does_not_fit_names_the_field(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_config(tmp_path)
    assert "config.yaml" in str(caught.value)


def test_wrong_command_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--preset: need one of default, paper, official" in error_of(capsys, "--preset", "new")
    assert "--preset" in error_of(capsys, "--preset")
    assert "steps is 0" in error_of(capsys, "--steps", "0")
    error = error_of(capsys, "--batch-size", "32", "--micro-batches", "5")
    assert "micro_batches is 5, it must divide batch_size, 32" in error
    assert "--resume auto: needs --out" in error_of(capsys, "--resume", "auto")
    assert "--resume nowhere: no such run" in error_of(capsys, "--resume", "nowhere")
    assert "pairs.crop_min" in error_of(capsys, "--pairs.crop-min", "2")


def test_resuming_takes_the_options_of_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    saved = TrainConfig(
        out=run, preset="paper", steps=7, optimizer=OptimizerConfig(learning_rate=0.5)
    )
    save_config(saved, run)
    auto = parse("--out", str(run), "--resume", "auto", "--workers", "2")
    assert auto == dataclasses.replace(saved, resume="auto", workers=2)
    checkpoint = run / "checkpoints" / "step-00000007.pt"
    checkpoint.touch()
    for path in (run, checkpoint):
        assert parse("--resume", str(path)).optimizer.learning_rate == 0.5
        assert resumed_run(str(path), None).resolve() == run.resolve()  # type: ignore[union-attr]
    moved = run.rename(tmp_path / "moved")
    assert parse("--resume", str(moved)) == dataclasses.replace(saved, resume=str(moved), out=moved)


def test_what_would_break_exactness_is_refused_by_name() -> None:
    config = TrainConfig(steps=10, out=Path("run"))
    saved = plain_config(config)
    harmless = dataclasses.replace(
        config, data=Path("moved"), out=Path("."), minutes=3.0, workers=4, device="cpu",
        resume="auto", overwrite=True,
        checkpoints=dataclasses.replace(config.checkpoints, every=7, keep=1),
        logbook=dataclasses.replace(config.logbook, every=7),
        validation=dataclasses.replace(config.validation, panel_every=7),
    )  # fmt: skip
    check_resumable(saved, harmless, "run")
    for name, value in {"steps": 20, "seed": 1, "batch_size": 3, "image_size": 128}.items():
        with pytest.raises(ValueError, match=f"--{name.replace('_', '-')}: the run has"):
            check_resumable(saved, dataclasses.replace(config, **{name: value}), "run")
    with pytest.raises(ValueError, match=r"--pairs.flip: the run has True \(run\).*with False"):
        check_resumable(saved, dataclasses.replace(config, pairs=PairsConfig(flip=False)), "run")


def without(plain: dict[str, Any], name: str) -> dict[str, Any]:
    """A configuration as it was saved before there was the option of this dotted name."""
    group, _, field = name.rpartition(".")
    if group:
        return plain | {group: without(plain[group], field)}
    return {name: value for name, value in plain.items() if name != field}


@pytest.mark.parametrize(
    ("option", "before"),
    [
        ("compile", "none"),
        ("sync_batch_norm", True),
        ("micro_batches", 1),
        ("model.branches", "both"),
        ("objective.twin_every", 1),  # not their defaults
        ("objective.transfer", 0.0),
        ("objective.contrast_decorrelated", True),
        ("optimizer.betas", (0.9, 0.999)),
        ("recompute", False),  # no bit depends on these
        ("unseen.people", UnseenConfig().people),
    ],
)
def test_a_run_older_than_an_option_goes_on_without_it(
    option: str, before: object, tmp_path: Path
) -> None:
    group, _, field = option.rpartition(".")
    objective = ObjectiveConfig(twin_every=1, transfer=0.0, contrast_decorrelated=True)
    config = TrainConfig(steps=10, objective=objective)
    older = without(plain_config(config), option)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    now = load_config(tmp_path)
    assert getattr(getattr(now, group) if group else now, field) == before
    assert now == config
    check_resumable(older, now, "run")


def test_a_run_that_calls_the_order_of_losses_a_ranking_goes_on(tmp_path: Path) -> None:
    config = dataclasses.replace(PRESETS["official"], steps=10)
    older = plain_config(config)
    older["curriculum"]["ranking"] = older["curriculum"].pop("order")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert load_config(tmp_path) == config and config.curriculum.order == "term"
    check_resumable(older, config, "run")
    with pytest.raises(ValueError, match=r"--curriculum\.order: the run has term .*with sample"):
        curriculum = dataclasses.replace(config.curriculum, order="sample")
        check_resumable(older, dataclasses.replace(config, curriculum=curriculum), "run")


@pytest.mark.parametrize(("old", "new"), [(False, "none"), (True, "passes")])
def test_a_run_that_was_compiled_or_not_goes_on(tmp_path: Path, old: bool, new: Compiled) -> None:
    config = TrainConfig(compile=new)
    older = plain_config(config) | {"compile": old}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert load_config(tmp_path) == config
    check_resumable(older, config, "run")
    with pytest.raises(ValueError, match=f"--compile: the run has {new} "):
        check_resumable(older, dataclasses.replace(config, compile="step"), "run")


def test_a_run_that_still_has_a_retired_option_goes_on(tmp_path: Path) -> None:
    config = TrainConfig(steps=10)
    older = plain_config(config)
    older["model"]["mask_tanh"] = True
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(older))
    assert load_config(tmp_path) == config
    check_resumable(older, config, "run")
    older["model"]["mask_tanh"] = False
    with pytest.raises(ValueError, match=r"run: model\.mask_tanh: .* can only be True, got False"):
        check_resumable(older, config, "run")


def test_a_run_older_than_a_group_of_free_options_goes_on() -> None:
    config = TrainConfig(steps=10)
    check_resumable(without(plain_config(config), "unseen"), config, "run")


def test_orders_for_one_invocation_are_not_saved() -> None:
    """All else is: the file says how a run was made."""
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert names - set(plain_config(TrainConfig())) == {"config", "profile", "resume", "overwrite"}


def test_a_run_older_than_a_change_of_what_is_learned_is_refused() -> None:
    saved = plain_config(TrainConfig(objective=ObjectiveConfig(twin_every=4)))
    with pytest.raises(ValueError, match=r"--objective\.twin-every: the run has 1 .*with 4"):
        check_resumable(without(saved, "objective.twin_every"), TrainConfig(), "run")
    with pytest.raises(ValueError, match=r"--pairs\.together: the run has None"):
        check_resumable(without(saved, "pairs.together"), TrainConfig(), "run")


@pytest.mark.parametrize("group", [None, "model"])
def test_an_option_that_is_not_known_yet_is_named(group: str | None) -> None:
    saved = plain_config(TrainConfig())
    (saved[group] if group else saved)["holography"] = 3
    name = f"{group}.holography" if group else "holography"
    with pytest.raises(ValueError, match=rf"a\.pt: {name}: unknown field"):
        check_resumable(saved, TrainConfig(), "a.pt")


def test_the_number_of_steps_is_the_presets_unless_given() -> None:
    assert with_steps(TrainConfig()).steps == PRESET_STEPS["default"]
    assert with_steps(TrainConfig(minutes=1.0)).steps is None
    assert with_steps(TrainConfig(minutes=1.0, steps=3)).steps == 3


def test_the_configuration_for_a_gpu_is_the_default_in_larger_batches() -> None:
    """Rates by the square root of the batch; what is counted in steps lasts as many pairs."""
    path = Path(__file__).parents[2] / "examples/gpu.yaml"
    found, default = parse("--config", str(path)), PRESETS["default"]
    times = found.batch_size / default.batch_size
    rate = default.optimizer.learning_rate * times**0.5
    warmup = default.optimizer.warmup_steps / times
    assert found.optimizer == dataclasses.replace(
        default.optimizer, learning_rate=rate, warmup_steps=warmup
    )
    lengths = {
        name: getattr(default.objective, name) / times
        for name in ("ramp_start", "ramp_steps", "contrast_ramp")
    }
    assert found.objective == dataclasses.replace(default.objective, **lengths)
    assert found.steps == 30_000 / times
    assert (found.model, found.pairs, found.curriculum) == (
        default.model,
        default.pairs,
        default.curriculum,
    )


def test_the_printed_configuration_marks_what_differs_from_the_preset() -> None:
    text = describe(TrainConfig(seed=3, optimizer=OptimizerConfig(learning_rate=0.5)))
    assert "seed=3*" in text
    assert "learning_rate=0.5*" in text
    assert "batch_size=32 " in text
