"""An experiment from the packed frames to tables and figures, stage by stage.

Each stage writes a file of its own. So an experiment that was stopped goes on where it was, and one
with a new method does that method only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tcae.cli.progress import say
from tcae.data.labels import select
from tcae.evaluation.embedding_cache import cached_embeddings
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.experiments.figures import TrainedCycle, length_histogram
from tcae.experiments.outputs import SHARES, write_outputs
from tcae.experiments.plan import Plan, save_array, save_json
from tcae.experiments.scores import Floats, ProbeTrainer, scores_of, transferred, with_few_subjects
from tcae.methods.feature_table import read_features
from tcae.methods.registry import METHODS
from tcae.methods.training import train_twin_cycle
from tcae.models.encoder_file import load_encoder
from tcae.models.face_encoder import FaceEncoder

_DRAWS = 3  # of subjects, if not all are used
_PROBE_MINUTES = 0.3  # estimate for extracting features and probing them
_FEW_MINUTES = 0.8
_FIGURE_MINUTES = 2.0


@dataclass(frozen=True)
class Stage:
    """A part of an experiment.

    Attributes:
        title: Its name in lines about progress.
        minutes: About how long it takes. None if that is not known.
        file: The file it writes. If it exists, the stage is done.
        work: Does the work.
    """

    title: str
    minutes: float | None
    file: Path
    work: Callable[[], None]


class Experiment:
    """The stages of a plan, to be carried out one after the other.

    Args:
        plan: The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.probe_trainer = ProbeTrainer(plan.labelled, plan.config.seed, plan.device)
        self._encoders: dict[str, FaceEncoder] = {}

    def run(self) -> None:
        """Do all stages that are not done yet, then write tables and figures.

        Raises:
            Interrupted: A signal came during a training. What was done is on disk.
        """
        stages = list(self.stages())
        for number, stage in enumerate(stages, 1):
            if stage.file.exists():
                continue
            estimates = [later.minutes for later in stages[number - 1 :] if not later.file.exists()]
            known = [minutes for minutes in estimates if minutes is not None]
            more = "" if len(known) == len(estimates) else ", and the trainings"
            say(f"[{number}/{len(stages)}] {stage.title}; about {sum(known):.0f} min left{more}")
            stage.work()
        write_outputs(self.plan)

    def stages(self) -> Iterator[Stage]:
        """Yield all stages in order."""
        plan = self.plan
        for name, (title, _) in plan.entries.items():
            work = partial(self._predict, name)
            yield Stage(title, self._minutes(name), plan.predictions(name), work)
        for name, (title, _) in plan.probed.items():
            work = partial(self._few_labels, name)
            yield Stage(f"few labels: {title}", _FEW_MINUTES, plan.few_labels(name), work)
        if plan.transfer is not None:
            for name, (title, _) in plan.probed.items():
                work = partial(self._transfer, name, plan.transfer)
                yield Stage(f"transfer: {title}", _PROBE_MINUTES, plan.transferred(name), work)
        if plan.cycle_run is not None:
            work = partial(self._draw, plan.cycle_run)
            yield Stage("Figures 4 and 5", _FIGURE_MINUTES, plan.figure("figure5.json"), work)
        for name, variant in plan.variants.items():
            minutes = _sum(plan.budget.ablation, _PROBE_MINUTES)
            work = partial(self._ablate, name)
            yield Stage(f"ablation: {variant.title}", minutes, plan.ablated(name), work)

    # What the stages do ---------------------------------------------------------------------------

    def _predict(self, name: str) -> None:
        if self.plan.entries[name].family == "supervised":
            probability = self._supervised(name)
        else:
            probability = self.probe_trainer.predict(self._features(name, self.plan.labelled))
        save_array(self.plan.predictions(name), probability)

    def _few_labels(self, name: str) -> None:
        features, values = self._features(name, self.plan.labelled), []
        for share in SHARES:
            draws = range(_DRAWS if share < 1 else 1)
            aucs = [with_few_subjects(self.probe_trainer, features, share, draw) for draw in draws]
            values.append(float(np.mean(aucs)))
        save_json(self.plan.few_labels(name), values)

    def _transfer(self, name: str, other: LabelledFrames) -> None:
        labels = self.plan.labelled.labels
        probe = self.probe_trainer.fit(self._features(name, self.plan.labelled))
        units = zip(self.plan.labelled.units, labels.names, strict=True)
        shared = tuple(column for unit, column in units if unit in other.units)
        features = self._features(name, other, "features-transfer")
        save_array(self.plan.transferred(name), transferred(probe, features, shared))

    def _draw(self, run: Path) -> None:
        self._encoder("tcae")  # trains TCAE if nothing has before
        cycle = TrainedCycle(run, self.plan.videos, self.plan.device)
        lengths = cycle.lengths(self.plan.budget.pairs)
        cycle.panel(self.plan.figure("figure4.png"))
        length_histogram(self.plan.figure("figure5.svg"), lengths)
        values = {name: values.tolist() for name, values in lengths.items()}
        save_json(self.plan.figure("figure5.json"), values)

    def _ablate(self, name: str) -> None:
        plan, variant = self.plan, self.plan.variants[name]
        run_name = f"ablation-{name}"
        run = plan.run(run_name)
        size, minutes = plan.ablation_size, plan.budget.ablation
        config = replace(variant.config, out=run, minutes=minutes, image_size=size)
        trainer = train_twin_cycle(config, plan.videos, variant.change)
        features = self._embedded(load_encoder(run, plan.device), run_name, plan.labelled)
        result = scores_of(plan.labelled, self.probe_trainer.predict(features), plan.config.seed)
        measures = {k: trainer.measures[k] for k in ("recon_ratio", "au_flow", "pose_flow")}
        scores = {"f1": result.scores.f1_mean, "auc": result.scores.auc_mean}
        ends = {"low": result.auc.mean_low, "high": result.auc.mean_high}
        save_json(plan.ablated(name), {**scores, **ends, **measures, "steps": trainer.step})

    # Features -------------------------------------------------------------------------------------

    def _features(self, name: str, labelled: LabelledFrames, folder: str = "features") -> Floats:
        """Return the features (n, D) of labelled frames by a method that is not supervised."""
        if name in self.plan.features:
            frames = labelled.labels.frame_index
            return read_features(self.plan.features[name], labelled.dataset, frames)
        return self._embedded(self._encoder(name), name, labelled, folder)

    def _encoder(self, name: str) -> FaceEncoder:
        """Return the encoder of a method, trained if it has to learn."""
        if name not in self._encoders:
            self._encoders[name] = self.plan.methods[name].make(self.plan.material(name))
        return self._encoders[name]

    def _embedded(
        self, encoder: FaceEncoder, name: str, labelled: LabelledFrames, folder: str = "features"
    ) -> Floats:
        """Return AU embeddings (n, D) of labelled frames, NaN for frames that cannot be read."""
        cache, frames = self.plan.embedded(folder, name), labelled.labels.frame_index
        return cached_embeddings(cache, encoder, labelled.dataset, frames).au

    def _supervised(self, name: str) -> Floats:
        """Return out-of-fold probabilities (n, A) of a network that is trained for each fold."""
        plan, labelled = self.plan, self.plan.labelled
        pixels = METHODS["pixels"].make(plan.material("pixels"))  # to find out what can be read
        readable = np.isfinite(self._embedded(pixels, "pixels", labelled)).all(1)
        probability = np.full(labelled.labels.values.shape, np.nan, np.float32)
        for k in range(int(labelled.folds.max()) + 1):
            run_name = f"{name}-fold{k}"
            labels = select(labelled.labels, (labelled.folds != k) & readable)
            material = replace(
                plan.material(run_name),
                dataset=labelled.dataset,
                labels=labels,
                pretrained=partial(self._encoder, "tcae"),
            )
            encoder, tested = plan.methods[name].make(material), labelled.folds == k
            probability[tested] = self._embedded(encoder, run_name, labelled.part(tested))
        return probability

    def _minutes(self, name: str) -> float | None:
        """Estimate how many minutes training and probing take. None if that is not known."""
        method = self.plan.methods.get(name)
        if method is None or method.cost == "nothing":
            return _PROBE_MINUTES
        minutes = self.plan.material(name).minutes
        times = int(self.plan.labelled.folds.max()) + 1 if method.cost == "fold" else 1
        return _sum(minutes and times * minutes, _PROBE_MINUTES)


def _sum(minutes: float | None, more: float) -> float | None:
    return None if minutes is None else minutes + more
