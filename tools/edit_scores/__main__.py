"""Measure edits of faces: on clips of real people by a landmarker, on rendered ones by the truth.

    python tools/edit_scores CLIPS [--out tcae/weights/synthetic-64/edits.json]
    python tools/edit_scores --rendered 40

On clips (extra [landmarker]): frames of a clip take over the action units of other frames of it.
The landmarker scores source, target and edited picture. For each unit the change that was got is
correlated with the change that was wanted. A face that always went to one and the same expression
would correlate too, as far as sources differ. So there is a second correlation, of the targets of
each source alone, against their mean. On rendered people: the cosine between the flow of an edit
of one unit and the exact flow of that unit.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tcae.data.detectors import make_detector
from tcae.data.face_looks import agreement as looks_agree
from tcae.data.face_looks import look_of
from tcae.data.faces import Detector
from tcae.data.sources import find_sources
from tcae.data.synthetic.expression import ACTION_UNITS
from tcae.data.synthetic.world import World
from tcae.data.turned_faces import UprightDetector
from tcae.data.video import estimated_frames, read_frames
from tcae.editing.editor import FaceEditor, Portrait
from tcae.evaluation.agreement import BLENDSHAPES, VARIES
from tcae.evaluation.landmarker import Detect, blendshapes, face_landmarker

Array = NDArray[np.float64]

UNITS = tuple(BLENDSHAPES)
_VARIES = VARIES * 2**0.5  # of changes between two frames
_OTHER_PEOPLE = 7301  # seed of rendered people whom nothing was fitted to


class Judged(NamedTuple):
    """What the landmarker says: scores (A,) of `UNITS`, rotation (3, 3) of the head."""

    scores: Array
    head: Array


class Frame(NamedTuple):
    """A frame of a clip, with the five points of its face."""

    face: Portrait
    points: Array
    judged: Judged


class Edit(NamedTuple):
    """What came of a source, a target, and the source with the target's action units or pose.

    Attributes:
        clip: Name of the clip.
        source: Number of the source in it.
        wanted: (A,) change of the scores from source to target.
        got: (A,) change from source to edited picture.
        wanted_turn: (3,) pitch, yaw and roll from source to target, in degrees.
        got_turn: (3,) from source to edited picture.
        same: Agreement of the looks of source and edited picture (`tcae.data.face_looks`).
        alike: Agreement of the looks of source and target.
    """

    clip: str
    source: int
    wanted: Array
    got: Array
    wanted_turn: Array
    got_turn: Array
    same: float
    alike: float


def judge(detect: Detect, rgb: NDArray[np.uint8]) -> Judged | None:
    """Return what the landmarker says of a picture. None: it finds no face."""
    result = detect(rgb)
    shapes = blendshapes(result)
    if shapes is None:
        return None
    scores = [np.mean([shapes[name] for name in names]) for names in BLENDSHAPES.values()]
    left, _, right = np.linalg.svd(np.array(result.facial_transformation_matrixes[0])[:3, :3])
    return Judged(np.array(scores), left @ right)


def frames(
    path: Path, editor: FaceEditor, detector: Detector, detect: Detect, count: int
) -> list[Frame]:
    """Return about `count` frames of a clip, evenly spaced, in which both find a face."""
    step = max((estimated_frames(path) or count) // count, 1)
    find, found = UprightDetector(detector), []
    for frame in read_frames(path):
        if frame.index % step == 0:
            faces, judged = find(frame.rgb), judge(detect, frame.rgb)
            if faces and judged is not None:
                points = max(faces, key=lambda face: face.area).points
                found.append(Frame(editor.portrait(frame.rgb, points), points, judged))
    return found


def edits(
    clip: str,
    shown: Sequence[Frame],
    edited: Callable[[Portrait, Portrait], NDArray[np.uint8]],
    detect: Detect,
    targets: int,
) -> Iterator[Edit]:
    """Yield edits of every frame of a clip towards some of its others, drawn at random."""
    random = np.random.default_rng(0)
    for number, source in enumerate(shown):
        others = [k for k in range(len(shown)) if k != number]
        for k in random.choice(others, min(targets, len(others)), replace=False).tolist():
            target, picture = shown[k], edited(source.face, shown[k].face)
            after = judge(detect, picture)
            if after is None:
                continue
            before, wanted = source.judged, target.judged
            look = look_of(source.face.picture, source.points)
            looks = (look_of(picture, source.points), look_of(target.face.picture, target.points))
            yield Edit(
                clip,
                number,
                wanted.scores - before.scores,
                after.scores - before.scores,
                angles(wanted.head) - angles(before.head),
                angles(after.head) - angles(before.head),
                *(looks_agree([look], other) for other in looks),  # type: ignore[list-item]
            )


def angles(head: Array) -> Array:
    """Return pitch, yaw and roll of a rotation in degrees, with signs of their own."""
    pitch = np.arctan2(-head[2, 1], head[2, 2])
    yaw = np.arcsin(np.clip(head[2, 0], -1, 1))
    return np.degrees([pitch, yaw, np.arctan2(head[1, 0], head[0, 0])])


class Follows(NamedTuple):
    """How a unit follows, means over the clips in which it varies.

    Attributes:
        clips: Number of these clips.
        correlation: Of the changes that were got with those that were wanted.
        within: The same of their differences from their means over each source's targets.
        share: How much of a wanted change is got.
    """

    clips: int
    correlation: float
    within: float
    share: float


def follows(found: Iterable[Edit]) -> dict[str, Follows]:
    """Return how each unit follows that varies in a clip."""
    clips: dict[str, list[Edit]] = {}
    for edit in found:
        clips.setdefault(edit.clip, []).append(edit)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for of_clip in clips.values():
        wanted, got = (np.stack([getattr(e, name) for e in of_clip]) for name in ("wanted", "got"))
        sources = np.array([edit.source for edit in of_clip])
        alone = [_less_means(values, sources) for values in (wanted, got)]
        for at, unit in enumerate(UNITS):
            if wanted[:, at].std() >= _VARIES:
                row = (
                    _correlation(wanted[:, at], got[:, at]),
                    _correlation(alone[0][:, at], alone[1][:, at]),
                    float(wanted[:, at] @ got[:, at] / (wanted[:, at] @ wanted[:, at])),
                )
                rows.setdefault(unit, []).append(row)
    return {
        unit: Follows(len(found), *np.mean(found, 0).tolist())
        for unit, found in sorted(rows.items())
    }


def _less_means(values: Array, groups: NDArray[np.int64]) -> Array:
    """Return values (N, A) less their means over the rows of their group."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(sums, group, values)
    return np.asarray(values - (sums / np.bincount(group)[:, None])[group])


def _correlation(a: Array, b: Array) -> float:
    if a.std() < 1e-9 or b.std() < 1e-9:  # what never changes follows nothing
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def cosines(editor: FaceEditor, people: int) -> dict[str, float]:
    """Return the cosine between edits of one unit and its exact flow, means over rendered people.

    Everybody's face at rest, from the front, is to show a unit at full intensity.
    """
    world = World(image_size=128, seed=_OTHER_PEOPLE, identities=people)
    found: dict[str, list[float]] = {unit: [] for unit in editor.units}
    for person in range(people):
        video = world.video(person, 0)
        rest = video.neutral()
        face = editor.portrait(video.scene(rest), video.points(rest))
        for unit in editor.units:
            intensities = rest.intensities.copy()
            intensities[ACTION_UNITS.index(unit)] = 1
            exact = video.flow(rest, rest._replace(intensities=intensities))
            ours = editor.flow(face, {unit: 1.0}).numpy()
            truth, where = _aligned(exact.flow, exact.face, face, ours.shape[-1])
            inner = float((ours * truth * where).sum())
            size = np.sqrt((ours**2 * where).sum() * (truth**2 * where).sum())
            found[unit].append(inner / max(float(size), 1e-9))
    return {unit: float(np.mean(values)) for unit, values in found.items()}


def _aligned(
    flow: NDArray[np.float32], face: NDArray[np.bool_], portrait: Portrait, size: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Return a flow of a picture as one of the aligned face, and where that shows skin."""
    layers = np.dstack([*flow, face.astype(np.float32)])
    seen = cv2.warpAffine(layers, portrait.matrix, (size, size))
    vectors = seen[..., :2] @ portrait.matrix[:, :2].T
    return np.moveaxis(vectors, -1, 0), seen[..., 2] > 0.5


def on_clips(folder: Path, editor: FaceEditor, count: int, targets: int) -> tuple[str, Any]:
    """Return tables of what edits do to the people of clips, and the correlation of each unit."""
    acted: list[Edit] = []
    turned: list[Edit] = []
    detector = make_detector()
    with face_landmarker() as detect:
        for clip in (source for source in find_sources(folder) if source.is_file):
            shown = frames(clip.path, editor, detector, detect, count)
            acted += edits(clip.name, shown, lambda a, b: editor(a, aus=b), detect, targets)
            turned += edits(clip.name, shown, lambda a, b: editor(a, pose=b), detect, 1)
    rows = follows(acted)
    lines = [
        "| unit | clips | r | r within a source | share of the change |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {unit} | {row.clips} | {row.correlation:.2f} | {row.within:.2f} | {row.share:.2f} |"
        for unit, row in rows.items()
    ]
    lines += ["", f"{len(acted)} edits of action units; {_stays(acted)}", ""]
    wanted, got = (
        np.stack([getattr(e, name) for e in turned]) for name in ("wanted_turn", "got_turn")
    )
    lines += ["| angle | r | share of the turn |", "|---|---:|---:|"]
    for at, angle in enumerate(("pitch", "yaw", "roll")):
        share = float(wanted[:, at] @ got[:, at] / (wanted[:, at] @ wanted[:, at]))
        lines.append(f"| {angle} | {_correlation(wanted[:, at], got[:, at]):.2f} | {share:.2f} |")
    lines += ["", f"{len(turned)} edits of the pose; looks {_mean(turned, 'same'):.2f}"]
    figures = {unit: round(row.correlation, 2) for unit, row in rows.items()}
    return "\n".join(lines), figures


def _stays(found: Sequence[Edit]) -> str:
    """Say how much of pose and identity stays, beside how much of it is the same in the target."""
    moved, apart = (
        np.mean([np.linalg.norm(getattr(e, name)) for e in found])
        for name in ("got_turn", "wanted_turn")
    )
    return (
        f"the head turns by {moved:.1f} degrees (target: {apart:.1f}), looks agree with the source "
        f"by {_mean(found, 'same'):.2f} (target: {_mean(found, 'alike'):.2f})"
    )


def _mean(found: Sequence[Edit], name: str) -> float:
    return float(np.mean([getattr(edit, name) for edit in found]))


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("clips", nargs="?", type=Path, help="folder of videos of real faces, or one of them")
    add("--weights", default="synthetic-64", help="weights that edit")
    add("--rendered", type=int, default=0, help="rendered people to measure on")
    add("--frames", type=int, default=36, help="frames of each clip")
    add("--targets", type=int, default=4, help="targets of each frame")
    add("--out", type=Path, help="JSON file for the correlations on the clips")
    options = parser.parse_args()
    editor = FaceEditor.load(options.weights)
    if options.rendered:
        for unit, cosine in cosines(editor, options.rendered).items():
            print(f"{unit} {cosine:.2f}")
    if options.clips is not None:
        text, figures = on_clips(options.clips, editor, options.frames, options.targets)
        print(text)
        if options.out is not None:
            options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
