"""A project that needs `tcae_ops` and nothing else: it shifts the frames of a clip."""

import sys

import torch
from torch import Tensor, nn

import tcae_ops


class Shift(nn.Module):
    def __init__(self, frames: int) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.ones(frames, 2) / 2)

    def forward(self, frames: Tensor) -> Tensor:
        flow = self.by[:, :, None, None].expand(-1, -1, *frames.shape[2:])
        return tcae_ops.warp(frames, flow, padding="reflection", backend="cpp")


frames, shift = torch.rand(3, 3, 12, 16), Shift(3)
shifted: Tensor = shift(frames)
exported = torch.export.export(shift, (frames,)).module()
compiled = torch.compile(shift, fullgraph=True, backend="aot_eager")
assert torch.equal(exported(frames), shifted) and torch.equal(compiled(frames), shifted)
flows = shift.by.detach()[:, None, :, None, None].expand(-1, -1, -1, 12, 16)
each = torch.func.vmap(lambda frame, flow: tcae_ops.warp(frame, flow, padding="reflection"))
assert torch.equal(each(frames[:, None], flows)[:, 0], shifted)
torch.autograd.backward(tcae_ops.warp_l1(shifted, flows[:, 0], frames).sum())
assert shift.by.grad is not None and shift.by.grad.all()
print("fine", *{"tcae", "numba", "av", "cv2", "tensorboard"} & set(sys.modules))
