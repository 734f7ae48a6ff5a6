"""Real clips, for the encoder with its probe and for the independent landmarker."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tcae.data.crops import Cropper
from tcae.data.sources import Source, find_sources
from tcae.data.video import read_frames
from tcae.evaluation.agreement import Agreement, Series, compare
from tcae.evaluation.calibration import sigmoid
from tcae.evaluation.extraction import SUCCESS, Extractor
from tcae.evaluation.landmarker import Detect, blendshapes, face_landmarker


def agreement_on_clips(
    folder: Path, extractor: Extractor, detector: str = "mtcnn"
) -> list[Agreement]:
    """Return how far the probe's outputs follow the landmarker's scores, clip by clip.

    Every frame is read. Faces are found, aligned and embedded as in `tcae.extract`; the landmarker
    gets whole frames. Each clip should show one person. If it shows several, the probe's outputs
    are those of the person in most frames.

    Args:
        folder: Video files, or one of them. Folders of pictures have no times and are left out.
        extractor: The encoder with its probe.
        detector: Finds the faces for the encoder.

    Raises:
        ValueError: The packages of the landmarker or the detector are missing, there are no video
            files, or one of them is damaged.
    """
    clips = [source for source in find_sources(folder) if source.is_file]
    if not clips:
        raise ValueError(f"{folder}: no video file in it")
    cropper = Cropper(extractor.crop_config(None, detector))
    rows = []
    with face_landmarker() as detect:
        for clip in clips:
            rows += compare(
                clip.name, outputs_of(clip, cropper, extractor), scores_of(clip, detect)
            )
    return rows


def outputs_of(clip: Source, cropper: Cropper, extractor: Extractor) -> Series:
    """Return the scores of the action units in each frame, of the person in most frames."""
    units = extractor.probe.names if extractor.probe is not None else ()
    person = person_in(clip, cropper, replace(extractor, logits=True))
    return {
        time: {unit: float(sigmoid(cells[f"{unit}_logit"])) for unit in units}
        for time, cells in person.items()
    }


def person_in(
    clip: Source, cropper: Cropper, extractor: Extractor
) -> Mapping[float, Mapping[str, Any]]:
    """Return the cells of each frame, by time and by column, of the person in most frames."""
    names = [column.name for column in extractor.columns]
    people: dict[int, dict[float, dict[str, Any]]] = defaultdict(dict)
    for rows in extractor.rows(clip.name, cropper(clip)):
        for row in rows:
            if row[SUCCESS]:
                cells = dict(zip(names, row, strict=True))
                people[cells["face_id"]][cells["timestamp"]] = cells
    return max(people.values(), key=len, default={})


def scores_of(clip: Source, detect: Detect) -> Series:
    """Return the landmarker's scores for each frame in which it finds a face."""
    found = ((frame.timestamp, blendshapes(detect(frame.rgb))) for frame in read_frames(clip.path))
    return {time: scores for time, scores in found if scores is not None}
