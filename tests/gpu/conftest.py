"""Every backend for CUDA tensors."""

import pytest

from tcae_ops import backends
from tcae_ops.selftest.places import GPU, Place, why_not


@pytest.fixture(params=[Place(n, GPU) for n in backends.BACKENDS if n != "cpp"], ids=str)
def place(request):
    reason = why_not(request.param)
    if reason is not None:
        pytest.skip(f"{request.param}: {reason}")
    return request.param
