// A stand-in for CUDA's header of this name. With it a C++ compiler accepts the unchanged .cu files, and
// they run on a CPU. It has only what kernels use, according to csrc/cuda/launch.h.
#pragma once

#include <math.h>
#include <stdint.h>

#include "cuda_runtime_api.h"
#include "scheduler.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static thread_local  // see FixedShared in scheduler.cpp

#define threadIdx (::cuda_host::thread_index())
#define blockIdx (::cuda_host::block_index())

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  cuda_host::barrier({file, line});
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, const char* file = __builtin_FILE(),
                   int line = __builtin_LINE()) {
  const unsigned lane = cuda_host::lane_index();
  const unsigned from = lane + delta < cuda_host::kWarpSize ? lane + delta : lane;
  cuda_host::exchange(mask, from, &value, sizeof value, {file, line});
  return value;
}

// Atomics order nothing but themselves. Other threads may run between any two of them.
template <class T>
T atomicAdd(T* to, T value) {
  static_assert(sizeof(T) <= 8, "no atomics of this size");
  cuda_host::pass();
  T before, after;
  __atomic_load(to, &before, __ATOMIC_RELAXED);
  do {
    after = before + value;
  } while (!__atomic_compare_exchange(to, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}

template <class T>
T __ldg(const T* from) {
  return *from;
}

namespace tcae_ops {

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, unsigned shared,
                   cudaStream_t stream, const Arguments&... arguments) {
  cuda_host::remember(__PRETTY_FUNCTION__);  // which names the types of the kernel's parameters
  const auto body = [&] { kernel(arguments...); };
  const auto call = [](const void* f) { (*static_cast<decltype(&body)>(f))(); };
  return cuda_host::run(blocks, threads, shared, stream, call, &body);
}

inline void* shared_memory() { return cuda_host::shared_memory(); }

}  // namespace tcae_ops
