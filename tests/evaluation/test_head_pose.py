from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tcae.data.align import DEFAULT_TEMPLATE, align
from tcae.data.crops import Crop
from tcae.data.faces import Face
from tcae.data.pictures import centre
from tcae.data.synthetic.scene import Pose
from tcae.data.synthetic.world import World
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.head_pose import (
    HeadPose,
    find_head_pose,
    load_head_pose,
    openface_angles,
    save_head_pose,
    turns_of,
)
from tcae.evaluation.ridge import Ridge
from tcae.models.encoder_file import load_encoder
from tcae.weights import shipped


def rotation(axis: int, angle: float) -> np.ndarray:
    return cv2.Rodrigues(np.eye(3)[axis] * angle)[0]


@pytest.mark.parametrize("seed", range(5))
def test_openface_turns_the_head_as_the_renderer_does(seed):
    """OpenFace's axes are x to the right, y down, z away from the camera; R = Rx Ry Rz."""
    degrees = np.random.default_rng(seed).uniform(-50, 50, 3)
    x, y, z = openface_angles(degrees[None])[0]
    flip = np.diag([1, -1, -1])
    found = flip @ rotation(0, x) @ rotation(1, y) @ rotation(2, z) @ flip
    np.testing.assert_allclose(found, Pose(*np.radians(degrees)).rotation(), atol=1e-6)


def test_openface_signs():
    """A nose turned to the right of the picture, a lowered one, a head tilted clockwise."""
    angles = np.degrees(openface_angles(np.diag([20.0, 20.0, 20.0])))
    np.testing.assert_allclose(angles, [[0, -20, 0], [20, 0, 0], [0, 0, 20]], atol=1e-9)


def face(points: np.ndarray) -> Crop:
    return Crop("0", 0, 0.0, Face(np.zeros(4), points, 1.0), np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("angle", [-170, -90, -20, 0, 35, 120])
def test_what_alignment_turned_is_turned_back(angle):
    upright = DEFAULT_TEMPLATE.pixels(100)
    tilted = (upright - 50) @ rotation(2, np.radians(angle))[:2, :2].T * 2 + 300
    turns = turns_of([face(tilted), face(np.full((5, 2), np.nan))], DEFAULT_TEMPLATE)
    np.testing.assert_allclose(turns, [-angle, 0], atol=1e-9)
    still = HeadPose(Ridge(np.zeros((4, 3)), np.array([5.0, 6.0, 1.0])), "")
    found = still.degrees(np.ones((2, 4)), turns)
    np.testing.assert_allclose(found, [[5, 6, angle + 1], [5, 6, 1]], atol=1e-9)


@pytest.fixture(scope="module")
def heads() -> list[tuple[np.ndarray, Crop]]:
    """A rendered head turned by known angles, and from the front."""
    video = World(image_size=160, frames=2).video(5, 0)
    found = []
    for attitude in np.vstack([np.zeros(3), *(s * 18 * np.eye(3) for s in (-1, 1))]):
        state = video.neutral()._replace(attitude=attitude)
        rgb, points = video.scene(state), video.points(state)
        seen = centre(align(rgb, points, DEFAULT_TEMPLATE, 80), 0.8, 64)
        found.append((attitude, Crop("0", 0, 0.0, Face(np.zeros(4), points, 1.0), seen)))
    return found


@pytest.mark.parametrize("name", shipped())
def test_weights_that_ship_read_the_pose_of_a_rendered_head(name, heads):
    encoder, head_pose = load_encoder(name), find_head_pose(name)
    assert head_pose is not None and head_pose.encoder == encoder.fingerprint
    images = torch.from_numpy(np.stack([crop.rgb for _, crop in heads])).permute(0, 3, 1, 2)
    turns = turns_of([crop for _, crop in heads], DEFAULT_TEMPLATE)
    found = head_pose.degrees(encoder.embed(images).pose.numpy(), turns)
    turned = found[1:] - found[0]
    wanted = np.array([attitude for attitude, _ in heads[1:]])
    own = wanted != 0
    np.testing.assert_allclose(turned[own], wanted[own], atol=9)  # a wrong sign is 36 away
    assert np.abs(turned[~own]).mean() < 4


def test_saved_and_loaded(tmp_path):
    written = HeadPose(Ridge(np.arange(6.0).reshape(2, 3), np.ones(3)), "mine")
    save_head_pose(tmp_path / "h.safetensors", written)
    read = load_head_pose(tmp_path / "h.safetensors")
    assert read.encoder == "mine"
    np.testing.assert_array_equal(read.ridge.weights, written.ridge.weights)
    (tmp_path / "encoder.safetensors").write_bytes(b"")
    assert find_head_pose(tmp_path) is None
    save_head_pose(tmp_path / "head_pose.safetensors", written)
    assert find_head_pose(tmp_path) and find_head_pose(tmp_path / "encoder.safetensors")
    assert find_head_pose("pixels") is None


def test_of_another_encoder_it_is_refused(encoder):
    with pytest.raises(ValueError, match="HeadPose: it belongs to another encoder"):
        Extractor(encoder, head_pose=HeadPose(Ridge(np.zeros((3, 3)), np.zeros(3)), "other"))


def test_the_columns_of_the_pose(encoder):
    ridge = Ridge(np.zeros((3, 3)), np.array([10.0, 20.0, 0.0]))
    extractor = Extractor(encoder, None, (), head_pose=HeadPose(ridge, "colour"))
    points = DEFAULT_TEMPLATE.pixels(100)
    crop = face(points)._replace(rgb=np.zeros((32, 32, 3), np.uint8))
    from tcae.data.crops import CroppedFrame

    frames = iter([CroppedFrame(0, 0.0, [crop]), CroppedFrame(1, 0.1, [])])
    rows = [row for batch in extractor.rows("v", frames) for row in batch]
    names = [column.name for column in extractor.columns]
    assert names[-6:] == ["pose_Rx", "pose_Ry", "pose_Rz", "pitch", "yaw", "roll"]
    np.testing.assert_allclose(rows[0][-6:-3], openface_angles(np.array([[10.0, 20, 0]]))[0])
    assert rows[0][-3:] == pytest.approx([20, 10, 0], abs=1e-9)
    assert rows[1][-6:] == [None] * 6
