// The passes as torch calls them, the same for every device: check, allocate, run the kernels.
#pragma once

#include "tensors.h"

namespace tcae_ops {

// `run` is the device's kernel: void(const Sampling&, const Outputs&, const Tensor& image).
template <class Run>
Tensors forward_pass(const Tensor& image, const Tensors& flows, const Tensors& logits,
                     const Tensors& target, const std::string& units, const std::string& padding,
                     bool return_warped, Run&& run) {
  const Arguments a(image, flows, logits, target, units, padding);
  const Sampling& s = a.sampling;
  Outputs out;
  Tensors results;
  if (!target.empty()) {
    results.push_back(allocate(image, a.working(), {s.image.n}, {1}));
    out.loss = {results.back().data_ptr(), a.working(), s.image.n, 1, 1, 1, 1, 1, 1, 1};
  }
  if (return_warped) {
    results.push_back(allocate_image(image, s.image, a.warped()));
    out.warped = view_of(results.back(), "warped");
  }
  if (s.image.n > 0) run(s, out, image);
  return results;
}

// `run` is the device's kernel: void(const Sampling&, const Gradients&, const Tensor& image).
template <class Run>
Tensors backward_pass(const Tensors& grad_loss, const Tensors& grad_warped, const Tensor& image,
                      const Tensors& flows, const Tensors& logits, const Tensors& target,
                      const std::string& units, const std::string& padding,
                      const std::vector<int64_t>& needs, Run&& run) {
  const Arguments a(image, flows, logits, target, units, padding);
  const Sampling& s = a.sampling;
  Gradients g;
  if (!grad_warped.empty()) {
    g.warped = view_of(grad_warped[0], "the gradient of the warped image");
    check_size(g.warped, "the gradient of the warped image", s.image.n, s.image.c, s.image.h, s.image.w);
  }
  if (!grad_loss.empty()) {
    const Tensor& t = grad_loss[0];
    STD_TORCH_CHECK(!target.empty() && t.dim() == 1 && t.size(0) == s.image.n &&
                        dtype_of(t, "the gradient of the loss") == a.working(),
                    "the gradient of the loss must have the loss's shape and type");
    g.loss = {t.data_ptr(), a.working(), s.image.n, 1, 1, 1, t.stride(0), 1, 1, 1};
  }
  const int64_t count = s.count, with_logits = int64_t(a.logits.size());
  std::vector<View> by_flow(a.flows.size()), by_logit(a.flows.size());
  g.flows = by_flow.data();
  g.logits = by_logit.data();
  Tensors results;
  for (const int64_t input : needs) {
    const int64_t last = count + with_logits + int64_t(target.size());
    STD_TORCH_CHECK(input >= 0 && input <= last, "needs holds ", input, ", but inputs end at ", last);
    const bool is_flow = input >= 1 && input <= count;
    const bool is_logit = input > count && input <= count + with_logits;
    const Tensor& like = input == 0 ? image
                         : is_flow  ? flows[size_t(input - 1)]
                         : is_logit ? logits[size_t(input - 1 - count)]
                                    : target[0];
    const Dtype dtype = dtype_of(like, "input");
    STD_TORCH_CHECK(dtype != Dtype::u8, "a uint8 image has no gradient");
    const bool is_image = !is_flow && !is_logit;
    results.push_back(is_image ? allocate_image(like, input == 0 ? s.image : s.target, dtype)
                               : allocate_contiguous(like, dtype));
    View& to = input == 0 ? g.image
               : is_flow  ? by_flow[size_t(input - 1)]
               : is_logit ? by_logit[size_t(input - 1 - count)]
                          : g.target;
    to = is_logit ? logit_of(results.back()) : view_of(results.back(), "gradient");
  }
  if (s.image.n > 0) run(s, g, image);
  return results;
}

}  // namespace tcae_ops
