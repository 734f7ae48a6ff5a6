"""The training step that ours is compared with: the released code's, written in plain torch.

It has five passes of the encoder, `F.grid_sample` with new grids in every step, a sort for each
loss term, gradients of the whole batch, fp32, and images in torch's default layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tcae.models.decoder import Decoder
from tcae.models.encoder import Encoder
from tcae.models.twin_cycle import TwinCycle

WEIGHTS = {
    "rec": 10.0,
    "sparsity": 0.1,
    "cycle_au": 1.0,
    "cycle_pose": 1.0,
    "emb_au_phi": 1.0,
    "emb_au_psi": 1.0,
    "emb_pose_phi": 1.0,
    "emb_pose_psi": 1.0,
    "emb_rec_phi": 1.0,
    "emb_rec_psi": 1.0,
}
WINDOW = (0.0, 0.5)


class Yardstick:
    """One step of SGD with the published settings.

    Args:
        model: Of the preset `official`.
    """

    def __init__(self, model: TwinCycle) -> None:
        self.model = model
        self._optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def step(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Learn from uint8 images (N, 3, S, S). Return the terms (N,), unweighted."""
        terms = self.terms(source.float() / 255, target.float() / 255)
        self._optimizer.zero_grad()
        windowed_loss(terms).backward()
        self._optimizer.step()
        return terms

    def terms(self, source: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return per-sample losses of images in [0, 1]."""
        encode = partial(_encode, self.model.encoder)
        au_decoder = partial(_decode, self.model.au_decoder)
        pose_decoder = partial(_decode, self.model.pose_decoder)
        source_au, source_pose = encode(source)
        target_au, target_pose = encode(target)
        au = au_decoder(source_au, target_au)
        pose = pose_decoder(source_pose, target_pose)
        masks = torch.softmax(torch.cat([au[:, 2:], pose[:, 2:]], 1), 1)
        blended = masks[:, :1] * au[:, :2] + masks[:, 1:] * pose[:, :2]
        reconstruction = _sample(source, blended)
        au_changed, pose_changed = _sample(source, au[:, :2]), _sample(source, pose[:, :2])
        rec_au, rec_pose = encode(reconstruction)
        changed_au, kept_pose = encode(au_changed)
        kept_au, changed_pose = encode(pose_changed)
        au_back = au_decoder(changed_au, source_au)[:, :2]
        pose_back = pose_decoder(changed_pose, source_pose)[:, :2]
        grid = _grid(au)
        clamped = (grid + au[:, :2].permute(0, 2, 3, 1)).clamp(-1, 1) - grid
        return {
            "rec": _l1(reconstruction, target),
            "sparsity": clamped.abs().mean((1, 2, 3)),
            "cycle_au": _l1(_sample(au_changed.detach(), au_back), source),
            "cycle_pose": _l1(_sample(pose_changed.detach(), pose_back), source),
            "emb_au_phi": _l2(changed_au, target_au),
            "emb_au_psi": _l2(kept_pose, source_pose),
            "emb_pose_phi": _l2(kept_au, source_au),
            "emb_pose_psi": _l2(changed_pose, target_pose),
            "emb_rec_phi": _l2(rec_au, target_au),
            "emb_rec_psi": _l2(rec_pose, target_pose),
        }


def _encode(encoder: Encoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Encode with every convolution as it is defined, also the last ones on 2x2 maps.

    Only the encoder's parameters are used, in their order: a shared trunk, then two branches of
    two blocks and a bare convolution.
    """
    parameters = iter(encoder.parameters())

    def block(maps: Tensor) -> Tensor:
        weight, bias, scale, shift = (next(parameters) for _ in range(4))
        maps = F.conv2d(maps, weight, bias, stride=2, padding=1)
        maps = F.batch_norm(maps, None, None, scale, shift, training=True)
        return F.leaky_relu(maps, 0.2, inplace=True)

    def branch(maps: Tensor) -> Tensor:
        maps = block(block(maps))
        weight, bias = next(parameters), next(parameters)
        return F.conv2d(maps, weight, bias, stride=2, padding=1).flatten(1)

    maps = images
    for _ in range(encoder.image_size.bit_length() - 4):
        maps = block(maps)
    return branch(maps), branch(maps)


def _decode(decoder: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Decode layer by layer, so that torch keeps everything it keeps by default."""
    assert isinstance(decoder, Decoder)
    maps = decoder.start(decoder.leading_relu(torch.cat([source, target], 1)))
    for block in (*decoder.blocks, decoder.motion):
        for layer in block:
            maps = layer(maps)
    return maps.tanh()


def windowed_loss(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the weighted sum of the terms, each averaged over a window of its own order."""
    losses = []
    for name, term in terms.items():
        first, last = (int(share * len(term)) for share in WINDOW)
        losses.append(WEIGHTS[name] * term.sort()[0][first:last].mean())
    return torch.stack(losses).sum()


def _grid(like: Tensor) -> Tensor:
    """Return pixel positions (1, H, W, 2) in [-1, 1]."""
    height, width = like.shape[-2:]
    y = torch.linspace(-1, 1, height, device=like.device)
    x = torch.linspace(-1, 1, width, device=like.device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def _sample(image: Tensor, flow: Tensor) -> Tensor:
    position = (_grid(flow) + flow.permute(0, 2, 3, 1)).clamp(-1, 1)
    return F.grid_sample(image, position, align_corners=True)


def _l1(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().mean((1, 2, 3))


def _l2(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().mean(1)
