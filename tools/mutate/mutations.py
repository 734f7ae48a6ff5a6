"""All errors to plant, in the order of the table in docs/testing.md."""

from common_call_mutations import COMMON_CALLS
from cpp_mutations import CPP
from cuda_mutations import CUDA
from triton_mutations import TRITON

MUTATIONS = [*CUDA, *COMMON_CALLS, *CPP, *TRITON]
