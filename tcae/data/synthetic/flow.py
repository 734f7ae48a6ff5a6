"""True motion between two views of one head, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tcae.data.synthetic.head import Head
from tcae.data.synthetic.raster import trace, weights_at
from tcae.data.synthetic.scene import View
from tcae.data.synthetic.solids import SolidView

Array = NDArray[np.float32]
Ids = NDArray[np.int32]

_compiled = njit(cache=True, nogil=True)
_NEAR = 0.02  # of the depth: how far behind what the source shows a point counts as visible


@dataclass(frozen=True)
class Flow:
    """The places of the target's surface points in the source.

    Attributes:
        flow: (2, H, W) float32, x then y, in pixels. The surface point at p in the target is at
            p + flow(p) in the source, so `tcae_ops.warp(source, flow)` resembles the target. Zero
            beside the head: the background does not move with it. Hands and microphones before
            the head count as beside it. Through clear lenses the flow is that of the face.
        head: (H, W) bool, whether the target shows the head (with neck, hair and what it wears)
            there.
        face: (H, W) bool, whether it is the skin of the face (without ears, neck, hair, eyeballs).
        visible: (H, W) bool, whether the source shows the same point: it lies in the picture,
            nothing hides it and it faces the camera. False beside the head.
        depth: (H, W) float32, distance along the camera's axis of what the target shows, in head
            units; infinite beside the head.
    """

    flow: Array
    head: NDArray[np.bool_]
    face: NDArray[np.bool_]
    visible: NDArray[np.bool_]
    depth: Array


def exact_flow(
    head: Head,
    source: View,
    target: View,
    height: int,
    width: int,
    before_source: SolidView | None = None,
    before_target: SolidView | None = None,
) -> Flow:
    """Return the backward flow from a target view to a source view of the same head.

    Views of the source's pose with the target's expression (and the reverse) give the flows of the
    action units alone and of the pose alone.

    Args:
        head: The mesh of both.
        source: View to take colours from.
        target: View with the pixels of the flow.
        height: Rows of both pictures.
        width: Columns.
        before_source: The solid on and before the head in the source.
        before_target: The same solid in the target.
    """
    triangles, two_sided = head.triangles, head.two_sided
    worn = np.ones(len(triangles), np.bool_)
    if before_source is not None and before_target is not None:
        solid = before_source.solid
        source, target = _with(source, before_source.view), _with(target, before_target.view)
        triangles = np.concatenate([triangles, solid.casting + np.int32(len(head.vertices))])
        two_sided = np.pad(two_sided, (0, len(solid.casting)))
        worn = np.concatenate([worn, solid.stays[solid.casting[:, 0]] < 1])
    nearest, near = trace(target.pixels, target.depth, triangles, two_sided, height, width, 1)
    there, inverse = trace(source.pixels, source.depth, triangles, two_sided, height, width, 1)
    flow, visible = _follow(
        nearest,
        there,
        inverse,
        triangles,
        two_sided,
        source.pixels,
        source.depth,
        target.pixels,
        target.depth,
    )
    on_face = np.pad(head.masks["face"], (0, len(source.depth) - len(head.vertices)))
    shown = (nearest >= 0) & worn[nearest]
    depth = np.divide(1, near, out=np.full_like(near, np.inf), where=shown)
    face = shown & (on_face[triangles].mean(1) >= 0.5)[nearest]
    return Flow(flow * shown, shown, face, visible & shown, depth)


def _with(view: View, other: View) -> View:
    """Return one view of the vertices of two."""
    return View(
        np.concatenate([view.space, other.space]),
        np.concatenate([view.pixels, other.pixels]),
        np.concatenate([view.depth, other.depth]),
    )


@_compiled
def _follow(
    nearest: Ids,
    there: Ids,
    inverse: Array,
    triangles: Ids,
    two_sided: NDArray[np.bool_],
    pixels: Array,
    depth: Array,
    target_pixels: Array,
    target_depth: Array,
) -> tuple[Array, NDArray[np.bool_]]:
    height, width = nearest.shape
    flow = np.zeros((2, height, width), np.float32)
    visible = np.zeros((height, width), np.bool_)
    for row in range(height):
        for column in range(width):
            t = nearest[row, column]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            weights = weights_at(target_pixels, target_depth, a, b, c, column, row)
            # The same point of the triangle in the source's picture: weights times depth.
            u, v, w = weights[0] * depth[a], weights[1] * depth[b], weights[2] * depth[c]
            far = u + v + w
            x = (u * pixels[a, 0] + v * pixels[b, 0] + w * pixels[c, 0]) / far
            y = (u * pixels[a, 1] + v * pixels[b, 1] + w * pixels[c, 1]) / far
            flow[0, row, column], flow[1, row, column] = x - column, y - row
            area = (pixels[b, 0] - pixels[a, 0]) * (pixels[c, 1] - pixels[a, 1])
            area -= (pixels[b, 1] - pixels[a, 1]) * (pixels[c, 0] - pixels[a, 0])
            if area < 0 or two_sided[t]:
                visible[row, column] = _shows(there, inverse, t, x, y, 1 / far)
    return flow, visible


@_compiled
def _shows(there: Ids, inverse: Array, t: int, x: float, y: float, near: float) -> bool:
    """Return whether a pixel of the four around (x, y) shows triangle t, or nothing much nearer."""
    height, width = there.shape
    if not (x > -0.5 and y > -0.5 and x < width - 0.5 and y < height - 0.5):
        return False
    column, row = min(max(int(x), 0), width - 2), min(max(int(y), 0), height - 2)
    for i in range(4):
        r, q = row + i // 2, column + i % 2
        if there[r, q] == t or (there[r, q] >= 0 and inverse[r, q] <= near * (1 + _NEAR)):
            return True
    return False
