"""The part of a card that says what the numbers of a probe mean, with figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

import numpy as np
from rendered_faces import RenderedFaces, rendered_faces

from tcae.data.crops import Cropper
from tcae.data.sources import find_sources
from tcae.data.synthetic.world import World
from tcae.evaluation.agreement import BLENDSHAPES, ENOUGH, Series, common_times
from tcae.evaluation.calibration import STRONGEST, Calibration, sigmoid
from tcae.evaluation.clips import person_in, scores_of
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.landmarker import face_landmarker
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.metrics import Array, score
from tcae.evaluation.neutral import SHARE, Neutral, levelled
from tcae.evaluation.reliability import brier, calibration_error, icc
from tcae.evaluation.unseen import UnseenConfig, unseen_world
from tcae.models.encoder_file import FrozenEncoder

_PRESENT = 0.4  # a landmarker's score, from 0 to 1, from which on a unit is present
_SEED, _COURSES_SEED = 62, 64  # of the people who measure a calibration, and a neutral face
_MEASURES, _WAYS = ("ECE", "Brier", "F1"), ("before", "", "neutral")
_CALM = 0.3  # of the usual rates: people who are neutral most of the time


@dataclass(frozen=True)
class Told:
    """What is said of A units in N frames, and what is true.

    Attributes:
        truth: (N, A) 0 or 1, NaN = unknown.
        chance: (N, A) the probability that is told.
        called: (N, A) 1 where the unit is called present, else 0.
    """

    truth: Array
    chance: Array
    called: Array

    def column(self, a: int) -> tuple[float, float, float]:
        """Return expected calibration error, Brier score and F1 of one unit."""
        known = np.isfinite(self.truth[:, a])
        truth, chance = self.truth[known, a], self.chance[known, a]
        f1 = float(score(truth[:, None], self.called[known][:, [a]]).f1[0])
        return calibration_error(truth, chance), brier(truth, chance), f1

    @property
    def count(self) -> float:
        """Return the mean number of units called present in a frame."""
        return float(self.called.sum(1).mean())


def before(truth: Array, logits: Array) -> Told:
    """Return what was said without a calibration: the score, and present from .5 on."""
    return Told(truth, sigmoid(logits), (logits >= 0).astype(float))


def after(truth: Array, logits: Array, calibration: Calibration) -> Told:
    """Return what is said with the calibration."""
    called = calibration.decisions(logits).astype(float)
    return Told(truth, calibration.probabilities(logits), called)


def meaning(
    encoder: FrozenEncoder,
    probe: LinearProbe,
    world: World,
    people: int,
    cache: Path,
    clips: Path | None,
) -> str:
    """Return the section of the card.

    Args:
        encoder: The encoder.
        probe: Its probe, calibrated.
        world: What it was trained on.
        people: How many people the calibration was fitted to.
        cache: Directory of rendered people.
        clips: Directory of real clips, if there are some.
    """
    calibration, others = probe.calibrated(), max(people // 2, 3)
    faces = rendered_faces(
        encoder, probe, unseen_world(world, UnseenConfig(others, seed=_SEED)), cache
    )
    return (
        Template(Path(__file__).with_name("meaning.md").read_text(encoding="utf-8"))
        .substitute(
            people=people,
            others=others,
            frames=f"{len(faces.logits):,}",
            units=_units(probe, faces),
            share=f"{SHARE:.0%}",
            levels=_levels(encoder, probe, world, max(people // 13, 3), cache),
            clips="not measured." if clips is None else _clips(encoder, probe, clips),
            prior=f"{calibration.prior.sum():.1f}",
        )
        .rstrip()
    )


def _units(probe: LinearProbe, faces: RenderedFaces) -> str:
    """Return the table of the units, on people whom the calibration has not seen."""
    calibration = probe.calibrated()
    was, now = (
        before(faces.present, faces.logits),
        after(faces.present, faces.logits, calibration),
    )
    found, true = calibration.intensities(faces.logits), STRONGEST * faces.intensities
    rows = []
    for a, unit in enumerate(probe.names):
        strength = np.abs(found[:, a] - true[:, a]).mean(), icc(true[:, a], found[:, a])
        pairs = [x for pair in zip(was.column(a), now.column(a), strict=True) for x in pair]
        rows.append([unit, calibration.prior[a], *pairs, *strength])
    rows.append(["mean", *np.nanmean([row[1:] for row in rows], axis=0)])
    head = ["unit", "present", *(f"{m} {w}".strip() for m in _MEASURES for w in _WAYS[:2])]
    head += ["MAE of `_r`", "ICC of `_r`"]
    return _table(head, [[row[0], *(f"{x:.3f}" for x in row[1:])] for row in rows])


def _levels(
    encoder: FrozenEncoder, probe: LinearProbe, world: World, people: int, cache: Path
) -> str:
    """Return the table of what a neutral face is good for, of people whose truth is known."""
    base = unseen_world(world, UnseenConfig(people, seed=_COURSES_SEED))
    base = replace(base, videos=1, frames=50, fps=2.5)
    usual = base.expression
    rates = {
        share: {unit: share * rate for unit, rate in usual.rates.items()} for share in (0, _CALM)
    }
    calm = replace(usual, rates=rates[_CALM], talking=0.3)
    still = replace(usual, rates=rates[0], talking=0.0, blinks=0.0)
    at_rest = rendered_faces(
        encoder, probe, replace(base, frames=4, fps=1.0, expression=still), cache
    )
    rows = []
    for title, expression in (("calm", calm), ("lively", usual)):
        faces = rendered_faces(encoder, probe, replace(base, expression=expression), cache)
        rows += _level_rows(f"{people} {title}", faces, at_rest, probe.calibrated())
    return _table(["people", "neutral face", "level error", "Brier", "F1", "present"], rows)


def _level_rows(
    title: str, faces: RenderedFaces, at_rest: RenderedFaces, calibration: Calibration
) -> list[list[str]]:
    known = {p: at_rest.logits[at_rest.people == p].mean(0) for p in np.unique(at_rest.people)}
    ways: dict[str, Neutral | None] = {"none": None, "auto": Neutral(), "four frames at rest": None}
    rows = []
    for way, neutral in ways.items():
        logits = faces.logits.copy()
        for person in np.unique(faces.people):
            rows_of = faces.people == person
            times = np.full(rows_of.sum(), np.nan)
            found = neutral and neutral.of(logits[rows_of], times, calibration)
            if way not in ("none", "auto"):
                found = known[person]
            if found is not None:
                logits[rows_of] = levelled(logits[rows_of], found, calibration)
        said = after(faces.present, logits, calibration)
        error = calibration.intensities(logits) - STRONGEST * faces.intensities
        level = [error[faces.people == p].mean(0) for p in np.unique(faces.people)]
        figures = np.nanmean([said.column(a)[1:] for a in range(logits.shape[1])], 0)
        rows.append([title, way, f"{np.sqrt(np.square(level).mean()):.2f}",
                     *(f"{x:.3f}" for x in figures), f"{said.count:.1f}"])  # fmt: skip
    rows.append([title, "(truth)", "0", "0", "1", f"{faces.present.sum(1).mean():.1f}"])
    return rows


def _clips(encoder: FrozenEncoder, probe: LinearProbe, folder: Path) -> str:
    """Return what is said of real faces, against the landmarker."""
    calibration = probe.calibrated()
    clips = [clip for clip in find_sources(folder) if clip.is_file]
    extractor = Extractor(encoder, None, (probe.embedding,))
    cropper = Cropper(extractor.crop_config(None, "mtcnn"))
    parts = []
    with face_landmarker() as detect:
        for clip in clips:
            cells = person_in(clip, cropper, extractor)
            truth = _judged(probe, [*cells], scores_of(clip, detect))
            names = [
                column.name
                for column in extractor.columns
                if column.name.startswith(f"{probe.embedding}_")
            ]
            features = np.array([[found[n] for n in names] for found in cells.values()], np.float32)
            logits = probe.logits(features).astype(float)
            neutral = Neutral().of(logits, np.array([*cells]), calibration)
            level = logits if neutral is None else levelled(logits, neutral, calibration)
            parts.append((truth, logits, level))
    truth, logits, level = (np.concatenate(part) for part in zip(*parts, strict=True))
    ways = [before(truth, logits), after(truth, logits, calibration),
            after(truth, level, calibration)]  # fmt: skip
    rows = []
    for a, unit in enumerate(probe.names):
        if np.nansum(truth[:, a]) >= ENOUGH:
            figures = np.transpose([way.column(a) for way in ways]).ravel()
            rows.append([unit, float(np.nanmean(truth[:, a])), *figures])
    rows.append(["mean", *np.nanmean([row[1:] for row in rows], axis=0)])
    head = ["unit", "present", *(f"{m} {w}".strip() for m in _MEASURES for w in _WAYS)]
    counts = [f"{way.count:.1f}" for way in ways]
    return (
        f"{len(clips)} clips, {len(truth):,} frames. A unit is present where the landmarker's "
        f"score is {_PRESENT} or more, and counts\nif it is in {ENOUGH} frames or more. Units "
        f"called present in a frame: {counts[0]} before, {counts[1]} now, {counts[2]} with "
        "`--neutral auto`.\n\n"
        + _table(head, [[row[0], *(f"{x:.2f}" for x in row[1:])] for row in rows])
    )


def _judged(probe: LinearProbe, times: Sequence[float], scores: Series) -> Array:
    """Return (N, A) whether units are present, by the landmarker; NaN where it does not say."""
    truth = np.full((len(times), len(probe.names)), np.nan)
    place = {time: row for row, time in enumerate(times)}
    for ours, theirs in common_times({time: {} for time in times}, scores):
        for a, unit in enumerate(probe.names):
            if unit in BLENDSHAPES:
                found = np.mean([scores[theirs][shape] for shape in BLENDSHAPES[unit]])
                truth[place[ours], a] = found >= _PRESENT
    return truth


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
