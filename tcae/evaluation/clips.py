"""Real clips, seen by the encoder with its probe and by the independent landmarker."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tcae.data.crops import Cropper
from tcae.data.sources import Source, find_sources
from tcae.data.video import read_frames
from tcae.evaluation.agreement import Agreement, Series, compare
from tcae.evaluation.extraction import SUCCESS, Extractor
from tcae.evaluation.landmarker import Detect, blendshapes, face_landmarker


def agreement_on_clips(
    folder: Path, extractor: Extractor, detector: str = "mtcnn"
) -> list[Agreement]:
    """How far the probe's outputs follow the landmarker's scores, clip by clip.

    Every frame is looked at. Faces are found, aligned and embedded as `tcae.extract` does it; the
    landmarker gets the whole frames. Each clip should show one person: of several, the probe's
    outputs are of the one seen longest.

    Args:
        folder: Video files, or one of them; folders of pictures have no times and are left out.
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
    """Probabilities of the action units in each frame, of the person seen longest."""
    names = [column.name for column in extractor.columns]
    units = extractor.probe.names if extractor.probe is not None else ()
    people: dict[int, dict[float, dict[str, float]]] = defaultdict(dict)
    for rows in extractor.rows(clip.name, cropper(clip)):
        for row in rows:
            if row[SUCCESS]:
                cells = dict(zip(names, row, strict=True))
                found = {unit: cells[f"{unit}_p"] for unit in units}
                people[cells["face_id"]][cells["timestamp"]] = found
    return max(people.values(), key=len, default={})


def scores_of(clip: Source, detect: Detect) -> Series:
    """The landmarker's scores in each frame in which it finds a face."""
    found = ((frame.timestamp, blendshapes(detect(frame.rgb))) for frame in read_frames(clip.path))
    return {time: scores for time, scores in found if scores is not None}
