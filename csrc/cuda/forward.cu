// Forward pass: a thread samples all channels of one pixel.
#include "kernels.h"
#include "launch.h"
#include "tcae_ops/bilinear.h"
#include "tcae_ops/blend.h"
#include "tcae_ops/coordinates.h"
#include "tcae_ops/dtypes.h"

namespace tcae_ops {
namespace {

constexpr int kThreads = 256;

struct Arguments {
  Sampling s;
  View warped;
  View flows[kMostFlows], logits[kMostFlows];
};

template <class T>
__device__ T read_float(const View& v, int64_t n, int64_t c, int32_t y, int32_t x) {
  const int64_t at = v.row(n, c, y) + x * v.stride_w;
  return with_float(v.dtype, [&](auto e) {
    using E = decltype(e);
    return Element<E>::template load<T>(static_cast<const E*>(v.data)[at]);
  });
}

template <class T>
struct Point {
  T x, y;
};

template <class T>
__device__ Point<T> displacement(const Arguments& a, int64_t n, int32_t y, int32_t x) {
  if (a.s.logits == nullptr) {
    return {read_float<T>(a.flows[0], n, 0, y, x), read_float<T>(a.flows[0], n, 1, y, x)};
  }
  T top = read_float<T>(a.logits[0], n, 0, y, x);
  for (int64_t k = 1; k < a.s.count; ++k) {
    const T logit = read_float<T>(a.logits[k], n, 0, y, x);
    top = logit > top ? logit : top;
  }
  T total = 0;
  Point<T> sum = {0, 0};
  for (int64_t k = 0; k < a.s.count; ++k) {
    const T weight = exp_nonpositive(read_float<T>(a.logits[k], n, 0, y, x) - top);
    total += weight;
    sum.x += weight * read_float<T>(a.flows[k], n, 0, y, x);
    sum.y += weight * read_float<T>(a.flows[k], n, 1, y, x);
  }
  return {sum.x / total, sum.y / total};
}

template <Padding padding, class T>
__device__ void sample(const Arguments& a, Point<T> at, int64_t n, int32_t y, int32_t x) {
  const View& image = a.s.image;
  const int32_t w = int32_t(image.w), h = int32_t(image.h);
  Cell<T> column = cell<padding>(fold<padding>(at.x, w).position, w);
  Cell<T> row = cell<padding>(fold<padding>(at.y, h).position, h);
  const T sum = column.fraction + row.fraction;
  if (sum != sum) column.fraction = row.fraction = sum;
  const Four<T> weights = bilinear_weights(column.fraction, row.fraction);
  with_image(image.dtype, [&](auto e) {
    using E = decltype(e);
    const auto pixel = [&](int64_t c, int32_t i, int32_t j) {
      const bool inside = i >= 0 && i < h && j >= 0 && j < w;
      const E* const plane = static_cast<const E*>(image.data) + image.plane(n, c);
      return inside ? Element<E>::template load<T>(plane[i * image.stride_h + j * image.stride_w]) : T(0);
    };
    for (int64_t c = 0; c < image.c; ++c) {
      const Four<T> pixels = {pixel(c, row.first, column.first), pixel(c, row.first, column.second),
                              pixel(c, row.second, column.first), pixel(c, row.second, column.second)};
      const T value = bilinear(weights, pixels) / Element<E>::one;
      const int64_t to = a.warped.row(n, c, y) + x * a.warped.stride_w;
      with_float(a.warped.dtype, [&](auto f) {
        using F = decltype(f);
        static_cast<F*>(a.warped.data)[to] = Element<F>::store(value);
      });
    }
  });
}

template <class T>
__global__ void forward_kernel(const Arguments a) {
  const int64_t i = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t w = a.s.image.w, h = a.s.image.h;
  if (i >= a.s.image.n * h * w) return;
  const int64_t n = i / (h * w);
  const int32_t y = int32_t(i / w % h), x = int32_t(i % w);
  Point<T> at = displacement<T>(a, n, y, x);
  at.x = T(x) + at.x * (a.s.normalized ? T(w - 1) / 2 : T(1));
  at.y = T(y) + at.y * (a.s.normalized ? T(h - 1) / 2 : T(1));
  switch (a.s.padding) {
    case Padding::border: return sample<Padding::border>(a, at, n, y, x);
    case Padding::zeros: return sample<Padding::zeros>(a, at, n, y, x);
    case Padding::reflection: return sample<Padding::reflection>(a, at, n, y, x);
  }
}

}  // namespace

cudaError_t forward(const Sampling& s, const Outputs& out, cudaStream_t stream) {
  Arguments a = {s, out.warped, {}, {}};
  for (int64_t k = 0; k < s.count; ++k) {
    a.flows[k] = s.flows[k];
    if (s.logits != nullptr) a.logits[k] = s.logits[k];
  }
  const int64_t pixels = s.image.n * s.image.h * s.image.w;
  const unsigned blocks = unsigned((pixels + kThreads - 1) / kThreads);
  return launch(s.wide ? forward_kernel<double> : forward_kernel<float>, blocks, kThreads, stream, a);
}

}  // namespace tcae_ops
