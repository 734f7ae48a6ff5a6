// The passes as torch calls them, the same for all devices: check, allocate, run the kernels.
#pragma once

#include "tensors.h"

namespace tcae_ops {

// `run` is the device's kernel: void(const Sampling&, const Outputs&, const Tensor& image).
template <class Run>
Tensors forward_pass(const Tensors& inputs, int64_t flows, int64_t logits, StringHandle units,
                     StringHandle padding, bool return_warped, Run&& run) {
  const Arguments a(inputs, flows, logits, take(units), take(padding));
  const Sampling& s = a.sampling;
  const Tensor& image = inputs[0];
  Outputs out;
  Tensors results;
  results.reserve(2);
  if (a.has_target) {
    results.push_back(allocate(image, a.working(), {s.n}, {1}));
    out.loss = {results.back().data_ptr(), a.working(), s.n, 1, 1, 1, 1, 1, 1, 1};
  }
  if (return_warped) {
    results.push_back(allocate_image(image, s.image, a.warped(), s.n, s.h, s.w));
    out.warped = view_of(results.back(), "warped");
  }
  if (s.n > 0) run(s, out, image);
  return results;
}

// `run` is the device's kernel: void(const Sampling&, const Gradients&, const Tensor& image).
template <class Run>
Tensors backward_pass(const Tensors& upstream, bool by_loss, const Tensors& inputs, int64_t flows,
                      int64_t logits, StringHandle units, StringHandle padding,
                      const std::vector<int64_t>& needs, Run&& run) {
  const Arguments a(inputs, flows, logits, take(units), take(padding));
  const Sampling& s = a.sampling;
  const bool by_warped = upstream.size() > size_t(by_loss);
  Gradients g;
  STD_TORCH_CHECK(!by_loss || (a.has_target && !upstream.empty()), "there must be a loss to have its gradient");
  if (by_loss) {
    const Tensor& t = upstream[0];
    STD_TORCH_CHECK(t.dim() == 1 && t.size(0) == s.n && dtype_of(t, "the gradient of the loss") == a.working(),
                    "the gradient of the loss must have the loss's shape and type");
    g.loss = {t.data_ptr(), a.working(), s.n, 1, 1, 1, t.stride(0), 1, 1, 1};
  }
  if (by_warped) {
    g.warped = view_of(upstream[size_t(by_loss)], "the gradient of the warped image");
    check_size(g.warped, "the gradient of the warped image", s.n, s.image.c, s.h, s.w);
  }
  std::vector<View> by_field(size_t(2 * flows));  // flows, then logits
  g.flows = by_field.data();
  g.logits = by_field.data() + flows;
  Tensors results;
  results.reserve(needs.size());
  for (const int64_t i : needs) {
    STD_TORCH_CHECK(i >= 0 && i < int64_t(inputs.size()), "needs holds ", i, ", but there are ",
                    inputs.size(), " inputs");
    const Tensor& like = inputs[size_t(i)];
    const bool is_field = i >= 1 && i <= flows + logits;
    const View& of = i == 0 ? s.image : is_field ? a.fields[size_t(i - 1)] : s.target;
    STD_TORCH_CHECK(of.dtype != Dtype::u8, "a uint8 image must have no gradient");
    results.push_back(is_field ? allocate_contiguous(like, of.dtype)
                               : allocate_image(like, of, of.dtype, of.n, of.h, of.w));
    View& to = i == 0 ? g.image : is_field ? by_field[size_t(i - 1)] : g.target;
    to = is_field ? field_of(results.back(), "gradient") : view_of(results.back(), "gradient");
  }
  if (s.n > 0) run(s, g, inputs[0]);
  return results;
}

}  // namespace tcae_ops
