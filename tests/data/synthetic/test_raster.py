from __future__ import annotations

import numpy as np
import pytest

from tcae.data.synthetic.raster import trace, vertex_normals, weights_at


def scene(seed, count=12):
    """Random triangles: pixels (V, 2), depth (V,), triangles (T, 3)."""
    random = np.random.default_rng(seed)
    pixels = random.uniform(-4, 20, (3 * count, 2)).astype(np.float32)
    depth = random.uniform(2, 9, 3 * count).astype(np.float32)
    return pixels, depth, np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def slow(pixels, depth, triangles, two_sided, size, samples):
    """By solving for the barycentric coordinates of every sample, in double precision."""
    side = size * samples
    seen, near = np.full((side, side), -1), np.zeros((side, side))
    for y in range(side):
        for x in range(side):
            at = (np.array([x, y]) + 0.5) / samples - 0.5
            for t, corners in enumerate(triangles):
                a, b, c = pixels[corners].astype(float)
                edges = np.stack([b - a, c - a], 1)
                if not two_sided[t] and np.linalg.det(edges) >= 0:
                    continue
                v, w = np.linalg.solve(edges, at - a)
                if min(v, w, 1 - v - w) < 0:
                    continue
                inverse = np.array([1 - v - w, v, w]) @ (1 / depth[corners].astype(float))
                if inverse > near[y, x]:
                    near[y, x], seen[y, x] = inverse, t
    return seen, near


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("both", [True, False])
def test_as_a_plain_loop(samples, both):
    for seed in range(3):
        pixels, depth, triangles = scene(seed)
        two_sided = np.full(len(triangles), both)
        seen, near = trace(pixels, depth, triangles, two_sided, 16, 16, samples)
        expected, expected_near = slow(pixels, depth, triangles, two_sided, 16, samples)
        assert seen.shape == (16 * samples, 16 * samples)
        assert (expected >= 0).mean() > 0.1
        same = seen == expected  # samples on an edge may fall to either side
        assert same.mean() > 0.995
        np.testing.assert_allclose(near[same], expected_near[same], rtol=2e-4)


def test_an_empty_picture():
    pixels, depth, triangles = scene(0)
    seen, near = trace(pixels + 100, depth, triangles, np.ones(12, np.bool_), 8, 12, 2)
    assert seen.shape == (16, 24)
    assert (seen == -1).all()
    assert (near == 0).all()


def test_weights_find_the_point_in_space():
    random = np.random.default_rng(0)
    for _ in range(20):
        space = random.uniform(-1, 1, (3, 3)) - [0, 0, 3]
        weights = random.dirichlet([1, 1, 1])
        x, y, z = weights @ space
        pixels = (space[:, :2] / -space[:, 2:]).astype(np.float32)
        depth = (-space[:, 2]).astype(np.float32)
        found = weights_at(pixels, depth, 0, 1, 2, x / -z, y / -z)
        np.testing.assert_allclose(found, weights, atol=2e-4)


def test_normals_of_a_ball_point_outwards():
    up, round_ = np.meshgrid(np.linspace(0.2, np.pi - 0.2, 30), np.linspace(0, 2 * np.pi, 60))
    ball = np.stack([np.sin(up) * np.cos(round_), np.sin(up) * np.sin(round_), np.cos(up)], -1)
    index = np.arange(1800).reshape(60, 30)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    corners = [np.stack(q, -1).reshape(-1, 3) for q in ((a, c, b), (a, d, c))]
    triangles = np.concatenate(corners).astype(np.int32)
    points = ball.reshape(-1, 3).astype(np.float32)
    normals = vertex_normals(points, triangles)
    inner = np.zeros((60, 30), bool)
    inner[1:-1, 1:-1] = True
    cosine = np.abs((normals * points).sum(1))[inner.ravel()]
    assert cosine.min() > 0.999
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
