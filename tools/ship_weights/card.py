"""The card of shipped weights: data, recipe, measures and licence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

from tcae.data.synthetic.packed import settings_of
from tcae.data.synthetic.world import World
from tcae.evaluation.agreement import VARIES, Agreement, mean_correlation, unit_table
from tcae.files.plain import differences
from tcae.measuring.people import Measurement
from tcae.measuring.trained import Trained
from tcae.report.goals import goals_markdown
from tcae.training.config import PRESETS, TrainConfig, plain_config, versions

# Options of one invocation, which are not part of the recipe.
_NOT_THE_RECIPE = ("steps", "data", "out", "init_from", "device", "workers", "preset", "minutes")


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        name: Name of the weights.
        trained: The model as it ships. Its configuration's `unseen` says whom it was measured on.
        aucs: The probe's AUC on people not trained on, by unit, and their mean.
        summary: The training run in numbers.
        probed: The run of `tcae.probe` that trained the probe, in numbers. None: the training run
            did.
        measurement: The measures of the model.
        clips: Its agreement with the landmarker on real clips. Empty if not measured.
        files: Sizes of the files in bytes, by name.
        start: Name of the weights that the training started from. None: from random ones.
        meaning: What the numbers of the probe mean, a section in Markdown.
    """

    name: str
    trained: Trained
    aucs: Mapping[str, float]
    summary: Mapping[str, float]
    probed: Mapping[str, float] | None
    measurement: Measurement
    clips: Sequence[Agreement]
    files: Mapping[str, int]
    start: str | None
    meaning: str


def card_text(card: Card) -> str:
    """Write the card in Markdown."""
    trained, summary = card.trained, card.summary
    encoder, config, world = trained.encoder, trained.config, trained.world
    assert world is not None  # only such models are saved
    template = Template(Path(__file__).with_name("card.md").read_text(encoding="utf-8"))
    return template.substitute(
        name=card.name,
        size=encoder.image_size,
        template=encoder.template["name"],
        width=encoder.embedding_size,
        pose_width=encoder.pose_size,
        units=len(card.aucs) - 1,
        files=", ".join(f"`{name}` {size:,}" for name, size in card.files.items()),
        people=world.identities,
        videos=world.videos,
        frames=f"{world.identities * world.videos * world.frames:,}",
        changed=changed_options(world),
        preset=config.preset,
        steps=f"{summary['steps']:.0f}",
        batch=config.batch_size,
        minutes=f"{summary['minutes']:.0f}",
        speed=f"{summary['images_per_second']:.0f}",
        versions=", ".join(f"{name} {value}" for name, value in versions().items()),
        start=f"Started from `{card.start}` as it was before. " if card.start else "",
        recipe=_recipe(config),
        probe=_probe(card.probed),
        unseen=config.unseen.people,
        pairs=config.unseen.pairs,
        seed=config.unseen.seed,
        goals=goals_markdown(card.measurement.measures),
        au=_units(card.measurement.units, card.aucs),
        varies=VARIES,
        meaning=card.meaning,
        agreement=_agreement(card.clips),
    )


def changed_options(world: World) -> str:
    """Name the options of the world that are not the default."""
    usual = settings_of(replace(World(), image_size=world.image_size))
    changed = [f"`{k} {v}`" for k, v in settings_of(world).items() if usual[k] != v]
    return (
        f"other than by default: {', '.join(changed)}" if changed else "all options as by default"
    )


def _recipe(config: TrainConfig) -> str:
    """List the options of the recipe that are not the preset's."""
    changed = differences(plain_config(PRESETS[config.preset]), plain_config(config))
    rows = [
        f"| `--{name.replace('_', '-')}` | {after} | {before} |"
        for name, (before, after) in changed.items()
        if name not in _NOT_THE_RECIPE and not name.startswith("unseen.")
    ]
    if not rows:
        return "Every option is the preset's."
    return "\n".join(["| option | here | preset |", "| --- | --- | --- |", *rows])


def _probe(probed: Mapping[str, float] | None) -> str:
    """Say whose labels the probe learned from."""
    if probed is None:
        return "The probe was fitted to people not trained on."
    frames, people = f"{probed['frames_tested']:,.0f}", f"{probed['subjects']:.0f}"
    return (
        f"The probe was fitted to {frames} frames of {people} people, those trained on among them."
    )


def _units(units: Sequence[Mapping[str, Any]], aucs: Mapping[str, float]) -> str:
    lines = [
        "| unit | share of frames | AUC | 95 % | of the probe that ships |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in units:
        interval = f"{row['auc_low']:.3f} to {row['auc_high']:.3f}"
        cells = f"{row['prevalence']:.3f} | {row['auc']:.3f} | {interval}"
        lines.append(f"| {row['unit']} | {cells} | {aucs.get(row['unit'], math.nan):.3f} |")
    return "\n".join(lines)


def _agreement(clips: Sequence[Agreement]) -> str:
    mean, count = mean_correlation(clips)
    if not count:
        return "not measured."
    verdict = "reached" if mean >= 0.5 else "missed"
    return f"**{mean:.2f}**, the mean of {count} (goal: .50, {verdict}).\n\n{unit_table(clips)}"
