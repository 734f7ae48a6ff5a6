// The CUDA kernels, as the binding calls them. No torch here.
#pragma once

#include <cuda_runtime_api.h>

#include "tcae_ops/passes.h"

namespace tcae_ops {

// Kernels take their arguments by value, so the number of flows has a limit.
constexpr int64_t kMostFlows = 16;

// Enqueues the samples. Returns the error of the launch.
cudaError_t forward(const Sampling& s, const Outputs& out, cudaStream_t stream);

}  // namespace tcae_ops
