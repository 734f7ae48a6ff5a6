// The gradient of the image: every pixel of the output adds to the four pixels it was sampled from.
//
// Sums are kept in the working type. Atomics add to them in whatever order the threads run. Where the
// result must not depend on that order, contributions are added as whole numbers: multiples of a power
// of two, chosen for each image so that no sum can overflow. That keeps 61 bits less the logarithm of
// the number of pixels, counted from the largest gradient that comes in. Infinite and NaN contributions
// have no such number. They are added to the sums as they are, which gives the same result in any order.
#pragma once

#include "reduce.h"
#include "sample.h"

namespace tcae_ops {

using Whole = unsigned long long;  // two's complement: CUDA has atomics of this type

struct ImageSums {
  void* sums = nullptr;  // of the working type, in the order of the result's elements
  Whole* wholes = nullptr;  // the same in multiples of 1 / scale, or null if any order will do
  const double* scales = nullptr;  // one per image
  int64_t stride_n = 0, stride_c = 0;  // stride_n: 0 if all samples are of one image
  int32_t stride_h = 0, stride_w = 0;

  TCAE_HD bool exists() const { return sums != nullptr; }
  TCAE_HD double scale(int32_t n) const { return wholes == nullptr ? 0 : scales[stride_n == 0 ? 0 : n]; }
};

template <class T, class Offset>
__device__ __forceinline__ void add(const ImageSums& to, Offset at, T value, double scale) {
  if (value == 0) return;
  if (to.wholes != nullptr && value - value == 0) {
    atomicAdd(to.wholes + at, Whole(llrint(double(value) * scale)));
  } else {
    atomicAdd(static_cast<T*>(to.sums) + at, value);
  }
}

// Adds the gradient by one sample to the pixels of its cell. A NaN position belongs to none.
template <class K, class T>
__device__ __forceinline__ void scatter(const Source<K>& source, const ImageSums& to, typename K::Offset plane,
                                        const Cell2<T>& cell, T gradient, double scale) {
  if (cell.column.fraction != cell.column.fraction) return;
  const Four<T> weights = bilinear_weights(cell.column.fraction, cell.row.fraction);
  const auto put = [&](int32_t row, int32_t column, T weight) {
    if (!is_inside(source, row, column)) return;
    add(to, plane + (row * to.stride_h + column * to.stride_w), weight * gradient, scale);
  };
  put(cell.row.first, cell.column.first, weights.tl);
  put(cell.row.first, cell.column.second, weights.tr);
  put(cell.row.second, cell.column.first, weights.bl);
  put(cell.row.second, cell.column.second, weights.br);
}

// The same for several samples of channel c, of which the first `count` exist.
template <class K, class T, int P>
__device__ __forceinline__ void scatter(const Source<K>& source, const ImageSums& to, int32_t n, int32_t c,
                                        const Vectors<T, P>& positions, const Group<T, P>& gradients, int count) {
  using Offset = typename K::Offset;
  const Offset plane = n * Offset(to.stride_n) + c * Offset(to.stride_c);
  const double scale = to.scale(n);
#pragma unroll
  for (int i = 0; i < P; ++i) {
    if (i == 0 || i < count) scatter(source, to, plane, cell_of(source, positions, i), gradients[i], scale);
  }
}

struct Largest {
  template <class T>
  __device__ __forceinline__ T operator()(T a, T b) const { return a > b ? a : b; }
};

// The largest finite gradient by the warped image in each block.
template <class T, int P>
__global__ void __launch_bounds__(kThreads)
    largest_kernel(Grid<Anything<T, P>> grid, Strided<Anything<T, P>> by_warped, int32_t channels, double* largest) {
  const auto s = grid.site();
  T most = 0;
  for (int32_t c = 0; c < (s.count > 0 ? channels : 0); ++c) {
    const Group<T, P> g = load_image(by_warped, c, s);
#pragma unroll
    for (int i = 0; i < P; ++i) most = g[i] - g[i] == 0 ? Largest()(most, T(fabs(g[i]))) : most;
  }
  const double of_block = reduce(most, Largest());
  if (threadIdx.x == 0) largest[blockIdx.x] = of_block;
}

// The scale of each image, one block per image. `blocks` are those of its samples, 0 if there is no gradient
// by the warped image.
template <class T>
__global__ void __launch_bounds__(kThreads)
    scale_kernel(const double* largest, int32_t blocks, const T* by_loss, int64_t stride, int32_t samples,
                 int64_t count, int32_t room, double* scales) {
  double bound = reduce_partials(largest + int64_t(blockIdx.x) * blocks, blocks, Largest());
  if (threadIdx.x != 0) return;
  double most = 0;
  for (int32_t i = 0; i < samples && by_loss != nullptr; ++i) {
    const double step = fabs(double(by_loss[(int64_t(blockIdx.x) * samples + i) * stride])) / double(count);
    most = step - step == 0 ? Largest()(most, step) : most;
  }
  bound += most;
  int exponent = 0;
  frexp(bound, &exponent);
  const int power = room - exponent;
  scales[blockIdx.x] = ldexp(1.0, power < 1000 ? power : 1000);
}

// Converts the sums to the result's type. A block stays in one image.
template <class T, class E>
__global__ void __launch_bounds__(kThreads)
    finish_kernel(ImageSums from, int64_t per_image, int32_t blocks, E* to) {
  const int64_t n = blockIdx.x / blocks;
  const int64_t i = int64_t(blockIdx.x % blocks) * kThreads + threadIdx.x;
  if (i >= per_image) return;
  const int64_t at = n * per_image + i;
  T sum = static_cast<const T*>(from.sums)[at];
  if (from.wholes != nullptr) sum += T(double((long long)(from.wholes[at])) / from.scales[n]);
  to[at] = Element<E>::store(sum);
}

}  // namespace tcae_ops
