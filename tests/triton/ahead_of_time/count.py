"""Count the kernels that Triton compiles for the self-test on a GPU: ``count.py``.

The operators are called as by the self-test. A kernel is not started. Only the key is recorded
under which Triton would cache it. Prints the number of keys.
"""

from __future__ import annotations

from typing import Any

from compile import Absent
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import compute_cache_key

from tcae_ops import backends
from tcae_ops.selftest import checks
from tcae_ops.selftest.agreement import differentiate
from tcae_ops.selftest.places import CPU, Place
from tcae_ops.triton import backward, forward, launch

KERNELS = set()


def note(kernel: Any, programs: int, image: Tensor, *arguments: Any, **constants: Any) -> None:
    """Take the place of `launch`."""
    if programs:
        _, key_cache, _, _, bind = kernel.device_caches[0]
        _, specialization, options = bind(*arguments, **constants, **launch.OPTIONS, debug=False)
        key = compute_cache_key(key_cache, specialization, options)
        KERNELS.add((kernel.__name__, key))


def compute(inputs: Any, count: int, upstream: Any, options: dict[str, str], backend: str) -> float:
    """Take the place of the comparison with the definition: there are no numbers to compare."""
    differentiate(inputs, count, upstream, {**options, "backend": backend})
    return 0.0


def main() -> None:
    """Run the command."""
    driver.set_active(Absent(GPUTarget("cuda", 90, 32)))
    forward.launch = backward.launch = note
    backends.why_not = lambda name, device: None
    checks.agree = compute
    checks._require_same_bits = lambda runs, how: None
    place = Place("triton", CPU)
    checks.values_and_gradients(place)
    checks.layouts(place)
    checks.determinism(place)
    print(len(KERNELS))


if __name__ == "__main__":
    main()
