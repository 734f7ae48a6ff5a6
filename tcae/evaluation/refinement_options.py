"""What a user says of neutral faces and smoothing, as options or as arguments."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tcae.data.crops import Cropper
from tcae.data.sources import find_sources
from tcae.evaluation.extraction import FACE_ID, SUCCESS, Extractor
from tcae.evaluation.metrics import Array
from tcae.evaluation.neutral import Neutral
from tcae.evaluation.refinement import Refinement

log = logging.getLogger(__name__)

NeutralChoice = str | Path | tuple[float, float] | None

_NEEDED = "auto, none, START:END in seconds of the video, or a picture or video of the neutral face"


def refined(
    extractor: Extractor, cropper: Cropper, neutral: NeutralChoice, smooth: float
) -> tuple[Extractor, Refinement | None]:
    """Return an extractor of logits and what is done to them; None if nothing is.

    Args:
        extractor: The encoder, with its probe if there is one.
        cropper: Cuts faces out for the extractor, should a neutral face be in a file.
        neutral: Where neutral faces are found, see `read_neutral`.
        smooth: Width in seconds of the window that smooths over time. 0: no smoothing.

    Raises:
        ValueError: An option is wrong, or the probe was not calibrated and a neutral face is given.
    """
    if not 0 <= smooth < float("inf"):
        raise ValueError(f"--smooth must be a number of seconds from 0 on, not {smooth}")
    found, probe = read_neutral(neutral), extractor.probe
    if probe is None:
        return extractor, None
    if probe.calibration is None:
        log.warning(
            "the probe was not calibrated: AU12_score is a score from 0 to 1 and no probability "
            "(docs/weights.md)"
        )
        if found is not None:
            raise ValueError(f"--neutral {neutral}: needs a calibrated probe, as tcae.probe makes")
    if isinstance(found, Path):
        found = look_at(found, cropper, extractor)
    if found is None and not smooth:
        return extractor, None
    return replace(extractor, logits=True), Refinement(probe, found, smooth)


def read_neutral(option: NeutralChoice) -> Neutral | Path | None:
    """Return where neutral faces are found; a path if it has to be looked at first.

    Args:
        option: "auto"; "none" or None; "START:END" or (start, end) in seconds; or a path.

    Raises:
        ValueError: It is none of these.

    Example:
        >>> read_neutral("0:2.5")
        Neutral(frames=(0.0, 2.5), logits=None)
    """
    if option is None or option == "none":
        return None
    if option == "auto":
        return Neutral()
    if isinstance(option, tuple):
        start, end = option
    elif found := re.fullmatch(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)", str(option)):
        start, end = (float(number) for number in found.groups())
    elif Path(option).exists():
        return Path(option)
    else:
        raise ValueError(f"--neutral {option}: no such file; {_NEEDED} is needed")
    if not 0 <= start < end:
        raise ValueError(f"--neutral {start:g}:{end:g}: START must lie before END")
    return Neutral((float(start), float(end)))


def look_at(path: Path, cropper: Cropper, extractor: Extractor) -> Neutral:
    """Return the neutral face that a picture, a video or a folder of pictures shows.

    Of several people the one in most frames counts, in pictures the largest.

    Args:
        path: The file or folder.
        cropper: Cuts faces out for the extractor.
        extractor: The encoder, with its probe.

    Raises:
        ValueError: There is no face in it. Or it cannot be read.
    """
    reader = replace(extractor, embeddings=(), points=False, files=False, logits=True)
    assert reader.probe is not None  # who has none wants no neutral face
    people: dict[int, list[Array]] = {}
    for source in find_sources(path):
        for rows in reader.rows(str(source.path), cropper(source)):
            for row in rows:
                if row[SUCCESS]:
                    logits = np.array(row[-len(reader.probe.names) :], np.float64)
                    people.setdefault(row[FACE_ID], []).append(logits)
    if not people:
        raise ValueError(f"--neutral {path}: no face in it")
    return Neutral(logits=np.mean(max(people.values(), key=len), axis=0))
