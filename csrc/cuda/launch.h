// How kernels are launched: the only place that uses CUDA's own syntax for it.
//
// This list has everything else that the .cu files use. So a stand-in for <cuda_runtime.h> can compile
// them with any C++ compiler and run them on a CPU:
//   __global__, __device__, __forceinline__, __shared__ (of fixed size), __launch_bounds__;
//   threadIdx.x and blockIdx.x: grids and blocks have one dimension;
//   __syncthreads; __shfl_down_sync over whole warps, of float and double;
//   atomicAdd of float, double and unsigned long long; __ldg; the functions of <math.h>;
//   cudaStream_t, cudaError_t, cudaSuccess, cudaGetErrorString, cudaMemsetAsync, and what is below.
// What only GPUs understand (inline assembler) is guarded by __CUDA_ARCH__, with plain C++ beside it.
// A stand-in defines `launch` and `shared_memory` itself, with the same parameters.
#pragma once

#include <cuda_runtime.h>

#ifdef __CUDACC__
namespace tcae_ops {

// Enqueues a kernel. Returns the error of the launch, not of the kernel: nothing waits. `shared`: bytes of
// shared memory per block, besides that of fixed size.
template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), unsigned blocks, unsigned threads, unsigned shared,
                   cudaStream_t stream, const Arguments&... arguments) {
  kernel<<<blocks, threads, shared, stream>>>(arguments...);
  return cudaGetLastError();
}

// The shared memory that the block was launched with, aligned to 16 bytes.
__device__ __forceinline__ void* shared_memory() {
  extern __shared__ double2 memory[];
  return memory;
}

}  // namespace tcae_ops
#endif
