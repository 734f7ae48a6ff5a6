"""What a mutation is: an error to plant in the kernels, and the check that must catch it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Check:
    """One case of tcae_ops.selftest.cases against the definition, values and all gradients.

    For kernels in CUDA it may be one test of the suite instead.
    """

    kernels: str = "cuda"  # "cuda" on the CPU; "cpu" or "avx2" compiled alone; "triton" interpreted
    flavour: str = "plain"  # of tests/cuda/host/build.py
    case: str = "twin"
    image: str = "float32"
    layout: str = "contiguous"
    deterministic: bool = False  # also requires the same bits in every order
    test: str = ""  # pytest's name of a test, in place of a case


@dataclass(frozen=True)
class Mutation:
    """A text that occurs once in a file, its replacement, and what that breaks."""

    breaks: str
    path: str  # below csrc/, or below tcae_ops/ for kernels in Triton
    text: str
    replacement: str
    check: Check = field(default_factory=Check)
