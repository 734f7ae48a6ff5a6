"""The training loop."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tcae.cli.command import device_of
from tcae.cli.progress import Progress, Stopwatch, say
from tcae.cli.signals import StopSignals
from tcae.data.pairs import PairBatches
from tcae.data.shards import PackedDataset
from tcae.data.splits import Split
from tcae.distributed import ranks, team
from tcae.models.batch_norm import synchronise
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import ENCODER_FILE, load_weights, save_encoder
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.report.panels import pair_panel
from tcae.training.checkpoints import CheckpointFolder
from tcae.training.config import TrainConfig, plain_config
from tcae.training.device import (
    arrange_passes,
    begin_step,
    deterministic,
    precise,
    shared,
)
from tcae.training.loader import COMPUTED_WITH, feed, worker_deaths_named
from tcae.training.logbook import Logbook
from tcae.training.optimizer import Optimizer
from tcae.training.refit_decorrelation import refit_decorrelation
from tcae.training.run_directory import CHECKPOINTS, PANELS, UNUSABLE
from tcae.training.skipped_steps import UnusableSteps
from tcae.training.time_budget import first_full_step, steps_that_fit, time_full_step
from tcae.training.validation import Validation

_TIMED_STEPS = 20  # steps after which --minutes becomes a number of steps
_RESERVE = 0.03  # share of --minutes kept for writing files and for slower spells
_ENDLESS = 10**9  # more steps than anybody takes


class Trainer:
    """Trains a twin-cycle autoencoder, from step 0 or from a checkpoint.

    All processes of a team do the same at the same steps; the first one writes.

    Args:
        config: The run's configuration, with `steps` or `minutes` given.
        dataset: Packed frames.
        run: The run directory; it exists.
        state: Checkpoint to go on from.

    Raises:
        ValueError: The data, the device or the checkpoint does not fit the configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        dataset: PackedDataset,
        run: Path,
        state: dict[str, Any] | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.dataset, self.run = config, dataset, run
        self.device = deterministic(device_of(config.device))
        self.model = TwinCycle(Encoder(config.model, config.image_size)).to(self.device)
        # In this layout convolutions take half the time on a CPU.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if ranks.world_size() > 1 and config.sync_batch_norm:
            synchronise(self.model)
        arrange_passes(self.model, config.compile, config.recompute)
        self.objective = TwinCycleObjective(self.model, config.objective)
        self._forward = shared(self.objective, self.device)
        self.curriculum = Curriculum(config.curriculum)
        self.optimizer = Optimizer(self.model.parameters(), config.optimizer)
        self.pairs = self._pairs("train")
        self.validation = Validation(self._pairs("val"), config.validation.pairs, self.device)
        self.checkpoints = CheckpointFolder(run / CHECKPOINTS, config.checkpoints.keep)
        self.unusable = UnusableSteps(run / UNUSABLE, config.max_skipped, dataset)
        self.data_fingerprint = team.joint_fingerprint(fingerprint(dataset))
        self.step = 0
        # A number of steps that ends before they have been timed needs no timing.
        timed = config.minutes and not (config.steps and config.steps <= _TIMED_STEPS)
        self.total_steps = None if timed else config.steps
        self.best = math.inf
        self.failures = 0
        self.measures: dict[str, float] = {}
        self._minutes_before = self._took = 0.0  # minutes of training
        self._time_is_up = False
        self._start = time.monotonic()
        self._logbook_state: dict[str, Any] | None = None
        self._progress_state: dict[str, Any] | None = None
        if state is not None:
            self._restore(state)
        team.check_same_start(run, self.step)

    def describe(self) -> str:
        """What is about to happen, in one line."""
        parameters = sum(p.numel() for p in self.model.parameters())
        people = f"{len(self.pairs.identities)} people"
        count = ranks.world_size()
        shares = f" in {count} processes, {self.pairs.batch_size} pairs each" if count > 1 else ""
        start = f", from step {self.step}" if self.step else ""
        return (
            f"{self.run}: {parameters:,} parameters on {self.device}{shares}, "
            f"pairs of frames of {people}, {self.total_steps or 'as many as fit'} steps{start}"
        )

    def fit(self) -> int:
        """Train to the last step, or until a signal asks to stop.

        Returns:
            0, or the number of the signal, after a checkpoint was written.

        Raises:
            FloatingPointError: Losses or gradients are not finite in more steps than allowed, or a
                weight is not; earlier checkpoints are intact.
            OSError: The disk is full, or a data worker or another process died; earlier checkpoints
                are intact.
        """
        with (
            team.deaths_named(),
            worker_deaths_named(),
            StopSignals() as stop,
            self._open_logbook() as self.logbook,
            Progress(self.step, self.total_steps, self._progress_state) as self.progress,
            contextlib.closing(self._batches()) as batches,
        ):
            for batch, waited in batches:
                rate = self._learn(batch, waited)
                self._fix_length()
                signal = self._agree(stop.received)
                last = self._is_last()
                if last:
                    refit_decorrelation(self.model, self.pairs, self.step)
                if last or self.step % self.config.logbook.every == 0:
                    self._tell(rate)
                if last or self.step % self.config.validation.every == 0:
                    self._validate(last)
                if last or signal or self.step % self.config.checkpoints.every == 0:
                    self._save()
                if last or signal:
                    break
            self._took = self._minutes()
            return 0 if self._is_last() else signal

    def export_encoder(self) -> Path:
        """Write the encoder as it is now, with the alignment template of the data."""
        path = self.run / ENCODER_FILE
        template, crop = self.dataset.template.to_dict(), self.config.pairs.centre_crop
        save_encoder(path, self.model.encoder, template, crop)
        return path

    def summary(self) -> dict[str, float]:
        """The run in numbers: of its last validation, and how fast it was."""
        measures = {("val_loss" if k == "loss" else k): v for k, v in self.measures.items()}
        return {
            "steps": self.step,
            "minutes": self._took,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "best_val_loss": self.best,
            "unreadable_frames": self.unreadable_frames,
            "skipped_steps": self.unusable.count,
            **measures,
            **self.progress.overall(),
        }

    @property
    def unreadable_frames(self) -> int:
        """How often a frame could not be read and another pair was drawn."""
        return self.failures + self.validation.failures

    # One step -------------------------------------------------------------------------------------

    def _batches(self) -> Generator[tuple[dict[str, Tensor], float], None, None]:
        """Batches of the steps still to do, each with the seconds waited for it."""
        self._agree(0)
        if self._is_last():
            return
        steps = range(self.step, self.total_steps or _ENDLESS)
        self._watch = Stopwatch()
        yield from feed(self.pairs, steps, self.config.workers, self.device, self._watch)

    def _learn(self, batch: dict[str, Tensor], waited: float) -> float:
        """One optimiser step, skipped if it is not finite; returns its learning rate."""
        source, target, tracks = (batch[name].to(self.device) for name in COMPUTED_WITH)
        begin_step(self.config.compile)
        statistics = [(buffer, buffer.clone()) for buffer in self.objective.buffers()]
        with precise(self.device, self.config.optimizer.precision):
            terms = self._forward(source, target, self.step, tracks)
        loss = self.curriculum.loss(terms, self.objective.weights(self.step))
        own = {"loss": loss.detach()} | {k: v.detach().mean() for k, v in terms.items()}
        failed = batch["failures"].to(loss)
        # All numbers at once: a GPU has to be waited for.
        *means, failed = team.mean(torch.stack([*own.values(), failed])).tolist()
        losses = dict(zip(own, means, strict=True))
        finite = all(map(math.isfinite, means))
        moved = finite and self.optimizer.step(loss, self.step, self.total_steps)
        rate = self.optimizer.rate(self.step, self.total_steps)
        self.step += 1
        self.failures += round(failed * ranks.world_size())
        if not moved:
            for buffer, before in statistics:
                buffer.copy_(before)
            state = {"model": self.model.state_dict(), "config": plain_config(self.config)}
            self.unusable.add(self.step, batch, terms, state)
            losses = {}
        self.progress.add(self.config.batch_size, waited, waited + self._watch.lap(), losses)
        return rate

    # Now and then ---------------------------------------------------------------------------------

    def _fix_length(self) -> None:
        """Once steps have been timed: the number of steps that fits into --minutes.

        Until then the learning rate does not depend on that number, and from then on it is part of
        every checkpoint: a resumed run takes the same steps at the same rates.
        """
        if self.total_steps is not None or self.step < _TIMED_STEPS:
            return
        watch = Stopwatch()
        self.validation.measure(self.objective)
        validation = watch.lap() / self.config.validation.every
        pair = self.validation.example(self.pairs.batch_size)
        with precise(self.device, self.config.optimizer.precision):
            weights = self.objective.weights()
            full = time_full_step(self._forward, weights, self.curriculum, *pair)
        fitting = self.step + steps_that_fit(
            60 * (self._budget() * (1 - _RESERVE) - self._minutes()),
            self.progress.seconds_per_step + validation,
            full + validation,
            first_full_step(self.objective) - self.step,
        )
        self.total_steps = int(team.of_the_first(str(min(fitting, self.config.steps or _ENDLESS))))
        say(f"{self.total_steps} steps fit into {self.config.minutes:g} minutes")

    def _is_last(self) -> bool:
        """Whether all steps are done, or the time is up."""
        return self.step == self.total_steps or self._time_is_up

    def _agree(self, signal: int) -> int:
        """Whether somebody got a signal or ran out of time: all stop at the same step."""
        late = self._minutes() >= self._budget()
        number, late_anywhere = team.largest(signal, late)
        self._time_is_up = bool(late_anywhere)
        return int(number)

    def _tell(self, rate: float) -> None:
        values = self.progress.flush() | {"learning_rate": rate}
        low, high = self.curriculum.window
        self._write("train", values | {"window_low": low, "window_high": high})
        self.progress.tell(self.step, self.total_steps, values)

    def _validate(self, last: bool) -> None:
        team.share_buffers(self.model)
        self.measures = self.validation.measure(self.objective)
        loss = self.measures["loss"]
        self._write("val", self.measures)
        say(
            f"step {self.step}  validation loss {loss:.4g}, reconstruction "
            f"{self.measures['recon_l1']:.4f} against {self.measures['identity_l1']:.4f} of the "
            f"unmoved source (ratio {self.measures['recon_ratio']:.3f}), flow lengths AU "
            f"{self.measures['au_flow']:.4f} pose {self.measures['pose_flow']:.4f}"
        )
        self.validation.warn_of_collapse(self.measures, self.step)
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

    def _write(self, kind: str, values: dict[str, float]) -> None:
        if self.logbook is not None:
            self.logbook.write(kind, self.step, values)

    def _draw_panel(self) -> None:
        if self.logbook is None:
            return
        source, target = self.validation.example(self.config.validation.panel_pairs)
        self.objective.eval()
        pictures = self.objective.pictures(source, target)
        self.objective.train()
        self.logbook.picture(PANELS, self.step, pair_panel(source, target, pictures))

    # State ----------------------------------------------------------------------------------------

    def _save(self, best: bool = False) -> None:
        """Write everything that the run depends on from here."""
        if self.logbook is None:
            return
        weights = self.model.state_dict()
        for name, tensor in weights.items():
            if not bool(tensor.isfinite().all()):
                raise FloatingPointError(f"step {self.step}: weight {name} is not finite; stopped")
        random: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        state = {
            "step": self.step,
            "total_steps": self.total_steps,
            "minutes": self._minutes(),
            "best": self.best,
            "failures": self.failures,
            "skipped": self.unusable.count,
            "threads": torch.get_num_threads(),
            "measures": self.measures,
            "config": plain_config(self.config),
            "data": self.data_fingerprint,
            "model": weights,
            "optimizer": self.optimizer.state_dict(),
            "curriculum": self.curriculum.state_dict(),
            "random": random,
            "logbook": self.logbook.state_dict(self.step),
            "progress": self.progress.state_dict(),
        }
        self.checkpoints.save(state, best=best)

    def _restore(self, state: dict[str, Any]) -> None:
        source = state["source"]
        if state["data"] != self.data_fingerprint:
            raise ValueError(
                f"--data {self.dataset.path}: other frames than the run was trained on ({source}); "
                "--init-from starts a new run on them"
            )
        load_weights(self.model, state["model"], f"{source}: model")
        self.step, self.best, self.failures = state["step"], state["best"], state["failures"]
        self.total_steps = state["total_steps"] or self.total_steps
        self.unusable.count = state["skipped"]
        if self.device.type == "cpu":
            torch.set_num_threads(state["threads"])  # another number gives other last bits
        self.measures = state["measures"]
        self._minutes_before = state["minutes"]
        self._logbook_state, self._progress_state = state["logbook"], state["progress"]
        parts: dict[str, Callable[[dict[str, Any]], None]] = {
            "optimizer": self.optimizer.load_state_dict,
            "curriculum": self.curriculum.load_state_dict,
            "random": self._restore_random,
        }
        for field, load in parts.items():
            try:
                load(state[field])
            except (KeyError, TypeError, ValueError, RuntimeError) as error:
                raise ValueError(f"{source}: field {field} does not fit: {error}") from None

    def _restore_random(self, state: dict[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"])
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(state["cuda"], self.device)

    def go_on_alone(self) -> None:
        """After the last step, in `ranks.alone`: all validation pairs are this process's now."""
        if self.pairs.batch_size < self.config.batch_size:
            self.pairs = self._pairs("train")
            self.validation = Validation(
                self._pairs("val"), self.config.validation.pairs, self.device
            )

    @property
    def data_everywhere(self) -> bool:
        """Whether all processes see the same frames; else each machine has a part of them."""
        return self.data_fingerprint == fingerprint(self.dataset)

    def _open_logbook(self) -> contextlib.AbstractContextManager[Logbook | None]:
        if ranks.rank():
            return contextlib.nullcontext()
        return Logbook(self.run, self._logbook_state)

    def _pairs(self, split: Split) -> PairBatches:
        config = self.config
        return PairBatches(
            self.dataset,
            split,
            team.share_of(config.batch_size),
            config.seed,
            ranks.rank(),
            ranks.world_size(),
            image_size=config.image_size,
            config=config.pairs,
        )

    def _budget(self) -> float:
        return math.inf if self.config.minutes is None else self.config.minutes

    def _minutes(self) -> float:
        """Minutes that the run has taken, earlier processes included."""
        return self._minutes_before + (time.monotonic() - self._start) / 60


def fingerprint(dataset: PackedDataset) -> str:
    """A hash of which frames a data set holds, wherever it lies and however it is sharded."""
    kind = (dataset.image_size, dataset.template, dataset.clips)
    digest = hashlib.sha256(repr(kind).encode())
    for name in ("clip", "frame", "crc32"):
        digest.update(dataset.frames[name].tobytes())
    return digest.hexdigest()
