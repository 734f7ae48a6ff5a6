#include <string.h>

#include <memory>
#include <stdexcept>

#include "csrc/cuda/kernels.h"
#include "device.h"
#include "scheduler.h"

namespace {

// Exactly as many bytes as the kernels ask for, filled with NaN.
std::unique_ptr<char[]> scratch(int64_t size) {
  std::unique_ptr<char[]> memory(new char[size_t(size)]);
  memset(memory.get(), 0xff, size_t(size));
  return memory;
}

void check(cudaError_t error) {
  if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

}  // namespace

void run_forward(const tcae_ops::Sampling& s, const tcae_ops::Outputs& out) {
  const auto memory = scratch(forward_scratch(s, out));
  check(forward(s, out, memory.get(), cuda_host::the_stream()));
}

void run_backward(const tcae_ops::Sampling& s, const tcae_ops::Gradients& g, bool deterministic) {
  const auto memory = scratch(backward_scratch(s, g, deterministic));
  check(backward(s, g, deterministic, memory.get(), cuda_host::the_stream()));
}
