// Macros with which the same inline math serves g++, nvcc and several instruction sets.
#pragma once

#include <stdint.h>

#if defined(__CUDACC__)
#define TCAE_HD __host__ __device__ __forceinline__
#else
#define TCAE_HD inline __attribute__((always_inline))
#endif

// The CPU kernels are compiled once for each instruction set. Everything compiled with them lives in a
// namespace per instruction set. Otherwise the linker would keep one copy for all.
#ifndef TCAE_OPS_LEVEL
#define TCAE_OPS_LEVEL portable
#endif
#define TCAE_OPS_LEVEL_BEGIN namespace tcae_ops { inline namespace TCAE_OPS_LEVEL {
#define TCAE_OPS_LEVEL_END }}
