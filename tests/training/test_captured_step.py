"""A whole step as a graph: on a CPU, by a stand-in that repeats operators as a GPU does kernels."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tcae.data.shards import PackedDataset
from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum, CurriculumConfig
from tcae.objectives.objective_config import OBJECTIVE_PRESETS
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training import captured_step
from tcae.training.captured_step import CapturedStep, CudaGraph
from tcae.training.config import TrainConfig
from tcae.training.device import Compiled
from tcae.training.optimizer import OPTIMIZER_PRESETS, Optimizer
from tcae.training.run_directory import find_run, prepare_run
from tcae.training.step import Numbers, Schedule, TrainingStep
from tcae.training.trainer import Trainer
from tcae.training.trial_steps import TrialSteps

T = TypeVar("T")
CPU = torch.device("cpu")
STEPS = 11
WAITS = {"aten._local_scalar_dense.default", "aten.nonzero.default", "aten.equal.default"}


def tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


class Watch(TorchDispatchMode):
    """Keeps every call of an operator with its arguments: the same tensors, numbers as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # all memory read that was there before
        self._made: dict[int, Tensor] = {}

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if str(operator) in WAITS:
            raise RuntimeError("operation not permitted when stream is capturing")
        inputs = {memory(tensor): tensor for tensor in tensors((args, kwargs))}
        for place, tensor in inputs.items():
            if place not in self._made and place not in self.before:
                whole = tensor.detach().as_strided(
                    (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0
                )
                self.before[place] = whole, whole.clone()
        results = operator(*args, **(kwargs or {}))
        new = [(n, t) for n, t in enumerate(tensors(results)) if memory(t) not in inputs]
        self._made |= {memory(tensor): tensor for _, tensor in new}
        self.calls.append((operator, args, kwargs or {}, new))
        return results


def memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class Tape(CudaGraph):
    """Records operators on a CPU. As on a GPU, recording computes nothing that stays."""

    def __init__(self, device: torch.device) -> None:
        self._calls: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []

    def aside(self, run: Callable[[], T]) -> T:
        return run()

    def record(self, run: Callable[[], T]) -> T:
        random = torch.get_rng_state()
        with Watch() as watch:
            result = run()
        torch.set_rng_state(random)
        with torch.no_grad():
            for now, before in watch.before.values():
                now.copy_(before)
            for *_, new in watch.calls:
                for _, tensor in new:
                    if tensor.is_floating_point():
                        tensor.detach().fill_(torch.nan)  # nobody may read what is not recorded
        self._calls = watch.calls
        return result

    def replay(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for operator, args, kwargs, new in self._calls:
                found = tensors(operator(*args, **kwargs))
                for number, tensor in new:
                    tensor.copy_(found[number])


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has steps recorded on a CPU, after one step of the kind."""
    monkeypatch.setattr(captured_step, "CudaGraph", Tape)
    monkeypatch.setattr(captured_step, "_WARM_UP", 1)


class Run:
    """A small training in which ramps, the rate and the window change."""

    def __init__(self, preset: str, captured: bool) -> None:
        torch.manual_seed(0)
        config = replace(MODEL_PRESETS[preset], base_filters=4, embedding_size=8)
        self.model = TwinCycle(Encoder(config, 32))
        losses = replace(
            OBJECTIVE_PRESETS[preset],
            ramp_start=3,
            ramp_steps=4,
            contrast_ramp=20,
            twin_every=1,
        )
        self.objective = objective = TwinCycleObjective(self.model, losses)
        self.curriculum = Curriculum(CurriculumConfig(((0.0, 0.5), (0.25, 1.0)), patience=1))
        rates = replace(OPTIMIZER_PRESETS[preset], warmup_steps=3, schedule="cosine")
        self.optimizer = Optimizer(objective.parameters(), rates)
        step = TrainingStep(objective, objective, self.curriculum, self.optimizer)
        self._step = CapturedStep(step, CPU) if captured else step
        self._images = torch.Generator().manual_seed(1)

    def take(self, first: int = 0) -> list[Numbers]:
        """Take the steps. Step 6 has a face of nothing but NaN, and is skipped."""
        torch.manual_seed(2)
        outcomes = []
        for number in range(first, STEPS):
            images = torch.rand(2, 4, 3, 32, 32, generator=self._images)
            source, target = images * (torch.nan if number == 6 else 1)
            batch = {"source": source, "target": target, "tracks": torch.arange(4) // 2}
            batch["failures"] = torch.tensor(float(number == 2))
            outcomes.append(self._step(batch, number, STEPS))
            if number == 7:
                assert [self.curriculum.observe(loss) for loss in (1.0, 2.0)] == [False, True]
        # Read late, as a trainer on a GPU does: later steps must not have changed them.
        return [outcome.read() for outcome in outcomes]

    def state(self) -> list[Tensor]:
        return tensors((self.model.state_dict(), self.optimizer.state_dict()))


@functools.cache
def plain(preset: str) -> tuple[list[str], list[Tensor]]:
    """The numbers of steps that are not recorded, and what they end with."""
    run = Run(preset, captured=False)
    return [repr(numbers) for numbers in run.take()], run.state()


def same(captured: Run, preset: str) -> bool:
    """Whether it takes the same steps, to the last bit."""
    numbers, state = plain(preset)
    # As texts: there NaN is equal to itself.
    equal = [repr(found) for found in captured.take()] == numbers
    return equal and all(torch.equal(a, b) for a, b in zip(captured.state(), state, strict=True))


@pytest.mark.parametrize("preset", ["default", "official"])
def test_replayed_steps_have_the_bits_of_steps(tape: None, preset: str) -> None:
    assert same(Run(preset, captured=True), preset)


@pytest.mark.parametrize("number", ["rate", "pose_share", "cycle_au"])
def test_a_number_that_stays_in_the_recording_is_found(
    tape: None, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    class Inputs(captured_step._Inputs):
        def __init__(self, batch: Any, schedule: Schedule) -> None:
            super().__init__(batch, schedule)
            ramps, rate = self.schedule
            if number == "rate":
                rate = schedule.rate
            elif number == "pose_share":
                ramps = ramps._replace(pose_share=schedule.ramps.pose_share)
            elif number in ramps.weights:
                own = {number: schedule.ramps.weights[number]}
                ramps = ramps._replace(weights={**ramps.weights, **own})
            self.schedule = Schedule(ramps, rate)

    monkeypatch.setattr(captured_step, "_Inputs", Inputs)
    assert not same(Run("default", captured=True), "default")


def test_a_wait_for_the_gpu_is_refused_by_name(tape: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("paper", captured=True)
    loss = Curriculum.loss

    def waits(curriculum: Curriculum, terms: Any, weights: Any) -> Tensor:
        return loss(curriculum, terms, weights) * terms["rec"].detach().mean().item()

    monkeypatch.setattr(Curriculum, "loss", waits)
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        run.take()


class Stops(Trainer):
    """Gets a signal in the middle of a step that is replayed."""

    def _learn(self, batch: dict[str, Tensor], waited: float) -> float:
        if self.step == 3 and self.config.resume is None:
            os.kill(os.getpid(), signal.SIGTERM)
        return super()._learn(batch, waited)


def test_a_whole_run_is_the_same_and_resumes_to_the_bit(
    tape: None,
    tiny: TrainConfig,
    tmp_path: Path,
    assert_same_run: Callable[[Path, Path], None],
) -> None:
    """With validations, windows that move, and parts of the batch."""
    validation = replace(tiny.validation, every=4, panel_every=9)
    config = replace(tiny, steps=8, micro_batches=2, validation=validation)
    assert config.data is not None

    def train(compiled: Compiled, **changes: Any) -> Path:
        now = replace(config, out=tmp_path / compiled, compile=compiled, **changes)
        run, checkpoint = find_run(now)
        kind = Stops if compiled == "step" else Trainer
        trainer = kind(now, PackedDataset(config.data), run, checkpoint)
        prepare_run(run, now, checkpoint)
        trainer.fit()
        return run

    train("step")
    assert_same_run(train("none"), train("step", resume="auto"))


def test_steps_on_trial_are_replayed_too(tape: None) -> None:
    run = Run("default", captured=False)
    pair = torch.rand(2, 4, 3, 32, 32)
    steps = TrialSteps(
        run.objective, run.objective, run.curriculum, (pair[0], pair[1]), "fp32", "step"
    )
    before, random = [tensor.clone() for tensor in run.state()], torch.get_rng_state()
    assert steps.seconds() > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(a, b) for a, b in zip(run.state(), before, strict=True))


class StandIn:
    """What of torch.cuda a graph uses. It writes down what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.inside = "main"

    def graph_of(self, error: Exception | None) -> tuple[CudaGraph, Callable[[], str]]:
        def run() -> str:
            if error is not None:
                raise error
            return self.inside

        return CudaGraph(torch.device("cuda")), run

    def current_stream(self, device: object) -> Any:
        return SimpleNamespace(wait_stream=lambda other: self.asked.append("main waits"))

    def Stream(self, device: object) -> Any:
        waits = lambda other: self.asked.append("side waits")  # noqa: E731
        return SimpleNamespace(device=device, wait_stream=waits, name="side")

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=lambda: self.asked.append("replayed"))

    @contextlib.contextmanager
    def stream(self, stream: Any) -> Iterator[None]:
        self.inside = stream.name
        yield
        self.inside = "main"

    @contextlib.contextmanager
    def graph(self, graph: Any, **options: Any) -> Iterator[None]:
        inspect.signature(REAL_GRAPH).bind(graph, **options)
        assert options["capture_error_mode"] == "thread_local"
        with self.stream(options["stream"]):
            self.asked.append("recorded")
            yield


REAL_GRAPH = torch.cuda.graph


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    for name in ("current_stream", "Stream", "CUDAGraph", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, getattr(stand_in, name))
    return stand_in


def test_a_graph_is_prepared_and_recorded_on_one_stream(cuda: StandIn) -> None:
    graph, run = cuda.graph_of(None)
    assert graph.aside(run) == "side"
    assert graph.record(run) == "side"
    graph.replay()
    assert cuda.asked == ["side waits", "main waits", "recorded", "replayed"]


def test_a_step_that_cannot_be_recorded_is_one_line(cuda: StandIn) -> None:
    graph, run = cuda.graph_of(RuntimeError("CUDA error: stream is capturing\nmore"))
    with pytest.raises(
        ValueError, match=r"^--compile step: the GPU cannot record a step \(CUDA"
    ) as e:
        graph.record(run)
    assert "more" not in str(e.value)


def test_a_gpu_and_a_process_of_its_own_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="--compile step: needs a GPU, the device is cpu"):
        Run("paper", captured=True)
    monkeypatch.setattr("tcae.distributed.ranks.world_size", lambda: 8)
    with pytest.raises(ValueError, match="--compile step: there are 8 processes"):
        CudaGraph(torch.device("cuda"))
