// Between the tensors of LibTorch's stable ABI and the views of the kernels.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <limits>
#include <string>
#include <vector>

#include "tcae_ops/passes.h"

namespace tcae_ops {

using torch::stable::Tensor;
using Tensors = std::vector<Tensor>;

// Takes over a `str` argument and frees it. Kernels take handles because torch's own conversion to
// std::string (2.10 to 2.13) makes a copy that it never frees: every call would leak memory.
inline std::string take(StringHandle handle) {
  size_t length = 0;
  const char* data = nullptr;
  TORCH_ERROR_CODE_CHECK(torch_string_length(handle, &length));
  TORCH_ERROR_CODE_CHECK(torch_string_c_str(handle, &data));
  std::string text(data, length);
  TORCH_ERROR_CODE_CHECK(torch_delete_string(handle));
  return text;
}

// LibTorch's code of a type. It may differ between versions, so it is looked up at run time.
inline int32_t code_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::u8: return aoti_torch_dtype_uint8();
    case Dtype::f16: return aoti_torch_dtype_float16();
    case Dtype::bf16: return aoti_torch_dtype_bfloat16();
    case Dtype::f64: return aoti_torch_dtype_float64();
    default: return aoti_torch_dtype_float32();
  }
}

inline Dtype dtype_of(const Tensor& tensor, const char* name) {
  int32_t code = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(tensor.get(), &code));
  for (Dtype dtype : {Dtype::f32, Dtype::u8, Dtype::bf16, Dtype::f16, Dtype::f64}) {
    if (code == code_of(dtype)) return dtype;
  }
  STD_TORCH_CHECK(false, name, " must be of a float type, or uint8 if it is an image");
}

// A batch of one may serve a whole batch, so it does not move on.
inline View view_of(const Tensor& tensor, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == 4, name, " must have 4 dimensions, but has ", tensor.dim());
  const auto size = tensor.sizes();
  const auto stride = tensor.strides();
  return {tensor.data_ptr(), dtype_of(tensor, name),         size[0],   size[1],   size[2],
          size[3],           size[0] == 1 ? 0 : stride[0], stride[1], stride[2], stride[3]};
}

// A flow or a logit. A logit may lack the channel axis.
inline View field_of(const Tensor& tensor, const char* name) {
  if (tensor.dim() != 3) return view_of(tensor, name);
  const auto size = tensor.sizes();
  const auto stride = tensor.strides();
  return {tensor.data_ptr(), dtype_of(tensor, name), size[0],   1,        size[1],
          size[2],           stride[0],              0,         stride[1], stride[2]};
}

inline void check_size(const View& v, const char* name, int64_t n, int64_t c, int64_t h, int64_t w) {
  STD_TORCH_CHECK(v.n == n && v.c == c && v.h == h && v.w == w, name, " must have shape (", n, ", ", c,
                  ", ", h, ", ", w, "), but has (", v.n, ", ", v.c, ", ", v.h, ", ", v.w, ")");
}

// The arguments that all passes share, checked, and as the views that kernels take.
struct Arguments {
  Sampling sampling;
  std::vector<View> fields;  // the flows, then the logits
  bool has_target;

  Arguments(const Tensors& inputs, int64_t flows, int64_t logits, const std::string& units,
            const std::string& padding);
  Arguments(const Arguments&) = delete;

  Dtype working() const { return sampling.wide ? Dtype::f64 : Dtype::f32; }
  Dtype warped() const { return sampling.image.dtype == Dtype::u8 ? working() : sampling.image.dtype; }
};

inline Padding padding_of(const std::string& name) {
  Padding padding = Padding::border;
  STD_TORCH_CHECK(find_padding(name.c_str(), padding), "padding must be border, zeros or reflection, but is ", name);
  return padding;
}

inline Arguments::Arguments(const Tensors& inputs, int64_t flows, int64_t logits, const std::string& units,
                            const std::string& padding) {
  STD_TORCH_CHECK(units == "pixels" || units == "normalized",
                  "units must be pixels or normalized, but is ", units);
  STD_TORCH_CHECK(flows >= 1 && flows < int64_t(inputs.size()) && (logits == flows || (logits == 0 && flows == 1)),
                  "there must be a logit for each flow, or one flow alone");
  const int64_t rest = int64_t(inputs.size()) - 1 - flows - logits;
  STD_TORCH_CHECK(rest == 0 || rest == 1, "inputs must be an image, ", flows, " flows, ", logits,
                  " logits and at most one target");
  Sampling& s = sampling;
  s.image = view_of(inputs[0], "image");
  const View& image = s.image;
  STD_TORCH_CHECK(image.c > 0 && image.h > 0 && image.w > 0, "image must have C, H and W of at least 1");
  const int64_t limit = std::numeric_limits<int32_t>::max();
  const int64_t span = (image.h - 1) * image.stride_h + (image.w - 1) * image.stride_w;
  STD_TORCH_CHECK(span < limit && image.h * image.w < limit, "a plane of the image must span less than 2^31 elements");
  const View first = view_of(inputs[1], "flow");
  const int64_t n = s.n = first.n, h = s.h = first.h, w = s.w = first.w;
  STD_TORCH_CHECK(h > 0 && w > 0 && h * w < limit, "flows must have H and W of at least 1, and less than 2^31 pixels");
  STD_TORCH_CHECK(image.n == n || (image.n == 1 && n > 0), "there must be one image for all, or ", n,
                  " as there are flows, but there are ", image.n);
  s.wide = s.image.dtype == Dtype::f64;
  fields.reserve(size_t(flows + logits));
  for (int64_t i = 0; i < flows + logits; ++i) {
    const char* const name = i < flows ? "flow" : "logit";
    const View v = i < flows ? view_of(inputs[size_t(1 + i)], name) : field_of(inputs[size_t(1 + i)], name);
    check_size(v, name, n, i < flows ? 2 : 1, h, w);
    STD_TORCH_CHECK(v.dtype != Dtype::u8, "flows and logits must be of a float type");
    s.wide = s.wide || v.dtype == Dtype::f64;
    fields.push_back(v);
  }
  has_target = rest == 1;
  if (has_target) {
    s.target = view_of(inputs.back(), "target");
    check_size(s.target, "target", n, image.c, h, w);
    s.wide = s.wide || s.target.dtype == Dtype::f64;
  }
  s.flows = fields.data();
  s.logits = logits > 0 ? fields.data() + flows : nullptr;
  s.count = flows;
  s.padding = padding_of(padding);
  s.normalized = units == "normalized";
}

// An uninitialised tensor on the device of another.
inline Tensor allocate(const Tensor& like, Dtype dtype, const std::vector<int64_t>& size,
                       const std::vector<int64_t>& stride) {
  int32_t device = 0, index = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &index));
  AtenTensorHandle handle = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(int64_t(size.size()), size.data(), stride.data(),
                                                         code_of(dtype), device, index, &handle));
  return Tensor(handle);
}

inline Tensor allocate_contiguous(const Tensor& like, Dtype dtype) {
  const auto sizes = like.sizes();
  std::vector<int64_t> size(sizes.begin(), sizes.end()), stride(size.size(), 1);
  for (size_t i = size.size() - 1; i > 0; --i) stride[i - 1] = stride[i] * (size[i] > 0 ? size[i] : 1);
  return allocate(like, dtype, size, stride);
}

// Images come out channels-last if `like` is channels-last, else contiguous. `v` is the view of `like`.
inline Tensor allocate_image(const Tensor& like, const View& v, Dtype dtype, int64_t n, int64_t h, int64_t w) {
  const bool last = v.c > 1 && v.stride_c == 1 && (v.w == 1 || v.stride_w == v.c) &&
                    (v.h == 1 || v.stride_h == v.c * v.w) && (v.n == 1 || v.stride_n == v.c * v.h * v.w);
  if (!last || like.is_contiguous()) return allocate(like, dtype, {n, v.c, h, w}, {v.c * h * w, h * w, w, 1});
  return allocate(like, dtype, {n, v.c, h, w}, {v.c * h * w, 1, v.c * w, v.c});
}

}  // namespace tcae_ops
