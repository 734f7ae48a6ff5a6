// A stand-in for CUDA's header of this name: what the kernels' callers see of it.
#pragma once

#include <stddef.h>

using cudaStream_t = struct CUstream_st*;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidResourceHandle = 400
};

inline const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    default: return "invalid resource handle";
  }
}

cudaError_t cudaMemsetAsync(void* to, int byte, size_t count, cudaStream_t stream);
