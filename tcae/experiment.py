"""``python -m tcae.experiment``: compare the methods of the paper; write tables and figures."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from tcae.cli import command
from tcae.cli.progress import say
from tcae.data.fingerprint import fingerprint
from tcae.data.labels import FOLDS, LABELS, LabelTable, read_labels, select, with_units
from tcae.data.shards import PackedDataset
from tcae.data.synthetic.camera import CameraConfig
from tcae.data.synthetic.motion import MotionConfig
from tcae.evaluation.folds import chosen_folds
from tcae.evaluation.labelled_frames import LabelledFrames
from tcae.evaluation.unseen import UnseenConfig, unseen_world
from tcae.experiments.budget import BUDGETS
from tcae.experiments.experiment import Experiment
from tcae.experiments.plan import Plan, claim_directory
from tcae.experiments.published import UNITS
from tcae.measuring.people import CACHE, rendered
from tcae.measuring.trained import built_in_world
from tcae.methods.method import Method
from tcae.methods.registry import METHODS, network_method
from tcae.methods.twin_cycle import twin_cycle_from
from tcae.training.config import PRESETS, TrainConfig
from tcae.training.simple_loop import Interrupted
from tcae.weights import find_weights

log = logging.getLogger("tcae.experiment")  # not __name__, which is __main__ here


# Another world than the one that is learned from: heads turn further, pictures are worse.
_MOTION, _CAMERA = MotionConfig(yaw=20.0, pitch=11.0), CameraConfig(noise=12.0)
_JUDGED, _OTHERS = UnseenConfig(), UnseenConfig(people=30, seed=1)


@dataclass(frozen=True)
class ExperimentOptions:
    """Train all methods, probe their features on the same folds, write tables and figures.

    Everything is kept in --out. The same command, started again, continues where it stopped.
    """

    name: tyro.conf.Positional[
        Annotated[
            Literal["synthetic", "bp4d", "disfa", "gft"],
            tyro.conf.arg(help="Data set to compare on. synthetic: rendered talking heads."),
        ]
    ] = "synthetic"
    data: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Packed data set with labels, as tcae.pack wrote it. Not for synthetic."
        ),
    ] = None
    videos: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Packed data set to pretrain on. Default: the faces of --data without their "
            "labels. They include the test subjects, whom the paper's methods were not trained on."
        ),
    ] = None
    out: Annotated[
        Path | None,
        tyro.conf.arg(help="Directory for everything. Default: runs/experiment-NAME-BUDGET."),
    ] = None
    budget: Annotated[
        Literal["small", "full"],
        tyro.conf.arg(help="small: an hour on two cores. full: the published training schedules."),
    ] = "small"
    methods: Annotated[tuple[str, ...], tyro.conf.arg(help="Methods to compare. Default: all.")] = (
        tuple(METHODS)
    )
    encoder: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Trained TCAE to compare: a run directory of tcae.train, an encoder.safetensors "
            "file, or the name of weights that ship with the package. Default: train one."
        ),
    ] = None
    networks: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help="Other networks as NAME=FILE@SIDE: ONNX or TorchScript, for images of SIDE pixels."
        ),
    ] = ()
    features: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help="Other features as NAME=FILE: a CSV file with frame and one column per feature."
        ),
    ] = ()
    labels: Annotated[
        Path | None,
        tyro.conf.arg(help="CSV file frame,subject,AU01,AU02,... Default: DATA/labels.csv."),
    ] = None
    folds: Annotated[
        str | None,
        tyro.conf.arg(
            help="Number of folds that the subjects are divided into, or a CSV file subject,fold. "
            "Default: DATA/folds.csv, or 3 folds if there is none."
        ),
    ] = None
    transfer: Annotated[
        Path | None,
        tyro.conf.arg(help="Another packed data set with labels, to test the probes on too."),
    ] = None
    ablation: Annotated[bool, tyro.conf.arg(help="Also train TCAE without each of its parts.")] = (
        True
    )
    preset: Annotated[
        Literal["default", "paper", "official"],
        tyro.conf.arg(help="Options that TCAE is trained with; see tcae.train."),
    ] = "default"
    image_size: Annotated[
        int | None,
        tyro.conf.arg(help="Side of the face images in pixels. Default: 64 (small), 256 (full)."),
    ] = None
    seed: command.SeedOption = 0
    device: command.DeviceOption = "auto"


def experiment(options: ExperimentOptions) -> int:
    """Run ``tcae experiment`` and return its exit status."""
    plan = _plan(options)
    claim_directory(plan.out, _settings(plan, options))
    try:
        Experiment(plan).run()
    except Interrupted as stop:
        say(f"{stop}; the same command goes on from here")
        return 128 + stop.signal
    say(f"tables and figures are in {plan.out}")
    failed = [*plan.videos.failures, *plan.labelled.dataset.failures]
    return command.SOME_FAILED if failed else command.DONE


def _plan(options: ExperimentOptions) -> Plan:
    unknown = [name for name in options.methods if name not in METHODS]
    if unknown:
        raise ValueError(f"--methods: {unknown[0]!r} is none of {', '.join(METHODS)}")
    device = command.device_of(options.device)
    budget = BUDGETS[options.budget]
    if options.image_size is not None:
        budget = replace(budget, image_size=options.image_size)
    out = options.out or Path("runs") / f"experiment-{options.name}-{options.budget}"
    methods = {n: _network(n, file) for n, file in _named("--networks", options.networks)}
    methods |= {n: method for n, method in METHODS.items() if n in options.methods}
    if "tcae_fine_tuned" in methods and "tcae" not in methods:
        raise ValueError("--methods: tcae_fine_tuned starts from tcae, which is not among them")
    if "tcae" in methods and options.encoder is not None:
        methods["tcae"] = twin_cycle_from(options.encoder)
    tables = {name: Path(file) for name, file in _named("--features", options.features)}
    videos, labelled, transfer = _data(options, out, budget.image_size)
    preset = PRESETS[options.preset]
    config: TrainConfig = replace(
        preset,
        data=videos.path,
        image_size=budget.image_size,
        seed=options.seed,
        device=options.device,
    )
    return Plan(
        name=options.name,
        out=out,
        budget=budget,
        config=config,
        videos=videos,
        labelled=labelled,
        methods=methods,
        encoder=options.encoder and find_weights(options.encoder),
        features=tables,
        transfer=transfer,
        ablation=options.ablation,
        device=device,
    )


def _data(
    options: ExperimentOptions, out: Path, image_size: int
) -> tuple[PackedDataset, LabelledFrames, LabelledFrames | None]:
    """Return frames to pretrain on, labelled frames, and those of another data set."""
    if options.name != "synthetic":
        if options.data is None:
            raise ValueError(f"--data: {options.name} needs its packed frames")
        dataset = PackedDataset(options.data)
        videos = PackedDataset(options.videos) if options.videos else dataset
        if options.videos is None:
            log.warning("pretrained on the faces of --data, test subjects included (no labels)")
        other = options.transfer
    else:
        if options.data is not None:
            raise ValueError("--data: synthetic renders its own; name bp4d, disfa or gft")
        world, cache = built_in_world(image_size), out.parent / CACHE
        videos = PackedDataset(options.videos or rendered(cache, world))
        dataset = PackedDataset(rendered(cache, unseen_world(world, _JUDGED)))
        others = replace(unseen_world(world, _OTHERS), motion=_MOTION, camera=_CAMERA)
        other = options.transfer or rendered(cache, others)
    labels = read_labels(options.labels or dataset.path / LABELS, dataset)
    wanted = UNITS.get(options.name)
    labels = labels if wanted is None else with_units(labels, wanted)
    labelled = _with_folds(options, dataset, labels)
    if other is None:
        return videos, labelled, None
    apart = PackedDataset(other)
    foreign = read_labels(apart.path / LABELS, apart)
    fold = np.zeros(len(foreign.frame_index), np.int64)
    transfer = LabelledFrames(apart, foreign, fold)
    if not set(transfer.units) & set(labelled.units):
        raise ValueError(f"--transfer {other}: no action unit in common with {options.name}")
    return videos, labelled, transfer


def _with_folds(
    options: ExperimentOptions, dataset: PackedDataset, labels: LabelTable
) -> LabelledFrames:
    """Return the frames of subjects who have a fold."""
    dealt = chosen_folds(options.folds, dataset.path / FOLDS, labels.subjects, options.seed)
    labels = select(labels, np.array([subject in dealt for subject in labels.subjects], bool))
    return LabelledFrames(dataset, labels, np.array([dealt[s] for s in labels.subjects], np.int64))


def _named(option: str, items: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for item in items:
        name, _, file = item.partition("=")
        if not name or not file or name in METHODS or "/" in name:
            raise ValueError(f"{option} {item}: NAME=FILE is needed, with a new name")
        pairs.append((name, file))
    return pairs


def _network(name: str, text: str) -> Method:
    try:
        return network_method(name, text)
    except ValueError:
        raise ValueError(
            f"--networks {name}={text}: NAME=FILE@SIDE is needed, as e=vgg.onnx@224"
        ) from None


def _settings(plan: Plan, options: ExperimentOptions) -> dict[str, Any]:
    """Return what must be the same to resume an experiment, by the names of options."""
    return {
        "name": plan.name,
        "budget": options.budget,
        "image_size": plan.budget.image_size,
        "preset": options.preset,
        "seed": options.seed,
        "labels": plan.labelled.fingerprint,
        "encoder": options.encoder and str(options.encoder),
        "videos": fingerprint(plan.videos),
        "data": fingerprint(plan.labelled.dataset),
        "transfer": plan.transfer and plan.transfer.fingerprint,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(experiment, ExperimentOptions, prog="tcae.experiment", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
