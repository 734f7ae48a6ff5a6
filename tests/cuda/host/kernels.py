"""The CUDA kernels on a CPU, called like the operators of the compiled library.

``forward`` and ``backward`` do what csrc/torch does on a GPU: describe the tensors to the kernels
and allocate the results. The kernels run in a separate process, see serve.py.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from host import build
from torch import Tensor

from tcae_ops import library, passes

TYPES = {
    torch.uint8: "B",
    torch.float16: "e",
    torch.bfloat16: "H",
    torch.float32: "f",
    torch.float64: "d",
}
FAR = 2**31  # larger spans of elements are only addressed: serve.py gets just the numbers


class KernelError(Exception):
    """The scheduler or a sanitizer found an error in a kernel."""


class KernelsOnHost:
    """The kernels of one module. Each call runs threads and blocks in another order.

    Args:
        module: The result of ``build.build``.
        flavour: That of the module.
        log: The file to which the process writes its errors.
    """

    def __init__(self, module: Path, flavour: str, log: Path) -> None:
        self.log = log
        self.command = [sys.executable, Path(__file__).with_name("serve.py"), module]
        self.environment = {**os.environ, **build.environment(module, flavour)}
        self.seeds = itertools.count()
        self.launched: set[tuple[str, str]] = set()  # calls, and their kernels' parameters
        self.process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """End the process. The next call starts another one."""
        if self.process is None:
            return
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.process = None

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Make backend "cpp" run these kernels."""
        names = "forward", "warp_forward", "backward", "warp_backward", "backward_deterministic"
        for name in names:
            patch.setattr(library.PASSES, name, getattr(self, name))

    def forward(
        self,
        inputs: Sequence[Tensor],
        flows: int,
        logits: int,
        units: str,
        padding: str,
        return_warped: bool,
    ) -> list[Tensor]:
        """Run TCAE_OPS_FORWARD of csrc/torch/schemas.h."""
        results = passes.forward_fake(inputs, flows, logits, units, padding, return_warped)
        has_loss = len(inputs) > 1 + flows + logits
        outputs = {
            "loss": results[0] if has_loss else None,
            "warped": results[-1] if return_warped else None,
        }
        self._call("forward", _inputs(inputs, flows, logits, units, padding), {}, outputs)
        return results

    def warp_forward(self, image: Tensor, flow: Tensor, units: str, padding: str) -> Tensor:
        """Run TCAE_OPS_WARP_FORWARD of csrc/torch/schemas.h."""
        return self.forward([image, flow], 1, 0, units, padding, True)[0]

    def warp_backward(self, by_warped: Tensor, *arguments: Any) -> list[Tensor]:
        """Run TCAE_OPS_WARP_BACKWARD of csrc/torch/schemas.h."""
        image, flow, units, padding, *needed = arguments
        needs = [i for i, by_input in enumerate(needed) if by_input]
        return self.backward([by_warped], False, [image, flow], 1, 0, units, padding, needs)

    def backward_deterministic(self, *arguments: Any) -> list[Tensor]:
        """Run TCAE_OPS_BACKWARD_DETERMINISTIC of csrc/torch/schemas.h."""
        return self.backward(*arguments, deterministic=True)

    def backward(
        self,
        upstream: Sequence[Tensor],
        by_loss: bool,
        inputs: Sequence[Tensor],
        flows: int,
        logits: int,
        units: str,
        padding: str,
        needs: Sequence[int],
        deterministic: bool = False,
    ) -> list[Tensor]:
        """Run TCAE_OPS_BACKWARD of csrc/torch/schemas.h."""
        results = passes.backward_fake(
            upstream, by_loss, inputs, flows, logits, units, padding, needs
        )
        by_input = dict(zip(needs, results, strict=True))
        given = {
            "by_loss": upstream[0] if by_loss else None,
            "by_warped": upstream[-1] if len(upstream) > by_loss else None,
            "deterministic": deterministic,
        }
        outputs = {
            "by_image": by_input.get(0),
            "by_flows": [by_input.get(1 + k) for k in range(flows)],
            "by_logits": [by_input.get(1 + flows + k) for k in range(logits)],
            "by_target": by_input.get(1 + flows + logits),
        }
        self._call("backward", _inputs(inputs, flows, logits, units, padding), given, outputs)
        return results

    def _call(
        self, call: str, inputs: dict[str, Any], given: dict[str, Any], outputs: dict[str, Any]
    ) -> None:
        """Run a pass and fill the tensors in `outputs`."""
        if inputs["image"].shape[0] == 0:
            return
        request = {
            "call": call,
            "seed": next(self.seeds),
            "inputs": _describe(inputs, True),
            "arguments": {**_describe(given, True), **_describe(outputs, False)},
        }
        contents, launches, problem = self._ask(request)
        self.launched.update((call, parameters) for parameters in launches or ())
        if problem is not None:
            raise KernelError(problem)
        flat = itertools.chain.from_iterable(
            value if isinstance(value, list) else [value] for value in outputs.values()
        )
        wanted = [t for t in flat if t is not None]
        for tensor, content in zip(wanted, contents, strict=True):
            ctypes.memmove(tensor.data_ptr(), content, len(content))

    def _ask(self, request: dict[str, Any]) -> tuple[list[bytes], list[str] | None, str | None]:
        if self.process is None:
            with self.log.open("w") as errors:
                self.process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=self.environment,
                )
        try:
            pickle.dump(request, self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError):
            self.process.kill()
            self.process.wait()
            self.process = None
            raise KernelError(self.log.read_text()) from None


def _inputs(
    inputs: Sequence[Tensor], flows: int, logits: int, units: str, padding: str
) -> dict[str, Any]:
    """Return the arguments of Inputs in module.cpp."""
    end = 1 + flows + logits
    return {
        "image": inputs[0],
        "flows": list(inputs[1 : 1 + flows]),
        "logits": list(inputs[1 + flows : end]),
        "target": inputs[end] if len(inputs) > end else None,
        "padding": padding,
        "normalized": units == "normalized",
        "wide": torch.float64 in [t.dtype for t in inputs],
    }


def _describe(value: Any, with_content: bool) -> Any:
    """Describe tensors to serve.py, with four axes. Leave everything else as it is."""
    if isinstance(value, dict):
        return {name: _describe(item, with_content) for name, item in value.items()}
    if isinstance(value, list):
        return [_describe(item, with_content) for item in value]
    if not isinstance(value, Tensor):
        return value
    if value.dim() == 1:
        value = value[:, None, None, None]
    if value.dim() == 3:
        value = value[:, None]
    size = 1 + sum((n - 1) * s for n, s in zip(value.shape, value.stride(), strict=True))
    address = value.data_ptr()
    content = None
    if with_content and size < FAR:
        content = ctypes.string_at(address, size * value.element_size())
    elif with_content:
        dense = value.contiguous()
        content = ctypes.string_at(dense.data_ptr(), dense.nbytes)
    return TYPES[value.dtype], tuple(value.shape), value.stride(), address % 16, content
