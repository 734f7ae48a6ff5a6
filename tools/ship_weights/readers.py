"""Fit what reads head pose and confidence off faces, and write it beside weights and in their card.

    python tools/ship_weights/readers.py --name detector-64 --clips CLIPS

It is fitted to rendered people whom the weights have not seen, found by the detector in whole
pictures, and measured on others. Half of the pictures are spoiled. The clips only measure.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from portraits import Portraits, portraits
from spoiling import WAYS

import tcae
from tcae.data.align import DEFAULT_TEMPLATE, align, share_outside
from tcae.data.crops import Crop
from tcae.data.detectors import make_detector
from tcae.data.faces import Detector
from tcae.data.pictures import centre, decode_image
from tcae.data.sources import find_sources
from tcae.data.synthetic.expression import ACTION_UNITS
from tcae.data.synthetic.packed import world_of
from tcae.evaluation.calibration import STRONGEST
from tcae.evaluation.confidence import (
    CONFIDENCE_FILE,
    QUALITIES,
    Confidence,
    save_confidence,
)
from tcae.evaluation.head_pose import HEAD_POSE_FILE, HeadPose, save_head_pose, turns_of
from tcae.evaluation.landmarker import face_landmarker, head_pose_of
from tcae.evaluation.linear_probe import LinearProbe
from tcae.evaluation.ridge import fit_ridge
from tcae.models.encoder_file import FrozenEncoder
from tcae.weights import FOLDER

Floats = NDArray[np.floating]

HEADING = "## Head pose and confidence"
_SEED = 301  # the people of this one are fitted to, those of the next one are measured on
_L2, _SHRINKAGE = 10.0, 0.01
_MOVES = 1.0  # degrees


class Faces(NamedTuple):
    """Faces found in portraits of which the frontal one shows a face too.

    Attributes:
        crops: (N,) as the encoder sees them.
        frontal: (N,) the same faces doing the same, from the front.
        number: (N,) of the portrait.
        way: (N,) in which it was spoiled, "" if it was not.
        missed: Share of the portraits without a face, by way.
    """

    crops: list[Crop]
    frontal: list[Crop]
    number: NDArray[np.int64]
    way: NDArray[np.str_]
    missed: dict[str, float]


class Read(NamedTuple):
    """Faces, what an encoder makes of them, and the truth.

    Attributes:
        faces: The faces.
        au: (N, D) AU embeddings.
        pose: (N, P) pose embeddings.
        degrees: (N, 3) true yaw, pitch and roll in the picture.
        outputs: (N, A) intensities by the probe, in [0, 1].
        frontal: (N, A) the same for the frontal faces.
        truth: (N, A) true intensities.
    """

    faces: Faces
    au: Floats
    pose: Floats
    degrees: Floats
    outputs: Floats
    frontal: Floats
    truth: Floats

    @property
    def both(self) -> Floats:
        """Return both embeddings, one after the other."""
        return np.concatenate([self.au, self.pose], 1)

    @property
    def astray(self) -> Floats:
        """Return how far the view led the outputs astray, (N,).

        It is their mean squared difference from the outputs for the frontal faces, over the mean
        variance of these: 0 is a perfect view, 1 as if another face had been looked at.
        """
        difference = ((self.outputs - self.frontal) ** 2).mean(1)
        return difference / (2 * self.frontal.var(0).mean())


def find_faces(of: Portraits, detector: Detector, encoder: FrozenEncoder, seed: int) -> Faces:
    """Find the largest face in each portrait, as it is and spoiled in one way."""
    random = np.random.default_rng(seed)
    found: list[tuple[Crop, Crop, int, str]] = []
    missed: dict[str, list[bool]] = {way: [] for way in ("", *WAYS)}
    for number, (content, from_the_front) in enumerate(zip(of.jpeg, of.frontal, strict=True)):
        whole, way = _picture(content), [*WAYS][random.integers(len(WAYS))]
        spoiled = WAYS[way](whole, random.random(), random)
        frontal = _largest(_picture(from_the_front), detector, encoder)
        for name, rgb in (("", whole), (way, spoiled)):
            crop = _largest(rgb, detector, encoder)
            missed[name].append(crop is None)
            if crop is not None and frontal is not None:
                found.append((crop, frontal, number, name))
    crops, fronts, numbers, ways = zip(*found, strict=True)
    shares = {way: float(np.mean(gone)) for way, gone in missed.items()}
    return Faces([*crops], [*fronts], np.array(numbers), np.array(ways), shares)


def _picture(content: bytes) -> NDArray[np.uint8]:
    rgb = decode_image(content)
    assert rgb is not None
    return rgb


def _largest(rgb: NDArray[np.uint8], detector: Detector, encoder: FrozenEncoder) -> Crop | None:
    found = detector(rgb)
    if not found:
        return None
    face = max(found, key=lambda face: float(np.prod(face.box[2:] - face.box[:2])))
    side = round(encoder.image_size / encoder.crop)
    cut = align(rgb, face.points, DEFAULT_TEMPLATE, side)
    outside = share_outside(face.points, DEFAULT_TEMPLATE, *rgb.shape[:2])
    return Crop("0", 0, 0.0, face, centre(cut, encoder.crop, encoder.image_size), outside)


def read(faces: Faces, of: Portraits, encoder: FrozenEncoder, probe: LinearProbe) -> Read:
    """Embed faces, and take the probe's outputs and the truth."""
    au, pose = _embedded(faces.crops, encoder)
    frontal, _ = _embedded(faces.frontal, encoder)
    truth = of.intensities[:, [ACTION_UNITS.index(unit) for unit in probe.names]]
    outputs = (_intensities(probe, embeddings) for embeddings in (au, frontal))
    return Read(faces, au, pose, of.pose[faces.number], *outputs, truth[faces.number])


def _intensities(probe: LinearProbe, embeddings: Floats) -> Floats:
    """Return what a probe says from 0 to 1: intensities, or scores if it was not calibrated."""
    calibration = probe.calibration
    if calibration is None or calibration.intensity is None:
        return probe.scores(embeddings)
    return probe.intensities(embeddings) / STRONGEST


def _embedded(crops: list[Crop], encoder: FrozenEncoder) -> tuple[Floats, Floats]:
    images = torch.from_numpy(np.stack([crop.rgb for crop in crops])).permute(0, 3, 1, 2)
    parts = [encoder.embed(images[k : k + 256]) for k in range(0, len(images), 256)]
    au, pose = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return au, pose


def fit_head_pose(seen: Read, fingerprint: str) -> HeadPose:
    """Fit the pose of aligned heads."""
    degrees = seen.degrees.copy()
    degrees[:, 2] += turns_of(seen.faces.crops, DEFAULT_TEMPLATE)
    return HeadPose(fit_ridge(seen.pose, degrees, _L2), fingerprint)


def fit_confidence(seen: Read, head_pose: HeadPose, fingerprint: str) -> Confidence:
    """Fit how far a view leads the outputs astray: the log of it, then its mean."""
    embeddings = seen.both[seen.faces.way == ""]
    spread = np.cov(embeddings.T)
    spread += _SHRINKAGE * np.diag(np.diag(spread))
    whitening = np.linalg.cholesky(np.linalg.inv(spread))
    size = len(QUALITIES)
    blank = Confidence(np.zeros(size), np.zeros(()), embeddings.mean(0), whitening, fingerprint)
    hard = hard_to_see(blank, seen, head_pose)
    line = fit_ridge(hard, np.log(seen.astray)[:, None], _L2)
    offset = line.offset[0] + np.log(seen.astray.mean() / np.exp(line(hard)).mean())
    return blank._replace(weights=line.weights[:, 0], offset=np.array(offset))


def hard_to_see(confidence: Confidence, seen: Read, head_pose: HeadPose) -> Floats:
    """Return the qualities (N, Q) of faces."""
    crops = seen.faces.crops
    degrees = head_pose.degrees(seen.pose, turns_of(crops, DEFAULT_TEMPLATE))
    return confidence.qualities(crops, DEFAULT_TEMPLATE, degrees, seen.both)


# What the card says ------------------------------------------------------------------------------

_CARD = Path(__file__).with_name("readers.md")


def pose_table(seen: Read, head_pose: HeadPose) -> str:
    """Return the errors of the head pose as Markdown, for faces turned little and much."""
    found = head_pose.degrees(seen.pose, turns_of(seen.faces.crops, DEFAULT_TEMPLATE))
    error, well = np.abs(found - seen.degrees), seen.faces.way == ""
    away = np.abs(seen.degrees[:, :2]).max(1)
    rows = {
        "turned by up to 15": well & (away <= 15),
        "15 to 30": well & (away > 15) & (away <= 30),
        "more": well & (away > 30),
        "spoiled, all": ~well,
    }
    lines = ["| faces | number | yaw | pitch | roll |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, rows_of in rows.items():
        cells = " | ".join(f"{value:.1f}" for value in error[rows_of].mean(0))
        lines.append(f"| {name} | {rows_of.sum()} | {cells} |")
    return "\n".join(lines)


def confidence_table(seen: Read, confidences: Floats) -> str:
    """Return how wrong the outputs are by tenths of the confidence, as Markdown."""
    lines = [
        "| confidence | spoiled | led astray | squared error | correlation with the truth |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    error = ((seen.outputs - seen.truth) ** 2).mean(1)
    for part in np.array_split(np.argsort(confidences), 10):
        of, spoiled = confidences[part], (seen.faces.way[part] != "").mean()
        lines.append(
            f"| {of[0]:.2f} to {of[-1]:.2f} | {spoiled:.0%} | {seen.astray[part].mean():.2f} "
            f"| {error[part].mean():.4f} "
            f"| {_correlation(seen.outputs[part], seen.truth[part]):.2f} |"
        )
    return "\n".join(lines)


def _correlation(outputs: Floats, truth: Floats) -> float:
    """Return the mean over the action units of the correlation of (N, A) with (N, A)."""
    a, b = (values - values.mean(0) for values in (outputs, truth))
    return float(((a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))).mean())


def on_clips(folder: Path, name: str) -> str:
    """Say how far the head pose of real clips is that of the landmarker."""
    errors, levels, correlations = [], [], []
    with face_landmarker() as detect:
        for source in find_sources(folder):
            table = tcae.analyse(source.path, encoder=name)
            table = table[table["face_id"] == table["face_id"].mode()[0]].set_index("frame")
            ours, theirs = [], []
            for frame in source.read():
                pose = head_pose_of(detect(frame.rgb))
                if pose is not None and frame.index in table.index:
                    ours.append(table.loc[frame.index, ["yaw", "pitch", "roll"]].tolist())
                    theirs.append(pose)
            away = np.array(ours, float) - np.array(theirs)
            levels.append(np.abs(away).mean(0))
            errors.append(np.abs(away - np.median(away, 0)).mean(0))
            spread = np.std(theirs, 0)
            both = np.concatenate([np.array(ours, float), np.array(theirs)], 1)
            of = np.corrcoef(both.T)[[0, 1, 2], [3, 4, 5]]
            correlations.append(np.where(spread > _MOVES, of, np.nan))
    clips = len(errors)
    words = [
        f"{axis} {level:.1f} ({error:.1f} without each clip's own offset; correlation {r:.2f})"
        for axis, level, error, r in zip(
            ("yaw", "pitch", "roll"),
            np.mean(levels, 0), np.mean(errors, 0), np.nanmean(correlations, 0), strict=True,
        )
    ]  # fmt: skip
    return (
        f"mean absolute difference in {clips} clips: {', '.join(words)}. The correlation over time "
        f"is the mean of clips in which the angle has a standard deviation of {_MOVES:.0f} degree "
        "or more."
    )


def with_section(card: str, section: str) -> str:
    """Return a card with this section in place of an earlier one, else before its limits."""
    pattern = rf"^{HEADING}\n.*?(?=^## )"
    if re.search(pattern, card, re.MULTILINE | re.DOTALL):
        return re.sub(pattern, lambda _: f"{section}\n", card, flags=re.MULTILINE | re.DOTALL)
    return card.replace("## Limits\n", f"{section}\n## Limits\n")


def ship(name: str, options: argparse.Namespace) -> None:
    """Fit and write the files beside weights, and the section of their card."""
    folder = options.out / name
    encoder, probe = tcae.load_encoder(folder), tcae.load_probe(folder)
    detector, world = make_detector(), world_of(folder)
    seen = []
    for people, seed in ((options.people, _SEED), (options.others, _SEED + 1)):
        of = portraits(world, people, seed, options.cache)
        seen.append(read(find_faces(of, detector, encoder, seed), of, encoder, probe))
    fitted, others = seen
    head_pose = fit_head_pose(fitted, encoder.fingerprint)
    confidence = fit_confidence(fitted, head_pose, encoder.fingerprint)
    save_head_pose(folder / HEAD_POSE_FILE, head_pose)
    save_confidence(folder / CONFIDENCE_FILE, confidence)
    hard = hard_to_see(confidence, others, head_pose)
    weights = sorted(zip(-confidence.weights * hard.std(0), QUALITIES, strict=True))
    well = others.degrees[others.faces.way == ""]
    section = Template(_CARD.read_text(encoding="utf-8")).substitute(
        heading=HEADING,
        files=", ".join(
            f"`{name}` {(folder / name).stat().st_size:,}"
            for name in (HEAD_POSE_FILE, CONFIDENCE_FILE)
        ),
        fitted=len(fitted.faces.crops),
        people=options.people,
        others=options.others,
        found=f"{1 - others.faces.missed['']:.0%}",
        missed=", ".join(f"{1 - others.faces.missed[way]:.0%}" for way in WAYS),
        turned="standard deviations of the truth: yaw {:.0f}, pitch {:.0f}, roll {:.0f}".format(
            *well.std(0)
        ),
        pose=pose_table(others, head_pose),
        clips="not measured." if options.clips is None else on_clips(options.clips, name),
        confidence=confidence_table(others, confidence(hard)),
        weights=", ".join(f"{quality} {weight:.2f}" for weight, quality in weights),
    )
    card: Path = options.out / f"{name}.md"
    card.write_text(with_section(card.read_text(encoding="utf-8"), section), encoding="utf-8")
    print(section)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--name", default="detector-64", help="name of the weights")
    add("--people", type=int, default=280, help="number of people to fit to")
    add("--others", type=int, default=130, help="number of people to measure on")
    add("--clips", type=Path, help="directory of videos of real faces, one person each")
    add("--cache", type=Path, default=Path("runs/data"), help="directory of rendered people")
    add("--out", type=Path, default=FOLDER, help="directory of the weights")
    try:
        options = parser.parse_args()
        ship(options.name, options)
    except (ValueError, OSError) as error:
        sys.exit(f"readers: error: {error}")


if __name__ == "__main__":
    main()
