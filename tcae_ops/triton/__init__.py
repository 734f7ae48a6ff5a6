"""Kernels in Triton, for every GPU that Triton compiles for.

They are also the fallback where the CUDA library was not built. Under Triton's interpreter
(``TRITON_INTERPRET=1`` before this package is imported) they run on CPU tensors, for tests.

Triton itself is imported when a kernel first runs. The files have the names of those in csrc/cuda.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tcae_ops import reference
from tcae_ops.passes import Passes
from tcae_ops.request import Request

MOST_FLOWS = 4  # kernels are unrolled over them: more need long to compile, and many registers
INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")
PROBLEM = (
    None if importlib.util.find_spec("triton") else "there is no triton; run `pip install triton`"
)


def why_not(device: torch.device) -> str | None:
    """Return the reason why the kernels cannot run on a device, or None if they can."""
    if PROBLEM is None and device.type != "cuda" and not (INTERPRETED and device.type == "cpu"):
        return (
            f"it is for cuda tensors, but the image is on {device} (tests run it on CPU tensors "
            "with TRITON_INTERPRET=1 in the environment)"
        )
    return PROBLEM


def run(request: Request) -> Sequence[Tensor]:
    """Run an operator, by the definition if the kernels cannot take so many flows."""
    execute = PASSES.run if len(request.flows) <= MOST_FLOWS else reference.run
    return execute(request)


def _when_called(module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports a module of kernels, which needs Triton, when called."""

    def call(*arguments: Any) -> Any:
        return getattr(importlib.import_module(f"tcae_ops.triton.{module}"), name)(*arguments)

    return call


def _register() -> torch.library.Library:
    """Define the operators of csrc/torch/schemas.h, with ``_triton`` at the end of their names."""
    options = "Tensor[] inputs, int flows, int logits, str units, str padding"
    passes = {
        "forward": f"({options}, bool return_warped)",
        "backward": f"(Tensor[] upstream, bool by_loss, {options}, int[] needs)",
        "backward_deterministic": f"(Tensor[] upstream, bool by_loss, {options}, int[] needs)",
    }
    library = torch.library.Library("tcae_ops", "FRAGMENT")
    for name, arguments in passes.items():
        library.define(f"{name}_triton{arguments} -> Tensor[]")
        kernel = _when_called(name.partition("_")[0], name)
        library.impl(f"{name}_triton", kernel, "CompositeExplicitAutograd")
    return library


_LIBRARY = _register()
PASSES = Passes("_triton")
