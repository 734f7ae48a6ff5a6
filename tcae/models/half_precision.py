"""Weights in half precision, as they ship."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def rounded(network: Network) -> Network:
    """Return a copy with matrices and kernels in half precision.

    Biases and running statistics stay as they are, because they are few.

    Raises:
        ValueError: A weight is too large for half precision.
    """
    copied = copy.deepcopy(network)
    for name, parameter in copied.named_parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.half()
            if not bool(parameter.isfinite().all()):
                raise ValueError(f"{name}: a weight is too large for half precision")
    return copied
