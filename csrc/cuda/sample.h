// Which pixels of the image a position samples.
#pragma once

#include "field.h"
#include "tcae_ops/bilinear.h"
#include "tcae_ops/coordinates.h"

namespace tcae_ops {

// The image of a call, and how it continues outside.
template <class K>
struct Source {
  Strided<K> image;
  int32_t channels, h, w;
  int32_t below, right;  // the pixel that follows the last one of a column, of a row
  Padding padding;

  static Source of(const Sampling& s) {
    const int32_t h = int32_t(s.image.h), w = int32_t(s.image.w);
    const auto after_last = [&](int32_t size) {
      return with_padding(s.padding, [&](auto rule) { return rule.after_last(size); });
    };
    return {strided<K>(s.image), int32_t(s.image.c), h, w, after_last(h), after_last(w), s.padding};
  }
};

// Common images have more than one pixel on each axis, so that no unit is 0.
template <class K, class T>
__device__ __forceinline__ T in_pixels(T displacement, T unit) {
  return K::common ? displacement * unit : in_pixels(displacement, unit);
}

template <class K>
__device__ __forceinline__ Folded<typename K::Number> fold(Padding padding, typename K::Number position, int32_t size) {
  return K::with_rule(padding, [&](auto rule) { return rule.fold(position, size); });
}

// The derivatives of folded positions by the original ones: -1, 0 or 1. They wait in few registers for the end
// of the backward pass.
template <class T, int P>
class Slopes {
 public:
  __device__ __forceinline__ void put(int i, T x, T y) {
    bits_ |= (uint32_t(int32_t(x) + 1) | uint32_t(int32_t(y) + 1) << 2) << (4 * i);
  }
  __device__ __forceinline__ T x(int i) const { return T(int32_t(bits_ >> (4 * i) & 3u) - 1); }
  __device__ __forceinline__ T y(int i) const { return T(int32_t(bits_ >> (4 * i + 2) & 3u) - 1); }

 private:
  uint32_t bits_ = 0;  // those of x and y in turn, plus 1, two bits each
};

// Those of one pixel: nothing to pack.
template <class T>
class Slopes<T, 1> {
 public:
  __device__ __forceinline__ void put(int, T x, T y) { x_ = x, y_ = y; }
  __device__ __forceinline__ T x(int) const { return x_; }
  __device__ __forceinline__ T y(int) const { return y_; }

 private:
  T x_, y_;
};

// Where a group samples the image: positions inside it, both NaN if one is.
template <class T, int P>
struct SamplePoints {
  Vectors<T, P> position;
  Slopes<T, P> slopes;
};

template <class K>
__device__ __forceinline__ auto find_sample_points(const Source<K>& source, const Fields<K>& fields, const Site<K>& s,
                                                   const Displacements<K>& by) {
  using T = typename K::Number;
  SamplePoints<T, K::pixels> points;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) {
    const Folded<T> x = fold<K>(source.padding, T(s.x + i) + in_pixels<K>(by.x[i], fields.unit_x), source.w);
    const Folded<T> y = fold<K>(source.padding, T(s.y) + in_pixels<K>(by.y[i], fields.unit_y), source.h);
    const T sum = x.position + y.position;  // finite unless one is NaN
    const bool known = sum == sum;
    points.position.x[i] = known ? x.position : sum;
    points.position.y[i] = known ? y.position : sum;
    points.slopes.put(i, known ? x.slope : T(1), known ? y.slope : T(1));
  }
  return points;
}

// Keeps the cells out of the registers between channels: makes the compiler assume that positions have
// changed. It is cheap to find the cells again, and leaves room for more threads. Not where all channels are
// sampled at once.
template <class K>
__device__ __forceinline__ void forget_cells(Displacements<K>& positions) {
#ifdef __CUDA_ARCH__
  using T = typename K::Number;
#pragma unroll
  for (int i = 0; i < (K::common ? 0 : K::pixels); ++i) {
    if constexpr (sizeof(T) == 8) {
      asm volatile("" : "+d"(positions.x[i]), "+d"(positions.y[i]));
    } else {
      asm volatile("" : "+f"(positions.x[i]), "+f"(positions.y[i]));
    }
  }
#endif
}

template <class T>
struct Cell2 {
  Cell<T> column, row;
};

template <class K, class T, int P>
__device__ __forceinline__ Cell2<T> cell_of(const Source<K>& source, const Vectors<T, P>& positions, int i) {
  if constexpr (K::common) return {border_cell(positions.x[i], source.w), border_cell(positions.y[i], source.h)};
  return {cell(positions.x[i], source.w, source.right), cell(positions.y[i], source.h, source.below)};
}

template <class K>
__device__ __forceinline__ bool is_inside(const Source<K>& source, int32_t row, int32_t column) {
  return K::common || (uint32_t(row) < uint32_t(source.h) && uint32_t(column) < uint32_t(source.w));
}

// Reads through the cache for memory that no kernel writes.
template <class E>
__device__ __forceinline__ E read_only(const E* from) {
  return __ldg(from);
}
__device__ __forceinline__ Half read_only(const Half* from) { return {__ldg(&from->bits)}; }
__device__ __forceinline__ BFloat16 read_only(const BFloat16* from) { return {__ldg(&from->bits)}; }

// The four pixels of each cell of a group as they are stored, 0 outside.
template <class K, class T, int P>
__device__ __forceinline__ Group<T, P, Four<T>> read_cells(const Source<K>& source, const Vectors<T, P>& positions,
                                                           int32_t n, int32_t c) {
  return K::with_image(source.image.dtype, [&](auto e) {
    using E = decltype(e);
    const E* const image = static_cast<const E*>(source.image.data);
    const auto plane = source.image.plane(n, c);
    const int32_t stride_h = int32_t(source.image.stride_h), stride_w = int32_t(source.image.stride_w);
    const auto pixel = [&](int32_t row, int32_t column) {
      if (!is_inside(source, row, column)) return T(0);
      return Element<E>::template load<T>(read_only(image + (plane + (row * stride_h + column * stride_w))));
    };
    Group<T, P, Four<T>> to;
#pragma unroll
    for (int i = 0; i < P; ++i) {
      const Cell2<T> it = cell_of(source, positions, i);
      to[i] = {pixel(it.row.first, it.column.first), pixel(it.row.first, it.column.second),
               pixel(it.row.second, it.column.first), pixel(it.row.second, it.column.second)};
    }
    return to;
  });
}

// From stored numbers to image values.
template <class K, class T>
__device__ __forceinline__ T shown(const Source<K>& source, T stored) {
  return K::is_bytes(source.image.dtype) ? shown_by_bytes(stored) : stored;
}

template <class K, class T>
__device__ __forceinline__ T sample(const Source<K>& source, const Cell2<T>& cell, const Four<T>& pixels) {
  return shown(source, bilinear(bilinear_weights(cell.column.fraction, cell.row.fraction), pixels));
}

}  // namespace tcae_ops
