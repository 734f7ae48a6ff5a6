"""A decoder whose motion is that of a head: a rigid surface that is turned, scaled and shifted."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tcae.models.decoder import up_block, up_start
from tcae.models.precision import wide

_SURFACE_SIDE = 8  # knots of the depth along a side, too few to show the parts of a face
_FILTERS = 64
# One unit of each number of a pose: radians of yaw, pitch and roll; logarithm of the scale; shift
# in halves of the image. Faces reach values of this size, so one learning rate suits all.
_UNITS = (0.5, 0.5, 0.3, 0.3, 0.3, 0.3)


class RigidDecoder(nn.Module):
    """A decoder from pose embeddings to the motion between two poses of one surface.

    A linear map turns each embedding into a pose: yaw, pitch, roll, scale and shift in x and y of a
    weak-perspective camera. The target's embedding also gives the surface, a depth for each of a
    few knots. A pixel of the target is lifted to that surface, turned back by the target's pose,
    turned by the source's pose, and projected. Where it lands, the source is read. Whatever the
    embeddings are, such a flow has a handful of degrees of freedom, and none of them opens a mouth.

    At first, all poses are equal, so the decoder starts as the identity warp. The surface starts as
    a dome towards the camera, because a turning head and a turning hollow mask have flows that
    differ in the sign of the depth alone, and nothing else would tell them apart.

    Args:
        image_size: Side of the motion.
        embedding_size: Length D of each embedding.
    """

    units: Tensor
    dome: Tensor
    grid: Tensor
    spread: Tensor

    def __init__(self, image_size: int, embedding_size: int) -> None:
        super().__init__()
        self.pose = nn.Linear(embedding_size, len(_UNITS))
        nn.init.zeros_(self.pose.weight)
        nn.init.zeros_(self.pose.bias)
        self.surface = nn.Sequential(
            up_start(embedding_size, _FILTERS, _SURFACE_SIDE // 2, bias=False),
            up_block(_FILTERS, _FILTERS // 2, bias=False, side=_SURFACE_SIDE),
            nn.Conv2d(_FILTERS // 2, 2, 3, padding=1),
        )
        for parameter in self.surface[-1].parameters():
            nn.init.zeros_(parameter)
        side = torch.linspace(-1, 1, image_size)
        x, y = torch.meshgrid(side, side, indexing="xy")
        self.register_buffer("units", torch.tensor(_UNITS), persistent=False)
        self.register_buffer("grid", torch.stack([x, y]), persistent=False)
        dome = (1 - x.square() - (y / 1.2).square()).clamp_min(0).sqrt()
        self.register_buffer("dome", dome, persistent=False)
        self.register_buffer("spread", _spread(_SURFACE_SIDE, image_size), persistent=False)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Decode the embeddings (N, D) of source and target into one tensor (N, 3, S, S).

        Channels 0 and 1 are the displacement x, y in normalised units, channel 2 is the logit of
        the mask.
        """
        knots = self.surface(target)
        # Half precision would misplace pixels by tenths of their size.
        with torch.autocast(source.device.type, enabled=False):
            surface = self.spread @ wide(knots) @ self.spread.T
            depth = self.dome + surface[:, 0]
            of_source, of_target = self.poses(torch.cat([source, target])).chunk(2)
            flow = rigid_flow(of_source, of_target, depth, self.grid)
            return torch.cat([flow, surface[:, 1:].tanh()], 1)

    def poses(self, embeddings: Tensor) -> Tensor:
        """Compute the poses (N, 6) of embeddings (N, D), as `rigid_flow` takes them."""
        return self.pose(wide(embeddings)) * self.units


def _spread(knots: int, size: int) -> Tensor:
    """Return the matrix (size, knots) of bicubic interpolation along a side, corners aligned.

    Two products with it take a tenth of the time of torch's own interpolation of so few knots.
    """
    columns = torch.eye(knots)[:, None, :, None].expand(-1, -1, -1, 2)  # (knots, 1, knots, 2)
    rows = F.interpolate(columns, size=(size, 2), mode="bicubic", align_corners=True)
    return rows[:, 0, :, 0].T.contiguous()


def rigid_flow(source: Tensor, target: Tensor, depth: Tensor, grid: Tensor) -> Tensor:
    """Compute the backward flow between two poses of a surface under weak perspective.

    Args:
        source: (N, 6) yaw, pitch and roll in radians, logarithm of the scale, shift x, y in
            normalised units (1 = half the image).
        target: (N, 6) the same of the target.
        depth: (N, S, S) depth of the surface at the target's pixels, towards the camera, in units
            of the unscaled head.
        grid: (2, S, S) x and y of the pixels, in normalised units.

    Returns:
        (N, 2, S, S) in normalised units.
    """
    of_source, of_target = _rotation(torch.cat([source, target])).chunk(2)
    turn = torch.bmm(of_source, of_target.mT)[:, :2]
    zoom = (source[:, 3] - target[:, 3]).exp()
    # Of x, y and depth. Few numbers are multiplied here, so that few operations see every pixel.
    of_plane = zoom[:, None, None] * turn[..., :2]
    of_depth = source[:, 3, None, None].exp() * turn[..., 2:]
    shift = source[:, 4:, None] - torch.bmm(of_plane, target[:, 4:, None])
    moved = torch.addcmul(shift, of_depth, depth.flatten(1)[:, None])
    still = torch.eye(2, dtype=depth.dtype, device=depth.device)
    plane = grid.flatten(1).expand(len(depth), -1, -1)
    return torch.baddbmm(moved, of_plane - still, plane).unflatten(2, depth.shape[1:])


def _rotation(pose: Tensor) -> Tensor:
    """Return the rotation matrices (N, 3, 3) of poses: first yaw, then pitch, then roll.

    About each axis by Rodrigues' formula.
    """
    unit = torch.eye(3, dtype=pose.dtype, device=pose.device)
    across_x, across_y, across_z = torch.linalg.cross(unit[:, None], unit[None]).mT
    across = torch.stack([across_y, across_x, across_z])  # products with the axis
    angles = pose[:, :3, None, None]
    turned = angles.sin() * across + (1 - angles.cos()) * torch.bmm(across, across)
    yaw, pitch, roll = (unit + turned).unbind(1)
    return torch.bmm(roll, torch.bmm(pitch, yaw))
