// The CUDA kernels, registered with torch. A library of its own: it is loaded only where torch has
// CUDA.
#include <dlfcn.h>

#include "../cuda/kernels.h"
#include "passes.h"

namespace tcae_ops {
namespace {

// torch's current stream. The function is not in every torch, so it is looked up where it would be
// instead of being linked to.
cudaStream_t current_stream(int32_t device) {
  using Get = AOTITorchError (*)(int32_t device, void** stream);
  static const auto get = [] {
    void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    return reinterpret_cast<Get>(library ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr);
  }();
  void* stream = nullptr;
  STD_TORCH_CHECK(get != nullptr, "this torch has no CUDA");
  STABLE_TORCH_ERROR_CODE_CHECK(get(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

Tensors forward_cuda(Tensors inputs, int64_t flows, int64_t logits, std::string units, std::string padding,
                     bool return_warped) {
  STD_TORCH_CHECK(int64_t(inputs.size()) == 1 + flows + logits, "the CUDA library has no loss");
  STD_TORCH_CHECK(flows <= kMostFlows, "the CUDA library blends at most ", kMostFlows, " flows");
  return forward_pass(inputs, flows, logits, units, padding, return_warped,
                      [](const Sampling& s, const Outputs& out, const Tensor& image) {
                        const int32_t device = image.get_device_index();
                        const torch::stable::accelerator::DeviceGuard guard(device);
                        const cudaError_t error = forward(s, out, current_stream(device));
                        STD_TORCH_CHECK(error == cudaSuccess, "tcae_ops: ", cudaGetErrorString(error));
                      });
}

STABLE_TORCH_LIBRARY_IMPL(tcae_ops, CUDA, m) { m.impl("forward", TORCH_BOX(&forward_cuda)); }

}  // namespace
}  // namespace tcae_ops
