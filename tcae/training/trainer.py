"""The training loop of the twin-cycle autoencoder."""

from __future__ import annotations

import contextlib
import math
from collections import deque
from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tcae.cli.command import device_of
from tcae.cli.progress import Progress, Stopwatch, say
from tcae.cli.signals import StopSignals
from tcae.data.mixture import Mixture
from tcae.data.shards import PackedDataset
from tcae.distributed import ranks, team
from tcae.models.batch_norm import convert_sync_batch_norm
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import ENCODER_FILE, load_weights, save_encoder
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.report.panels import pair_panel
from tcae.training.captured_step import CapturedStep
from tcae.training.checkpoints import CheckpointFolder
from tcae.training.config import TrainConfig, plain_config
from tcae.training.device import (
    begin_step,
    configure_passes,
    data_parallel,
    deterministic,
    random_state,
    set_random_state,
)
from tcae.training.loader import INPUTS, explain_lost_worker, feed
from tcae.training.logbook import Logbook
from tcae.training.optimizer import Optimizer
from tcae.training.profiling import StepsProfile
from tcae.training.refit_decorrelation import refit_decorrelation
from tcae.training.run_data import RunData
from tcae.training.run_directory import CHECKPOINTS, PANELS, PROFILE, SKIPPED
from tcae.training.run_length import RunLength
from tcae.training.skipped_steps import SkippedSteps
from tcae.training.step import Outcome, TrainingStep
from tcae.training.time_budget import first_full_step
from tcae.training.trackers import Trackers
from tcae.training.trial_steps import TrialSteps
from tcae.training.validation import validation_line

_COUNTED_FROM = 100  # step from which on lines tell FLOP/s: counting takes as long as some steps


Hook = Callable[[int, Mapping[str, float]], object]
"""What a program has the trainer call: with the number of steps, and numbers by name."""


class _Launched(NamedTuple):
    """A step whose numbers have not been read."""

    step: int  # from 1
    batch: dict[str, Tensor]
    outcome: Outcome
    waited: float  # seconds for its batch


class Trainer:
    """The training of a twin-cycle autoencoder, from step 0 or from a checkpoint.

    All processes of a team do the same things at the same steps. Only rank 0 writes files.

    Args:
        config: The configuration of the run, with `steps` or `minutes` given.
        data: The packed frames, of one data set or of several.
        run: The run directory, which exists.
        state: The checkpoint to resume from. None to start at step 0.
        pause: Minutes after which `fit` stops as if SIGUSR1 had come. None for no such limit.
        on_step: Called for each step that moved the weights, in every process, with its number,
            from 1, and its losses and lengths by name. On a GPU it comes a step late.
        on_validation: Called after each validation, in every process, with the steps done and the
            measures by name. Random numbers that are drawn in it change the run.

    Raises:
        ValueError: The data, the device or the checkpoint does not fit the configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: PackedDataset | Mixture,
        run: Path,
        state: dict[str, Any] | None = None,
        pause: float | None = None,
        *,
        on_step: Hook | None = None,
        on_validation: Hook | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.run = config, run
        self._on_step, self._on_validation = on_step or _nothing, on_validation or _nothing
        self.device = device_of(config.device)
        self.model = TwinCycle(Encoder(config.model, config.image_size)).to(self.device)
        # Convolutions take half the time in this layout on a CPU.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if ranks.world_size() > 1 and config.sync_batch_norm:
            convert_sync_batch_norm(self.model)
        self._passes_compiled = config.compile == "passes"
        configure_passes(self.model, self._passes_compiled, config.recompute, config.micro_batches)
        self.objective = TwinCycleObjective(self.model, config.objective)
        self._forward = data_parallel(self.objective, self.device)
        self.curriculum = Curriculum(config.curriculum)
        self.optimizer = Optimizer(self.model.parameters(), config.optimizer)
        step = TrainingStep(self.objective, self._forward, self.curriculum, self.optimizer)
        self._step = CapturedStep(step, self.device) if config.compile == "step" else step
        self._launched: deque[_Launched] = deque()
        mixture = data if isinstance(data, Mixture) else Mixture(data)
        self.data = RunData(config, mixture, self.device)
        self._trial_steps = TrialSteps(
            self.objective,
            self._forward,
            self.curriculum,
            self.data.validation.example(self.data.pairs.batch_size),
            config.optimizer.precision,
            config.compile,
        )
        self.checkpoints = CheckpointFolder(run / CHECKPOINTS, config.checkpoints.keep)
        self.skipped = SkippedSteps(run / SKIPPED, config.max_skipped, mixture)
        self.step = 0
        self.length = RunLength(config, pause)
        self.best = math.inf
        self.failures = 0
        self.measures: dict[str, float] = {}
        self._minutes_trained = 0.0
        self._logbook_state: dict[str, Any] | None = None
        self._progress_state: dict[str, Any] | None = None
        if state is not None:
            self._restore(state)
        team.check_same_start(run, self.step)

    def describe(self) -> str:
        """Say in one line what is about to be trained."""
        parameters = sum(p.numel() for p in self.model.parameters())
        people = f"{len(self.data.pairs.identities)} people"
        count = ranks.world_size()
        shares = (
            f" in {count} processes, {self.data.pairs.batch_size} pairs each" if count > 1 else ""
        )
        start = f", from step {self.step}" if self.step else ""
        steps = self.length.total_steps or "as many as fit"
        return (
            f"{self.run}: {parameters:,} parameters on {self.device}{shares}, "
            f"pairs of frames of {people}, {steps} steps{start}"
        )

    def fit(self) -> int:
        """Train to the last step, or until a signal asks to stop.

        Returns:
            0 after the last step. The number of the signal after writing a checkpoint.

        Raises:
            FloatingPointError: More steps than allowed had a loss or gradient that is not finite,
                or a weight is not finite. Earlier checkpoints are intact.
            OSError: The disk is full, or a data worker or another process died. Earlier checkpoints
                are intact.
        """
        with (
            deterministic(self.device, self.config.deterministic),
            team.explain_lost_process(),
            explain_lost_worker(),
            StopSignals() as stop,
            self._open_logbook() as self.logbook,
            Progress(self.step, self.length.total_steps, self._progress_state) as self.progress,
            StepsProfile(
                self.run / PROFILE, 0 if ranks.rank() else self.config.profile, self.device
            ) as profile,
            contextlib.closing(self._batches()) as batches,
        ):
            for batch, waited in batches:
                rate = self._learn(batch, waited)
                profile.step()
                self._fix_length()
                signal = self.length.agree(stop.received)
                last = self.length.is_last(self.step)
                if last:
                    refit_decorrelation(self.model, self.data.pairs, self.step)
                if last or self.step % self.config.logbook.every == 0:
                    self._log(rate)
                if last or self.step % self.config.validation.every == 0:
                    self._validate(last)
                if last or signal or self.step % self.config.checkpoints.every == 0:
                    self._save()
                if last or signal:
                    break
            self._minutes_trained = self.length.time.minutes()
            return 0 if self.length.is_last(self.step) else signal

    def export_encoder(self) -> Path:
        """Write the encoder as it is now to the run directory, and return the file."""
        path = self.run / ENCODER_FILE
        template, crop = self.data.first.template.to_dict(), self.config.pairs.centre_crop
        save_encoder(path, self.model.encoder, template, crop)
        return path

    def summary(self) -> dict[str, float]:
        """Return the run in numbers: its last validation, and how fast it was."""
        measures = {("val_loss" if k == "loss" else k): v for k, v in self.measures.items()}
        return {
            "steps": self.step,
            "minutes": self._minutes_trained,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "best_val_loss": self.best,
            "unreadable_frames": self.unreadable_frames,
            "skipped_steps": self.skipped.count,
            **measures,
            **self.progress.overall(),
        }

    @property
    def unreadable_frames(self) -> int:
        """Return how often a frame could not be read and another pair was drawn."""
        return self.failures + self.data.unreadable

    # One step -------------------------------------------------------------------------------------

    def _batches(self) -> Generator[tuple[dict[str, Tensor], float], None, None]:
        """Yield the batches of all steps left, each with the seconds that it was waited for."""
        self.length.agree(0)
        if self.length.is_last(self.step):
            return
        steps = self.length.steps_from(self.step)
        self._watch = Stopwatch()
        yield from feed(self.data.pairs, steps, self.config.workers, self.device, self._watch)

    def _learn(self, batch: dict[str, Tensor], waited: float) -> float:
        """Launch an optimiser step, which is skipped if it is not finite. Return its rate."""
        on_device = batch | {name: batch[name].to(self.device) for name in INPUTS}
        begin_step(self._passes_compiled)
        outcome = self._step(on_device, self.step, self.length.total_steps)
        rate = self.optimizer.rate(self.step, self.length.total_steps)
        self.step += 1
        self._launched.append(_Launched(self.step, batch, outcome, waited))
        # A GPU that had to wait until its numbers are read would have nothing to do meanwhile.
        self._take_note(leave=self.device.type == "cuda")
        return rate

    def _take_note(self, leave: int = 0) -> None:
        """Read the numbers of the steps launched so far, of all but the last `leave`."""
        while len(self._launched) > leave:
            step, batch, outcome, waited = self._launched.popleft()
            numbers = outcome.read()
            values = numbers.losses | numbers.norms
            self.failures += round(numbers.failures * ranks.world_size())
            if not numbers.moved:
                state = {"model": self.model.state_dict(), "config": plain_config(self.config)}
                self.skipped.add(step, batch, outcome.terms, state)
                values = {}
            seconds = waited + self._watch.lap()
            self.progress.add(self.config.batch_size, waited, seconds, values)
            if values:
                self._on_step(step, values)

    # Now and then ---------------------------------------------------------------------------------

    def _fix_length(self) -> None:
        """Fix the number of steps that fits into --minutes, once enough steps have been timed."""
        if not self.length.is_to_be_fixed(self.step):
            return
        self._take_note()
        watch = Stopwatch()
        self.data.validate(self.objective)
        validation = watch.lap() / self.config.validation.every
        light = self.progress.seconds_per_step + validation
        full = self._trial_steps.seconds() + validation
        self.length.fix(self.step, light, full, first_full_step(self.objective) - self.step)

    def _log(self, rate: float) -> None:
        self._take_note()
        values = self.progress.flush() | {"learning_rate": rate}
        if self.step >= _COUNTED_FROM:
            flops = self._trial_steps.flops(self.step) / self.data.pairs.batch_size
            values["tflop_per_second"] = flops * values["images_per_second"] / 1e12
        low, high = self.curriculum.window
        self._write("train", values | {"window_low": low, "window_high": high})
        self.progress.tell(self.step, self.length.total_steps, values)

    def _validate(self, last: bool) -> None:
        self._take_note()
        team.broadcast_buffers(self.model)
        self.measures = self.data.validate(self.objective)
        loss = self.measures["loss"]
        self._write("val", self.measures)
        say(f"step {self.step}  {validation_line(self.measures)}")
        self.data.validation.warn_of_collapse(self.measures, self.step)
        at_last_window = self.curriculum.window == self.config.curriculum.windows[-1]
        if self.optimizer.observe(loss, at_last_window):
            say(f"step {self.step}  validation loss saturated: the learning rate drops")
        if self.curriculum.observe(loss):
            low, high = self.curriculum.window
            say(f"step {self.step}  validation loss saturated: the window moves to {low}-{high}")
        count = self.step // self.config.validation.every
        if last or count % self.config.validation.panel_every == 0:
            self._draw_panel()
        if loss < self.best:
            self.best = loss
            self._save(best=True)
        self._on_validation(self.step, self.measures)

    def _write(self, kind: str, values: dict[str, float]) -> None:
        if self.logbook is not None:
            self.logbook.write(kind, self.step, values)

    def _draw_panel(self) -> None:
        if self.logbook is None:
            return
        source, target = self.data.validation.example(self.config.validation.panel_pairs)
        self.objective.eval()
        pictures = self.objective.pictures(source, target)
        self.objective.train()
        self.logbook.picture(PANELS, self.step, pair_panel(source, target, pictures))

    # State ----------------------------------------------------------------------------------------

    def _save(self, best: bool = False) -> None:
        """Write a checkpoint with everything that the rest of the run depends on."""
        self._take_note()
        if self.logbook is None:
            return
        weights = self.model.state_dict()
        for name, tensor in weights.items():
            if not bool(tensor.isfinite().all()):
                raise FloatingPointError(f"step {self.step}: weight {name} is not finite; stopped")

        state = {
            "step": self.step,
            "total_steps": self.length.total_steps,
            "minutes": self.length.time.minutes(),
            "best": self.best,
            "failures": self.failures,
            "skipped": self.skipped.count,
            "threads": torch.get_num_threads(),
            "measures": self.measures,
            "config": plain_config(self.config),
            "data": self.data.fingerprint,
            "model": weights,
            "optimizer": self.optimizer.state_dict(),
            "curriculum": self.curriculum.state_dict(),
            "random": random_state(self.device),
            "logbook": self.logbook.state_dict(self.step),
            "progress": self.progress.state_dict(),
        }
        self.checkpoints.save(state, best=best)

    def _restore(self, state: dict[str, Any]) -> None:
        source = state["source"]
        if state["data"] != self.data.fingerprint:
            raise ValueError(
                f"--data {self.data.first.path}: other frames than the run was trained on, or "
                f"other shares of --mix ({source}); --init-from starts a new run on them"
            )
        load_weights(self.model, state["model"], f"{source}: model")
        self.step, self.best, self.failures = state["step"], state["best"], state["failures"]
        if self.config.minutes is not None:  # else --steps says it, and may have grown
            self.length.total_steps = state["total_steps"] or self.length.total_steps
        self.skipped.count = state["skipped"]
        if self.device.type == "cpu":
            torch.set_num_threads(state["threads"])  # another number gives other last bits
        self.measures = state["measures"]
        self.length.time.earlier = state["minutes"]
        self._logbook_state, self._progress_state = state["logbook"], state["progress"]
        parts: dict[str, Callable[[dict[str, Any]], None]] = {
            "optimizer": self.optimizer.load_state_dict,
            "curriculum": self.curriculum.load_state_dict,
            "random": partial(set_random_state, self.device),
        }
        for field, load in parts.items():
            try:
                load(state[field])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"{source}: field {field} does not fit: {error}") from None

    def _open_logbook(self) -> contextlib.AbstractContextManager[Logbook | None]:
        if ranks.rank():
            return contextlib.nullcontext()
        resumed, options = self._logbook_state is not None, plain_config(self.config)
        trackers = Trackers(self.config.logbook.also, self.run, options, resumed)
        return Logbook(self.run, self._logbook_state, trackers)


def _nothing(step: int, values: Mapping[str, float]) -> None:
    """Do nothing: the hook of who gives none."""
