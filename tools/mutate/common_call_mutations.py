"""The errors to plant in what the CUDA kernels do for common calls alone (csrc/cuda/facts.h)."""

from mutation import Check, Mutation

COMMON_CALLS = [
    Mutation(
        "common calls: two channels count as three",
        "cuda/choice.h",
        "s.image.c == 3 &&",
        "",
        Check(flavour="memory", case="far outside"),
    ),
    Mutation(
        "common calls: an image of one column counts",
        "cuda/choice.h",
        "s.image.w > 1 &&",
        "",
        Check(test="tests/cuda/test_common_calls.py::test_calls_that_are_not_common[one column]"),
    ),
    Mutation(
        "common calls: the gradient of a logit without the mean displacement",
        "cuda/blend_cache.h",
        "        part.x[i] -= it.mean.x[i];\n",
        "",
    ),
]
