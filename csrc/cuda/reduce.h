// Sums and maxima over the threads of a block, in an order that is always the same.
#pragma once

#include "tensors.h"

namespace tcae_ops {

constexpr int kWarp = 32;

struct Sum {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};

// Combines the values of a block's threads: within warps in their own type, then in fp64. Only thread 0
// has the result. All threads must call it.
template <class Combine, class T>
__device__ __forceinline__ double reduce(T value, Combine combine) {
  __shared__ double of_warps[kThreads / kWarp];
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = combine(value, __shfl_down_sync(0xffffffffu, value, step));
  }
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = double(value);
  __syncthreads();
  double result = of_warps[0];
  if (threadIdx.x == 0) {
    for (int warp = 1; warp < kThreads / kWarp; ++warp) result = combine(result, of_warps[warp]);
  }
  return result;
}

// Combines `count` numbers that blocks have written.
template <class Combine>
__device__ __forceinline__ double reduce_partials(const double* partials, int32_t count, Combine combine) {
  double value = 0;
  for (int32_t i = int32_t(threadIdx.x); i < count; i += kThreads) value = combine(value, partials[i]);
  return reduce(value, combine);
}

}  // namespace tcae_ops
