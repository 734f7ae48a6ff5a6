// The operators' schemas and their CPU kernels, registered with torch.
#include <utility>

#include "../cpu/kernels.h"
#include "passes.h"
#include "schemas.h"

namespace tcae_ops {
namespace {

Threads threads() {
  const auto run = [](int64_t count, int64_t grain, Threads::Body body, void* context) {
    TORCH_ERROR_CODE_CHECK(torch_parallel_for(0, count, grain, body, context));
  };
  return {run, int64_t(torch::stable::get_num_threads())};
}

Tensors forward_cpu(Tensors inputs, int64_t flows, int64_t logits, StringHandle units, StringHandle padding,
                    bool return_warped) {
  return forward_pass(inputs, flows, logits, units, padding, return_warped,
                      [](const Sampling& s, const Outputs& out, const Tensor&) {
                        kernels().forward(s, out, threads());
                      });
}

Tensor warp_forward_cpu(Tensor image, Tensor flow, StringHandle units, StringHandle padding) {
  return forward_cpu({std::move(image), std::move(flow)}, 1, 0, units, padding, true)[0];
}

Tensors backward_cpu(Tensors upstream, bool by_loss, Tensors inputs, int64_t flows, int64_t logits,
                     StringHandle units, StringHandle padding, std::vector<int64_t> needs) {
  return backward_pass(upstream, by_loss, inputs, flows, logits, units, padding, needs,
                       [](const Sampling& s, const Gradients& g, const Tensor&) {
                         kernels().backward(s, g, threads());
                       });
}

Tensors warp_backward_cpu(Tensor by_warped, Tensor image, Tensor flow, StringHandle units, StringHandle padding,
                          bool by_image, bool by_flow) {
  std::vector<int64_t> needs;
  if (by_image) needs.push_back(0);
  if (by_flow) needs.push_back(1);
  return backward_cpu({std::move(by_warped)}, false, {std::move(image), std::move(flow)}, 1, 0, units, padding, needs);
}

std::string level_name() { return kernels().level; }

bool use_level(StringHandle level) { return use_kernels(take(level).c_str()); }

STABLE_TORCH_LIBRARY(tcae_ops, m) {
  m.def(TCAE_OPS_FORWARD);
  m.def(TCAE_OPS_WARP_FORWARD);
  m.def(TCAE_OPS_WARP_BACKWARD);
  m.def(TCAE_OPS_BACKWARD);
  m.def(TCAE_OPS_BACKWARD_DETERMINISTIC);
  m.def(TCAE_OPS_LEVEL_NAME);
  m.def(TCAE_OPS_USE_LEVEL);
}

STABLE_TORCH_LIBRARY_IMPL(tcae_ops, CPU, m) {
  m.impl("forward", TORCH_BOX(&forward_cpu));
  m.impl("warp_forward", TORCH_BOX(&warp_forward_cpu));
  m.impl("warp_backward", TORCH_BOX(&warp_backward_cpu));
  m.impl("backward", TORCH_BOX(&backward_cpu));
  m.impl("backward_deterministic", TORCH_BOX(&backward_cpu));
}

STABLE_TORCH_LIBRARY_IMPL(tcae_ops, CompositeExplicitAutograd, m) {
  m.impl("simd_level", TORCH_BOX(&level_name));
  m.impl("use_simd_level", TORCH_BOX(&use_level));
}

}  // namespace
}  // namespace tcae_ops
