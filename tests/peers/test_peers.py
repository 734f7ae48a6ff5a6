"""What other libraries require of their own samplers, required of `warp`.

Each part names whose checks it restates. Cases are theirs in kind; numbers come from the peer
itself where it is installed, else from a closed form. Differences that are meant are at the end.
"""

import itertools
import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

import tcae_ops
from tcae_ops import flow_from_grid, warp

PADDINGS = ["border", "zeros", "reflection"]


@pytest.fixture(autouse=True)
def same_numbers():
    torch.manual_seed(0)


def positions(flow):
    """Return where a flow (N, 2, H, W) in pixels samples: rows and columns, as arrays (N, H, W)."""
    h, w = flow.shape[2:]
    y, x = np.mgrid[:h, :w]
    return y + flow[:, 1].numpy(), x + flow[:, 0].numpy()


# torch: `test_grid_sample` and the samples of OpInfo for `grid_sampler_2d`.

# Without align_corners grid_sample mirrors elsewhere: see the end.
CONVENTIONS = [(p, a) for p in PADDINGS for a in (False, True) if a or p != "reflection"]
SIZES = [(5, 7, 3, 4), (2, 2, 9, 9), (8, 3, 8, 3), (4, 6, 1, 1), (7, 2, 2, 11)]


def sampled(image, grid, padding, align_corners):
    flow = flow_from_grid(grid, image.shape[2:], align_corners=align_corners)
    return warp(image, flow, padding=padding)


@pytest.mark.parametrize(("padding", "align_corners"), CONVENTIONS)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 9])
def test_torch_random_sizes(size, channels, padding, align_corners):
    ih, iw, h, w = size
    image = torch.randn(3, channels, ih, iw, dtype=torch.float64, requires_grad=True)
    grid = 2.6 * (torch.rand(3, h, w, 2, dtype=torch.float64) - 0.5)
    grid.requires_grad_()
    options = {"mode": "bilinear", "padding_mode": padding, "align_corners": align_corners}
    results = [sampled(image, grid, padding, align_corners), F.grid_sample(image, grid, **options)]
    torch.testing.assert_close(*results, rtol=0, atol=1e-12)
    upstream = torch.randn_like(results[0])
    by_ours, by_torch = (torch.autograd.grad(it, (image, grid), upstream) for it in results)
    torch.testing.assert_close(by_ours, by_torch, rtol=0, atol=1e-10)


@pytest.mark.parametrize("layout", ["transposed", "expanded", "channels_last", "sliced"])
def test_torch_inputs_that_are_not_contiguous(layout):
    image, grid = torch.randn(2, 3, 6, 5), 2.4 * (torch.rand(2, 4, 7, 2) - 0.5)
    expected = F.grid_sample(image, grid, align_corners=True)
    if layout == "transposed":
        image = image.transpose(2, 3).contiguous().transpose(2, 3)
        grid = grid.movedim(-1, 1).contiguous().movedim(1, -1)
    elif layout == "expanded":
        image = image[:1].expand(2, -1, -1, -1)
        expected = F.grid_sample(image, grid, align_corners=True)
    elif layout == "channels_last":
        image = image.contiguous(memory_format=torch.channels_last)
    else:
        wide = torch.full((2, 4, 8, 9), math.nan)
        wide[:, :3, 1:7, 2:7] = image
        image = wide[:, :3, 1:7, 2:7]
    torch.testing.assert_close(sampled(image, grid, "zeros", True), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_torch_positions_at_the_edges(padding):
    """Corners, edges, just inside, just outside, far outside, and beyond whole numbers."""
    ends = [-1e6, -1.0001, -1.0, -0.9999, -1e-6, 0.0, 0.5, 0.9999, 1.0, 1.0001, 1e6, 3e9]
    grid = torch.tensor(list(itertools.product(ends, ends)), dtype=torch.float64)
    grid = grid.reshape(1, len(ends), len(ends), 2)
    image = torch.arange(10.0, dtype=torch.float64).reshape(1, 1, 2, 5)
    for align_corners in (False, True):
        expected = F.grid_sample(image, grid, padding_mode=padding, align_corners=align_corners)
        got = sampled(image, grid, padding, align_corners)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("batch", [0, 1])
def test_torch_empty_batches(batch):
    image = torch.ones(batch, 2, 4, 4, requires_grad=True)
    grid = torch.zeros(batch, 3, 5, 2, requires_grad=True)
    result = sampled(image, grid, "border", True)
    assert result.shape == (batch, 2, 3, 5)
    result.sum().backward()
    assert image.grad.shape == image.shape and grid.grad.shape == grid.shape


# kornia: `remap`, `warp_affine`, `warp_perspective`.


@pytest.mark.parametrize("padding", PADDINGS)
def test_kornia_identity(padding):
    image = torch.rand(2, 3, 6, 9)
    assert warp(image, torch.zeros(2, 2, 6, 9), padding=padding).equal(image)


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, 1), (-1, 0), (2, -3)])
def test_kornia_whole_pixels_shift(dx, dy):
    image = torch.rand(1, 2, 8, 8)
    flow = torch.tensor([float(dx), float(dy)])[None, :, None, None].expand(1, 2, 8, 8)
    padded = F.pad(image, (4, 4, 4, 4))
    expected = padded[:, :, 4 + dy : 12 + dy, 4 + dx : 12 + dx]
    assert warp(image, flow, padding="zeros").equal(expected)


def test_kornia_one_map_for_many_images():
    images, flow = torch.rand(4, 1, 5, 6), torch.randn(1, 2, 5, 6)
    assert warp(images, flow).equal(warp(images, flow.expand(4, 2, 5, 6)))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_kornia_quarter_turns(degrees):
    image = torch.rand(1, 3, 7, 7)
    turn = math.radians(degrees)
    theta = torch.tensor(
        [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0]]
    )
    grid = F.affine_grid(theta[None].float(), [1, 3, 7, 7], align_corners=True)
    expected = torch.rot90(image, degrees // 90, (2, 3))
    torch.testing.assert_close(sampled(image, grid, "border", True), expected, rtol=0, atol=1e-5)


def test_kornia_there_and_back():
    """A smooth picture that is turned a little and turned back is itself, but for its edges."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = (torch.sin(x / 9) + torch.cos(y / 7))[None, None]

    def turned(picture, angle):
        c, s = math.cos(angle), math.sin(angle)
        theta = torch.tensor([[[c, -s, 0.0], [s, c, 0.0]]])
        grid = F.affine_grid(theta, list(picture.shape), align_corners=True)
        return sampled(picture, grid, "border", True)

    again = turned(turned(image, 0.2), -0.2)
    inner = (..., slice(16, 48), slice(16, 48))
    torch.testing.assert_close(again[inner], image[inner], rtol=0, atol=0.02)


# OpenCV: `remap`. It rounds positions to 1/32 of a pixel, and bytes to whole numbers.

BORDERS = {
    "border": cv2.BORDER_REPLICATE,
    "zeros": cv2.BORDER_CONSTANT,
    "reflection": cv2.BORDER_REFLECT_101,
}


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_opencv_remap(channels, dtype, padding):
    image = (256 * torch.rand(1, channels, 17, 23)).to(torch.uint8)
    flow = (64 * torch.randn(1, 2, 17, 23)).round() / 32  # where OpenCV does not round
    if dtype == torch.float32:
        image = image / 255
    rows, columns = positions(flow)
    pixels = np.ascontiguousarray(image[0].movedim(0, -1).numpy())
    maps = columns[0].astype(np.float32), rows[0].astype(np.float32)
    found = cv2.remap(pixels, *maps, cv2.INTER_LINEAR, borderMode=BORDERS[padding])
    expected = torch.from_numpy(found.reshape(17, 23, channels)).movedim(-1, 0)[None]
    if dtype == torch.uint8:
        expected = expected / 255
    rounding = 0.51 / 255 if dtype == torch.uint8 else 1e-5
    got = warp(image, flow, padding=padding)
    torch.testing.assert_close(got, expected, rtol=0, atol=rounding)


# SciPy: `map_coordinates` of order 1.

MODES = {"border": "nearest", "zeros": "grid-constant", "reflection": "mirror"}


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("reach", [0.3, 4.0, 60.0])
@pytest.mark.parametrize("shape", [(9, 13), (2, 31), (16, 2)])
def test_scipy_map_coordinates(shape, reach, padding):
    image = torch.rand(2, 1, *shape, dtype=torch.float64)
    flow = reach * torch.randn(2, 2, *shape, dtype=torch.float64)
    where = np.stack(positions(flow), 1)
    expected = np.stack(
        [
            ndimage.map_coordinates(picture[0], place, order=1, mode=MODES[padding])
            for picture, place in zip(image.numpy(), where, strict=True)
        ]
    )
    got = warp(image, flow, padding=padding)
    torch.testing.assert_close(got[:, 0], torch.from_numpy(expected), rtol=0, atol=1e-11)


# RAFT and the optical flow that came after it: `bilinear_sampler`, `flow_warp`, `coords_grid`.


def coordinates(h, w):
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([x, y]).to(torch.float64)[None]


def test_raft_a_warped_grid_of_coordinates_is_the_grid_plus_the_flow():
    grid = coordinates(12, 15)
    target = (grid + 2 * torch.randn_like(grid)).clamp(min=0)
    target = torch.minimum(target, torch.tensor([14.0, 11.0])[:, None, None])
    torch.testing.assert_close(warp(grid, target - grid), target, rtol=0, atol=1e-12)


def test_raft_lookup_around_a_position():
    """A window of a correlation volume: a small picture for every pixel, nine positions each."""
    volume = torch.rand(30, 1, 8, 10, dtype=torch.float64)
    centre = torch.rand(30, 2, 1, 1, dtype=torch.float64) * torch.tensor([9.0, 7.0])[:, None, None]
    window = coordinates(3, 3) - 1
    flow = centre + window - coordinates(3, 3)
    scale = torch.tensor([9.0, 7.0])
    grid = 2 * (centre + window).movedim(1, -1) / scale - 1
    expected = F.grid_sample(volume, grid, align_corners=True)
    torch.testing.assert_close(warp(volume, flow, padding="zeros"), expected, rtol=0, atol=1e-12)


def test_raft_pixels_that_leave_the_picture_are_known_by_a_warped_one():
    flow = 4 * torch.randn(1, 2, 10, 10, dtype=torch.float64)
    place = coordinates(10, 10) + flow
    inside = ((place >= 0) & (place <= 9)).all(1, keepdim=True)
    mask = warp(torch.ones(1, 1, 10, 10, dtype=torch.float64), flow, padding="zeros")
    torch.testing.assert_close(mask[inside], torch.ones_like(mask[inside]))
    outside = ((place <= -1) | (place >= 10)).any(1, keepdim=True)
    assert (mask[outside] == 0).all()


# TensorFlow Addons: `interpolate_bilinear` and `dense_image_warp`. Its flow points the other way.


def test_tensorflow_known_numbers():
    image = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]])[None, None]
    queries = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.5], [1.5, 1.5]])  # row, column
    flow = queries.flip(1).T.reshape(1, 2, 1, 4) - coordinates(1, 4).float()
    assert warp(image, flow).flatten().tolist() == [0.0, 3.0, 6.5, 6.0]


@pytest.mark.parametrize("channels", [1, 3, 16])
def test_tensorflow_a_constant_flow_is_a_crop(channels):
    image = torch.rand(2, channels, 9, 11)
    assert warp(image, torch.full((2, 2, 6, 8), 2.0)).equal(image[:, :, 2:8, 2:10])


def test_tensorflow_the_flow_has_a_gradient_that_descends():
    image = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    image = F.interpolate(image, 64, mode="bicubic", align_corners=True)
    truth = torch.full((1, 2, 64, 64), 1.3, dtype=torch.float64)
    target = warp(image, truth)
    flow = torch.zeros_like(truth, requires_grad=True)
    optimizer = torch.optim.Adam([flow], lr=0.1)
    first = None
    for _ in range(60):
        loss = tcae_ops.warp_l1(image, flow, target).mean()
        first = first or float(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.1 * first


# Where `warp` differs on purpose (docs/operators.md).


def test_a_position_that_is_not_a_number_shows():
    flow = torch.full((1, 2, 2, 2), math.nan)
    image = torch.ones(1, 1, 2, 2)
    assert warp(image, flow).isnan().all()
    grid = torch.full((1, 2, 2, 2), math.nan)
    assert F.grid_sample(image, grid, padding_mode="border", align_corners=True).isfinite().all()


def test_a_pixel_without_weight_does_not_count():
    image = torch.tensor([1.0, math.nan, 3.0]).reshape(1, 1, 1, 3)
    assert warp(image, torch.zeros(1, 2, 1, 3))[0, 0, 0, 0] == 1
    grid = torch.tensor([-1.0, 0.0]).reshape(1, 1, 1, 2)
    assert F.grid_sample(image, grid, padding_mode="border", align_corners=True).isnan().all()


def test_bytes_are_shares_of_255():
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    torch.testing.assert_close(
        warp(image, torch.zeros(1, 2, 1, 3)).flatten(), torch.tensor([0.0, 0.2, 1.0])
    )
    with pytest.raises(RuntimeError):
        F.grid_sample(image, torch.zeros(1, 1, 1, 2), align_corners=True)


def test_an_axis_of_one_pixel_has_no_length():
    """In half image sizes nothing moves on it, while a grid's 0 is its only pixel."""
    image = torch.tensor([5.0]).reshape(1, 1, 1, 1)
    assert warp(image, torch.full((1, 2, 1, 1), 0.7), units="normalized", padding="zeros") == 5


def test_mirrored_at_the_centres_of_edge_pixels():
    image = torch.arange(4.0).reshape(1, 1, 1, 4)
    flow = torch.zeros(1, 2, 1, 4)
    flow[0, 0, 0, 0] = -1
    assert warp(image, flow, padding="reflection")[0, 0, 0, 0] == 1
    grid = torch.tensor([-1.25, 0.0]).reshape(1, 1, 1, 2)  # the same place
    edges = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    assert edges.item() == 0
