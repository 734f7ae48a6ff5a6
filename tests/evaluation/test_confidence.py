from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tcae.data.align import DEFAULT_TEMPLATE, align, share_outside
from tcae.data.crops import Crop, CroppedFrame
from tcae.data.faces import Face
from tcae.data.pictures import centre
from tcae.data.synthetic.world import World
from tcae.evaluation.confidence import (
    QUALITIES,
    Confidence,
    find_confidence,
    load_confidence,
    save_confidence,
)
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.head_pose import HeadPose, find_head_pose, turns_of
from tcae.evaluation.ridge import Ridge
from tcae.models.encoder_file import load_encoder
from tcae.weights import shipped

BLANK = Confidence(np.zeros(len(QUALITIES)), np.log(0.25), np.zeros(6), np.eye(6), "colour")


def face(rgb: np.ndarray, size: float = 100, score: float = 0.9, outside: float = 0.0) -> Crop:
    points = DEFAULT_TEMPLATE.pixels(1) * size
    return Crop("0", 0, 0.0, Face(np.zeros(4), points, score), rgb, outside)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def quality(name: str, crop: Crop, degrees=(0.0, 0.0, 0.0), embedding=(1.0,) * 6) -> float:
    values = BLANK.qualities([crop], DEFAULT_TEMPLATE, np.array([degrees]), np.array([embedding]))
    assert values.shape == (1, len(QUALITIES))
    return float(values[0, QUALITIES.index(name)])


def test_each_quantity_is_what_it_is_called():
    rgb = noise()
    assert quality("turned", face(rgb), (-60, 0, 9)) == 4
    assert quality("nodding", face(rgb), (5, 15, 9)) == 0.25
    assert [quality("small", face(rgb, size)) for size in (160, 80, 40, 10)] == pytest.approx(
        [0, 0, 1, 3]
    )
    assert quality("blurred", face(cv2.GaussianBlur(rgb, (0, 0), 2))) > 1 + quality(
        "blurred", face(rgb)
    )
    assert quality("dark", face(rgb // 4)) - quality("dark", face(rgb)) == pytest.approx(
        np.log(4), abs=0.1
    )
    assert quality("flat", face(rgb // 4 + 90)) > 1 + quality("flat", face(rgb))
    assert quality("blurred", face(rgb // 4 + 90)) == pytest.approx(
        quality("blurred", face(rgb)), abs=0.2
    )  # contrast alone does not blur
    assert quality("doubtful", face(rgb, score=0.9)) == pytest.approx(-np.log(9))
    assert quality("doubtful", face(rgb, score=float("nan"))) == -12
    assert quality("outside", face(rgb, outside=0.3)) == 0.3
    assert quality("odd", face(rgb), embedding=(2,) * 6) == pytest.approx(np.log(4))


def test_a_face_that_came_aligned_is_not_small():
    points = np.full((5, 2), np.nan)
    crop = Crop("0", 0, 0.0, Face(np.zeros(4), points, float("nan")), noise())
    assert quality("small", crop) == 0


def test_it_takes_the_place_of_the_detectors_score(encoder):
    crop = face(np.zeros((32, 32, 3), np.uint8))
    still = HeadPose(Ridge(np.zeros((3, 3)), np.zeros(3)), "colour")
    for confidence, wanted in ((None, 0.9), (BLANK, 0.75)):
        extractor = Extractor(encoder, None, (), head_pose=still, confidence=confidence)
        frames = iter([CroppedFrame(0, 0.0, []), CroppedFrame(1, 0.1, [crop])])
        (rows,) = extractor.rows("v", frames)
        assert [row[4] for row in rows] == pytest.approx([0, wanted])


def test_it_needs_the_pose_and_its_own_encoder(encoder):
    with pytest.raises(ValueError, match="needs the pose of the head"):
        Extractor(encoder, confidence=BLANK)
    with pytest.raises(ValueError, match="Confidence: it belongs to another encoder"):
        Extractor(encoder, confidence=BLANK._replace(encoder="other"))


def test_saved_and_loaded(tmp_path):
    save_confidence(tmp_path / "confidence.safetensors", BLANK)
    read = load_confidence(tmp_path / "confidence.safetensors")
    assert read.encoder == "colour" and float(read.offset) == pytest.approx(np.log(0.25))
    assert find_confidence("pixels") is None


@pytest.fixture(scope="module")
def person() -> tuple[np.ndarray, np.ndarray]:
    """A rendered face from the front, 80 pixels of a picture of 160, and its points."""
    video = World(image_size=160, frames=2).video(5, 0)
    state = video.neutral()
    crop = state.crop * 0.5
    crop[:, 2] += 0.25
    state = state._replace(crop=crop)
    return video.scene(state), video.points(state)


def seen(rgb: np.ndarray, points: np.ndarray) -> Crop:
    aligned = centre(align(rgb, points, DEFAULT_TEMPLATE, 80), 0.8, 64)
    outside = share_outside(points, DEFAULT_TEMPLATE, *rgb.shape[:2])
    return Crop("0", 0, 0.0, Face(np.zeros(4), points, 0.99), aligned, outside)


@pytest.mark.parametrize("name", shipped())
def test_faces_that_are_hard_to_see_have_less_of_it(name, person):
    rgb, points = person
    small = cv2.resize(rgb, (24, 24), interpolation=cv2.INTER_AREA)
    covered = rgb.copy()
    cv2.circle(covered, tuple(points.mean(0).astype(int).tolist()), 22, (40, 90, 160), -1)
    turned = World(image_size=160, frames=2).video(5, 0)
    state = turned.neutral()._replace(attitude=np.array([50.0, 0, 0]))
    crops = [
        seen(rgb, points),
        seen(cv2.GaussianBlur(rgb, (0, 0), 4), points),
        seen(rgb // 8, points),
        seen(small, (points + 0.5) * 24 / 160 - 0.5),
        seen(covered, points),
        seen(turned.scene(state), turned.points(state)),
        seen(np.ascontiguousarray(rgb[70:]), points - np.array([0, 70])),
    ]
    encoder, head_pose, confidence = load_encoder(name), find_head_pose(name), find_confidence(name)
    assert head_pose is not None and confidence is not None
    images = torch.from_numpy(np.stack([crop.rgb for crop in crops])).permute(0, 3, 1, 2)
    embedded = encoder.embed(images)
    degrees = head_pose.degrees(embedded.pose.numpy(), turns_of(crops, DEFAULT_TEMPLATE))
    found = confidence(
        confidence.qualities(crops, DEFAULT_TEMPLATE, degrees, torch.cat(embedded, 1).numpy())
    )
    assert (found[1:] < found[0] - 0.05).all(), found
