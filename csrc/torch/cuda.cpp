// The CUDA kernels, registered with torch. This is a separate library, loaded only if torch has CUDA.
#include <dlfcn.h>

#include "../cuda/kernels.h"
#include "passes.h"

namespace tcae_ops {
namespace {

// torch's current stream. Not every torch has the function, so it is looked up and not linked.
cudaStream_t current_stream(int32_t device) {
  using Get = AOTITorchError (*)(int32_t device, void** stream);
  static const auto get = [] {
    void* const library = dlopen("libtorch_cuda.so", RTLD_LAZY | RTLD_NOLOAD);
    return reinterpret_cast<Get>(library ? dlsym(library, "aoti_torch_get_current_cuda_stream") : nullptr);
  }();
  void* stream = nullptr;
  STD_TORCH_CHECK(get != nullptr, "this torch has no CUDA");
  TORCH_ERROR_CODE_CHECK(get(device, &stream));
  return static_cast<cudaStream_t>(stream);
}

// Runs a pass on torch's current stream of the image's device. The scratch memory comes from torch's
// allocator. It may be freed as soon as the work is enqueued: whoever gets it next uses it on this stream,
// after the pass.
template <class Pass>
void enqueue(const Tensor& image, int64_t scratch_size, Pass&& pass) {
  const int32_t device = image.get_device_index();
  const torch::stable::accelerator::DeviceGuard guard(device);
  Tensors scratch;
  if (scratch_size > 0) scratch.push_back(allocate(image, Dtype::u8, {scratch_size}, {1}));
  const cudaError_t error = pass(scratch.empty() ? nullptr : scratch[0].data_ptr(), current_stream(device));
  STD_TORCH_CHECK(error == cudaSuccess, "tcae_ops: ", cudaGetErrorString(error));
}

void check_count(int64_t flows) {
  STD_TORCH_CHECK(flows <= kMostFlows, "the CUDA library blends at most ", kMostFlows, " flows");
}

Tensors forward_cuda(Tensors inputs, int64_t flows, int64_t logits, StringHandle units, StringHandle padding,
                     bool return_warped) {
  check_count(flows);
  return forward_pass(inputs, flows, logits, units, padding, return_warped,
                      [](const Sampling& s, const Outputs& out, const Tensor& image) {
                        enqueue(image, forward_scratch(s, out), [&](void* scratch, cudaStream_t stream) {
                          return forward(s, out, scratch, stream);
                        });
                      });
}

template <bool deterministic>
Tensors backward_cuda(Tensors upstream, bool by_loss, Tensors inputs, int64_t flows, int64_t logits,
                      StringHandle units, StringHandle padding, std::vector<int64_t> needs) {
  check_count(flows);
  return backward_pass(upstream, by_loss, inputs, flows, logits, units, padding, needs,
                       [](const Sampling& s, const Gradients& g, const Tensor& image) {
                         enqueue(image, backward_scratch(s, g, deterministic), [&](void* scratch, cudaStream_t stream) {
                           return backward(s, g, deterministic, scratch, stream);
                         });
                       });
}

STABLE_TORCH_LIBRARY_IMPL(tcae_ops, CUDA, m) {
  m.impl("forward", TORCH_BOX(&forward_cuda));
  m.impl("backward", TORCH_BOX(&backward_cuda<false>));
  m.impl("backward_deterministic", TORCH_BOX(&backward_cuda<true>));
}

// Why the kernels cannot run on a device, or nullptr if they can. Called without torch.
const char* problem_of(int device) {
  int before = 0;
  cudaError_t error = cudaGetDevice(&before);
  if (error == cudaSuccess) error = cudaSetDevice(device);
  if (error == cudaSuccess) {
    error = probe();
    cudaSetDevice(before);
  }
  cudaGetLastError();  // else the next one who asks gets it
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace
}  // namespace tcae_ops

extern "C" __attribute__((visibility("default"))) const char* tcae_ops_cuda_problem(int device) {
  return tcae_ops::problem_of(device);
}
