// The CUDA kernels, as the binding calls them. No torch here: memory comes from the caller.
#pragma once

#include <cuda_runtime_api.h>

#include "tcae_ops/passes.h"

namespace tcae_ops {

// Kernels take their arguments by value, so the number of flows has a limit.
constexpr int64_t kMostFlows = 16;

// The passes only enqueue work, and return the first error of enqueueing. `scratch` is memory of the
// device, aligned to 8 bytes, of the size that the function before each pass returns. It must stay valid
// until the work is done.
int64_t forward_scratch(const Sampling& s, const Outputs& out);
cudaError_t forward(const Sampling& s, const Outputs& out, void* scratch, cudaStream_t stream);

// The gradients of the inputs must fill their memory without gaps. `deterministic`: the image's gradient,
// too, has the same bits every time.
int64_t backward_scratch(const Sampling& s, const Gradients& g, bool deterministic);
cudaError_t backward(const Sampling& s, const Gradients& g, bool deterministic, void* scratch, cudaStream_t stream);

// Whether the kernels can run on the current device: an error if the driver is too old for them or they
// were not compiled for its architecture.
cudaError_t probe();

}  // namespace tcae_ops
