from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tcae.data.fingerprint import fingerprint
from tcae.data.shard_files import ShardError
from tcae.data.shards import PackedDataset
from tcae.models.encoder_file import load_encoder
from tcae.training import profiling
from tcae.training import trainer as trainer_module
from tcae.training.checkpoints import CheckpointFolder, read_checkpoint
from tcae.training.command_line import command_line_defaults
from tcae.training.config import TrainConfig
from tcae.training.logbook import LogbookConfig
from tcae.training.run_directory import find_run, prepare_run
from tcae.training.trainer import Trainer

Compare = Callable[[Path, Path], None]


def trainer_of(
    config: TrainConfig, kind: Callable[..., Trainer] = Trainer, **changes: Any
) -> Trainer:
    config = dataclasses.replace(config, **changes)
    run, checkpoint = find_run(config)
    assert config.data is not None
    trainer = kind(config, PackedDataset(config.data), run, checkpoint)
    prepare_run(run, config, checkpoint)
    return trainer


def train(config: TrainConfig, **changes: Any) -> Path:
    trainer = trainer_of(config, **changes)
    assert trainer.fit() == 0
    return trainer.run


def records(run: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


class Stops(Trainer):
    """Gets a signal in the middle of a step."""

    at, number = 5, signal.SIGTERM

    def _learn(self, batch: dict[str, torch.Tensor], waited: float) -> float:
        if self.step == self.at:
            os.kill(os.getpid(), self.number)
        return super()._learn(batch, waited)


def test_the_record_of_a_run(tiny: TrainConfig) -> None:
    run = train(tiny)
    lines = records(run, "train")
    assert [line["step"] for line in lines] == [3, 6, 9, 12]
    wanted = {"loss", "rec", "sparsity", "gradient_norm", "update_norm", "learning_rate"}
    wanted |= {"images_per_second"}
    assert wanted <= set(lines[0])
    assert "cycle_au" not in lines[0]  # the ramp starts later
    assert "cycle_au" in lines[-1]
    validations = records(run, "val")
    assert [line["step"] for line in validations] == [2, 4, 6, 8, 10, 12]
    first = validations[0]
    assert first["recon_ratio"] == pytest.approx(first["recon_l1"] / first["identity_l1"])
    assert first["identity_l1"] == validations[-1]["identity_l1"]  # the same pairs each time
    assert all(0 <= line["probe_auc"] <= 1 for line in validations)
    assert [path.name for path in sorted((run / "panels").iterdir())] == [
        "step-00000006.png",
        "step-00000012.png",
    ]
    board = EventAccumulator(str(run)).Reload()
    assert [event.step for event in board.Scalars("val/loss")] == [2, 4, 6, 8, 10, 12]
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == [
        "best.pt",
        "step-00000008.pt",
        "step-00000012.pt",
    ]


def test_a_program_is_told_of_every_step_and_validation(tiny: TrainConfig) -> None:
    steps: dict[int, Any] = {}
    validations: dict[int, Any] = {}
    kind = partial(
        type("One", (Breaks,), {"first": 2, "last": 2}),
        on_step=steps.__setitem__,
        on_validation=validations.__setitem__,
    )
    run = trainer_of(tiny, kind=kind, steps=4, logbook=LogbookConfig(every=1))
    assert run.fit() == 0
    assert list(steps) == [1, 3, 4]  # the second one was skipped
    for line in records(run.run, "train"):
        told = steps.get(int(line["step"]), {})
        assert told == {name: value for name, value in line.items() if name in told}
    assert {"loss", "rec", "gradient_norm", "update_norm"} <= set(steps[4])
    measured = [{k: v for k, v in line.items() if k != "kind"} for line in records(run.run, "val")]
    assert measured == [{"step": step, **values} for step, values in validations.items()]
    assert list(validations) == [2, 4]


def test_the_summary_is_flat_numbers(tiny: TrainConfig) -> None:
    trainer = trainer_of(tiny)
    trainer.fit()
    summary = trainer.summary()
    wanted = "steps val_loss recon_l1 identity_l1 recon_ratio images_per_second data_wait_share"
    assert {*wanted.split(), "peak_memory_mb", "minutes", "parameters"} <= set(summary)
    assert all(isinstance(value, (int, float)) for value in summary.values())
    assert summary["steps"] == 12
    assert summary["recon_ratio"] == records(trainer.run, "val")[-1]["recon_ratio"]


def test_the_best_checkpoint_is_that_of_the_best_validation(tiny: TrainConfig) -> None:
    run = train(tiny)
    validations = records(run, "val")
    best = min(validations, key=lambda line: line["loss"])
    state = read_checkpoint(run / "checkpoints" / "best.pt")
    assert (state["step"], state["best"]) == (best["step"], best["loss"])


def test_the_validation_loss_moves_the_window(tiny: TrainConfig) -> None:
    run = train(tiny)
    best, stale, moves = float("inf"), 0, 0
    for line in records(run, "val"):
        stale = 0 if line["loss"] < best else stale + 1
        best = min(best, line["loss"])
        if stale and moves < 2:
            best, stale, moves = float("inf"), 0, moves + 1
    windows = [line["window_low"] for line in records(run, "train")]
    assert moves > 0  # or this test says nothing
    assert CheckpointFolder(run / "checkpoints").latest()[1]["curriculum"]["window"] == moves  # type: ignore[index]
    assert windows == sorted(windows)


def test_the_same_seed_gives_the_same_bits_whoever_reads_the_data(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    one = train(tiny, out=tmp_path / "one")
    assert_same_run(one, train(tiny, out=tmp_path / "two"))
    assert_same_run(one, train(tiny, out=tmp_path / "three", workers=2))
    with pytest.raises(AssertionError):
        assert_same_run(one, train(tiny, out=tmp_path / "four", seed=1))


@pytest.mark.parametrize(("at", "number"), [(4, signal.SIGTERM), (6, signal.SIGINT)])
def test_a_stopped_run_goes_on_as_if_nothing_had_been(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare, at: int, number: int
) -> None:
    whole = train(tiny, out=tmp_path / "whole")
    trainer = trainer_of(tiny, kind=type("At", (Stops,), {"at": at, "number": number}))
    before = signal.getsignal(number)
    assert trainer.fit() == number
    assert signal.getsignal(number) == before
    assert trainer.step == at + 1  # the step was finished, and saved
    assert CheckpointFolder(trainer.run / "checkpoints").latest()[1]["step"] == at + 1  # type: ignore[index]
    assert_same_run(whole, train(tiny, resume="auto"))


def test_any_checkpoint_can_be_gone_back_to(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    whole = train(tiny, out=tmp_path / "whole")
    run = train(tiny)
    assert_same_run(whole, train(tiny, resume=str(run / "checkpoints" / "step-00000008.pt")))
    assert_same_run(whole, train(tiny, resume=str(run / "checkpoints" / "best.pt")))
    assert_same_run(whole, train(tiny, resume="auto"))  # finished: nothing is left to do


def test_a_run_begun_before_an_option_existed_goes_on(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    whole = train(tiny, out=tmp_path / "whole")
    run = train(tiny)
    folder = CheckpointFolder(run / "checkpoints")
    state = read_checkpoint(folder.path / "step-00000008.pt")
    for older in (state["config"], settings := yaml.safe_load((run / "config.yaml").read_text())):
        del older["compile"], older["recompute"], older["optimizer"]["betas"]
    folder.save(state)
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    path = str(folder.path / "step-00000008.pt")
    assert_same_run(whole, train(command_line_defaults(["--resume", path]), resume=path))


def test_a_damaged_latest_checkpoint_costs_only_the_steps_since_the_one_before(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train(tiny, out=tmp_path / "whole")
    run = train(tiny)
    latest = run / "checkpoints" / "step-00000012.pt"
    latest.write_bytes(latest.read_bytes()[:-100])
    trainer = trainer_of(tiny, resume="auto")
    assert trainer.step == 8
    assert f"{latest}: damaged or not a checkpoint" in caplog.text
    trainer.fit()
    assert_same_run(whole, run)


def test_the_best_checkpoint_is_enough_to_go_on_exactly(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train(tiny, out=tmp_path / "whole")
    run = train(tiny)
    folder = CheckpointFolder(run / "checkpoints")
    earlier, _ = folder.numbered()
    (folder.path / "best.pt").write_bytes(earlier.read_bytes())
    for path in folder.numbered():
        path.write_bytes(path.read_bytes()[:-100])
    trainer = trainer_of(tiny, resume="auto")
    assert trainer.step == 8
    assert "best.pt: going on from the best checkpoint, of step 8" in caplog.text
    trainer.fit()
    assert_same_run(whole, run)


def test_another_encoder_trains_and_resumes_alike(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    config = replace(tiny, model=replace(tiny.model, encoder="residual"))
    whole = train(config, out=tmp_path / "whole")
    assert trainer_of(config, kind=Stops).fit() == signal.SIGTERM
    assert_same_run(whole, train(config, resume="auto"))
    with pytest.raises(ValueError, match=r"--model\.encoder: the run has residual"):
        find_run(replace(tiny, resume="auto"))


def test_resume_auto_starts_where_there_is_nothing(tiny: TrainConfig) -> None:
    assert trainer_of(tiny, resume="auto").step == 0
    (tiny.out / "metrics.jsonl").write_text("a line of a run killed before its first checkpoint\n")  # type: ignore[operator]
    run = train(tiny, resume="auto")
    assert [line["step"] for line in records(run, "train")] == [3, 6, 9, 12]


class Behind(Trainer):
    """Reads the numbers of a step after the next one was launched, as on a GPU."""

    def _take_note(self, leave: int | None = None) -> None:
        super()._take_note(0 if leave is None else 1)


class Breaks(Trainer):
    """From step `first` to step `last` the first pair's target is not finite."""

    first, last = 5, 5

    def _learn(self, batch: dict[str, torch.Tensor], waited: float) -> float:
        if self.first <= self.step + 1 <= self.last:
            batch = batch | {"target": batch["target"].float() / 255}
            batch["target"][0, 0, 0, 0] = torch.nan
        return super()._learn(batch, waited)


def test_a_loss_that_is_not_finite_costs_one_step_and_leaves_a_dump(
    tiny: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    four_steps = type("FourSteps", (Stops,), {"at": 3})
    before = trainer_of(tiny, kind=four_steps, out=tiny.out.parent / "before")  # type: ignore[union-attr]
    assert before.fit() == signal.SIGTERM
    trainer = trainer_of(tiny, kind=Breaks)  # it sets the seed
    assert trainer.fit() == 0
    assert trainer.summary()["skipped_steps"] == 1
    assert all(tensor.isfinite().all() for tensor in trainer.model.state_dict().values())
    assert all(line["loss"] is not None for line in records(trainer.run, "train"))
    [line] = [m for m in caplog.messages if "not finite" in m]
    dump = trainer.run / "not-finite" / "step-00000005.pt"
    assert line.startswith("step 5: not finite: rec, ")
    assert str(dump) in line
    assert line.endswith("skipped, 1 of at most 3")
    found = torch.load(dump, weights_only=True)
    frames = trainer.data.pairs[4]["frames"].tolist()
    assert found["pairs"] == [[trainer.data.first.name(i) for i in pair] for pair in frames]
    assert f"(pairs {' > '.join(found['pairs'][0])}, " in line
    assert found["target"].isnan().sum() == 1
    assert not found["terms"]["rec"].isfinite().any()  # batch norm spreads it
    # The weights, and the statistics of batch norm, from which the step can be repeated.
    for name, tensor in before.model.state_dict().items():
        assert torch.equal(found["model"][name], tensor), name


def test_a_run_is_the_same_if_numbers_are_read_a_step_late(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    at_once = trainer_of(tiny, kind=Breaks, out=tmp_path / "at-once")
    at_once.fit()
    late = trainer_of(tiny, kind=type("Both", (Breaks, Behind), {}))
    late.fit()
    assert late.skipped.count == 1
    assert_same_run(at_once.run, late.run)


def test_a_checkpoint_knows_of_the_last_step_although_it_was_not_read_yet(
    tiny: TrainConfig,
) -> None:
    kind = type("All", (Breaks, Behind, Stops), {"at": 4})
    assert trainer_of(tiny, kind=kind).fit() == signal.SIGTERM
    assert trainer_of(tiny, resume="auto").skipped.count == 1


def test_too_many_such_steps_stop_the_run_and_keep_the_checkpoint(tiny: TrainConfig) -> None:
    kind = type("Often", (Breaks,), {"first": 6, "last": 99})
    trainer = trainer_of(tiny, kind=kind, max_skipped=4)
    message = r"^step 10: not finite: rec, .*step-00000010\.pt\); stopped after 4 skipped steps$"
    with pytest.raises(FloatingPointError, match=message):
        trainer.fit()
    assert len(list((trainer.run / "not-finite").iterdir())) == 5
    assert CheckpointFolder(trainer.run / "checkpoints").latest()[1]["step"] == 8  # type: ignore[index]


def test_a_skipped_step_is_skipped_again_after_a_restart(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    whole = trainer_of(tiny, kind=Breaks, out=tmp_path / "whole")
    whole.fit()
    kind = type("Both", (Breaks, Stops), {"at": 5})
    assert trainer_of(tiny, kind=kind).fit() == signal.SIGTERM
    resumed = trainer_of(tiny, kind=Breaks, resume="auto", max_skipped=0)
    assert resumed.skipped.count == 1
    resumed.fit()
    assert_same_run(whole.run, resumed.run)


def test_a_gradient_that_is_not_finite_is_noticed_before_it_moves_a_weight(
    tiny: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    class Steep(Trainer):
        def _learn(self, batch: dict[str, torch.Tensor], waited: float) -> float:
            weight = self.model.encoder.backbone[0][0].weight  # type: ignore[index, union-attr]
            hook = weight.register_hook(lambda grad: grad * torch.inf)
            before = weight.detach().clone()
            rate = super()._learn(batch, waited)
            assert torch.equal(weight, before)
            hook.remove()
            return rate

    trainer = trainer_of(tiny, kind=Steep, max_skipped=0)
    with pytest.raises(FloatingPointError, match=r"^step 1: not finite: the gradient \(pairs "):
        trainer.fit()


def test_a_resumed_run_computes_with_as_many_threads_as_before(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    torch.set_num_threads(2)
    whole = train(tiny, out=tmp_path / "whole")
    assert trainer_of(tiny, kind=Stops).fit() == signal.SIGTERM
    torch.set_num_threads(1)
    assert_same_run(whole, train(tiny, resume="auto"))
    assert torch.get_num_threads() == 2


def test_the_clock_may_be_set_back(
    tiny: TrainConfig,
    tmp_path: Path,
    assert_same_run: Compare,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = train(tiny, out=tmp_path / "whole")
    assert trainer_of(tiny, kind=Stops).fit() == signal.SIGTERM
    monkeypatch.setattr(time, "time", lambda: 1e9)  # 2001: before all that is on the disk
    os.utime(tiny.out / "checkpoints" / "step-00000004.pt", (4e9, 4e9))  # type: ignore[operator]
    assert_same_run(whole, train(tiny, resume="auto"))


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tiny: TrainConfig) -> None:
    class Breaks(Trainer):
        def _save(self, best: bool = False) -> None:
            if self.step == 8 and not best:
                self.model.encoder.backbone[0][1].running_var[0] = torch.inf  # type: ignore[index]
            super()._save(best)

    trainer = trainer_of(tiny, kind=Breaks)
    with pytest.raises(FloatingPointError, match=r"step 8: weight .*running_var is not finite"):
        trainer.fit()
    assert [path.name for path in CheckpointFolder(trainer.run / "checkpoints").numbered()] == [
        "step-00000004.pt"
    ]


def test_minutes_become_steps_and_stay_so(
    tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcae.training.run_length._TIMED_STEPS", 4)  # also where cores are busy
    free = dataclasses.replace(tiny, steps=None, minutes=0.08)
    trainer = trainer_of(free)
    assert trainer.fit() == 0
    assert trainer.length.total_steps is not None
    assert trainer.step <= trainer.length.total_steps
    assert trainer.summary()["minutes"] < 0.5  # cores may be busier after the steps are timed
    state = CheckpointFolder(trainer.run / "checkpoints").latest()[1]  # type: ignore[index]
    assert state["total_steps"] == trainer.length.total_steps
    resumed = trainer_of(free, resume="auto", minutes=5.0)
    assert resumed.length.total_steps == trainer.length.total_steps


@pytest.mark.parametrize("steps", [6, 20, 21])
def test_steps_limit_minutes(tiny: TrainConfig, steps: int) -> None:
    trainer = trainer_of(tiny, steps=steps, minutes=5.0)
    trainer.fit()
    assert trainer.step == steps


def test_timing_leaves_no_trace(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    cosine_free = dataclasses.replace(tiny.optimizer, schedule="constant")
    constant = dataclasses.replace(tiny, steps=21, optimizer=cosine_free)
    whole = train(constant, out=tmp_path / "constant")
    assert_same_run(whole, train(constant, minutes=5.0))


def test_profile_and_flop_a_second_are_told_and_change_no_bit(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "WARMUP", 2)
    monkeypatch.setattr(trainer_module, "_COUNTED_FROM", 3)
    watched = train(tiny, out=tmp_path / "watched", profile=1, steps=5)
    names = {path.name for path in (watched / "profile").iterdir()}
    assert names == {"trace.json", "operators.txt"}
    assert [line["tflop_per_second"] > 0 for line in records(watched, "train")] == [True, True]
    monkeypatch.undo()
    plain = train(tiny, steps=5)
    assert not any("tflop_per_second" in line for line in records(plain, "train"))
    assert_same_run(watched, plain)


def test_bf16_trains_too(tiny: TrainConfig) -> None:
    bf16, fp32 = (dataclasses.replace(tiny.optimizer, precision=p) for p in ("bf16", "fp32"))
    trainer = trainer_of(tiny, optimizer=bf16, steps=4)
    assert trainer.fit() == 0
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())
    other = trainer_of(tiny, optimizer=fp32, out=trainer.run.parent / "fp32", steps=4)
    other.fit()
    weights = zip(trainer.model.parameters(), other.model.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in weights)


def test_recomputing_changes_no_bit(
    tiny: TrainConfig, tmp_path: Path, assert_same_run: Compare
) -> None:
    whole = train(tiny, out=tmp_path / "whole")
    assert_same_run(whole, train(tiny, recompute=True))


def test_compiled_passes_are_those_of_training(
    tiny: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[bool] = []

    def compiled(
        passed: Callable[..., torch.Tensor], mode: str | None, dynamic: bool
    ) -> Callable[..., Any]:
        assert mode is None  # CUDA graphs are for GPUs

        def run(*inputs: torch.Tensor) -> torch.Tensor:
            called.append(torch.is_grad_enabled())
            return passed(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    train(tiny, compile="passes", steps=2)
    # Four parts that encode and two that decode, in each step at least once, with a gradient.
    assert len(called) >= 2 * 6 and all(called)


def test_the_exported_encoder_is_the_trained_one(tiny: TrainConfig) -> None:
    trainer = trainer_of(tiny)
    trainer.fit()
    encoder = load_encoder(trainer.export_encoder().parent)
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(encoder.embed(images).au, trainer.model.eval().encoder(images).au)
    assert encoder.template == trainer.data.first.template.to_dict()


CLIPS = {(f"id{i}", f"video{i}", "0"): 4 for i in range(40)}


def test_other_frames_are_no_resumption(
    tiny: TrainConfig, pack_frames: Callable[..., Path]
) -> None:
    train(tiny)
    other = pack_frames(CLIPS)
    with pytest.raises(ValueError, match=f"--data {other}: other frames than the run was trained"):
        trainer_of(tiny, resume="auto", data=other)


def test_frames_are_the_same_in_other_shards_elsewhere(pack_frames: Callable[..., Path]) -> None:
    one, other = pack_frames(CLIPS, name="one"), pack_frames(CLIPS, name="other", shards=3)
    assert fingerprint(PackedDataset(one)) == fingerprint(PackedDataset(other))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("model", "model: tensor .* is missing"),
        ("optimizer", "field optimizer does not fit"),
        ("curriculum", "field curriculum does not fit"),
        ("random", "field random does not fit"),
    ],
)
def test_a_checkpoint_that_does_not_fit_says_where(
    tiny: TrainConfig, field: str, message: str
) -> None:
    run = train(tiny)
    folder = CheckpointFolder(run / "checkpoints")
    state = folder.latest()[1]  # type: ignore[index]
    path = folder.save({**state, field: {"torch": {}, "plateau": {}, "window": 99}})
    with pytest.raises(ValueError, match=f"{path.name}: {message}"):
        trainer_of(tiny, resume="auto")


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_cannot_be_read_at_all_is_one_line(
    tiny: TrainConfig, pack_frames: Callable[..., Path], workers: int
) -> None:
    data = pack_frames(CLIPS)
    trainer = trainer_of(tiny, data=data, workers=workers)
    [shard] = (data / "shards").glob("*.bin")
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(ShardError, match=r"^no readable pair in .*0000\.bin") as caught:
        trainer.fit()
    assert "\n" not in str(caught.value)
    assert active_children() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_no_worker_outlives_an_error(tiny: TrainConfig, error: type[BaseException]) -> None:
    class Breaks(Trainer):
        def _learn(self, batch: dict[str, torch.Tensor], waited: float) -> float:
            raise error

    trainer = trainer_of(tiny, kind=Breaks, workers=2)
    with pytest.raises(error) as held:  # the traceback would keep the workers' owner alive
        trainer.fit()
    assert active_children() == []
    assert held.type is error


@pytest.mark.parametrize(
    "error",
    [RuntimeError("DataLoader worker (pid 1) is killed"), ConnectionResetError(), EOFError()],
)
def test_every_sign_of_a_dead_worker_is_understood(tiny: TrainConfig, error: Exception) -> None:
    class Breaks(Trainer):
        def _learn(self, batch: dict[str, torch.Tensor], waited: float) -> float:
            raise error

    with pytest.raises(ChildProcessError, match=r"a data worker died \(.+\); --resume auto"):
        trainer_of(tiny, kind=Breaks).fit()
