// Which pixels of the image a position samples.
#pragma once

#include "field.h"
#include "tcae_ops/bilinear.h"
#include "tcae_ops/coordinates.h"

namespace tcae_ops {

// The image of a call, and how it continues outside.
struct Source {
  Strided image;
  int32_t channels, h, w;
  int32_t below, right;  // the pixel that follows the last one of a column, of a row
  Padding padding;

  static Source of(const Sampling& s) {
    const int32_t h = int32_t(s.image.h), w = int32_t(s.image.w);
    const auto after_last = [&](int32_t size) {
      return with_padding(s.padding, [&](auto rule) { return rule.after_last(size); });
    };
    return {strided<1>(s.image), int32_t(s.image.c), h, w, after_last(h), after_last(w), s.padding};
  }
};

template <class T>
__device__ __forceinline__ Folded<T> fold(Padding padding, T position, int32_t size) {
  return with_padding(padding, [&](auto rule) { return rule.fold(position, size); });
}

// Where a group samples the image: positions inside it, both NaN if one is. Their derivatives by the
// positions before folding are -1, 0 or 1.
template <class T, int P>
struct SamplePoints {
  Vectors<T, P> position;
  uint32_t slopes = 0;  // derivatives of x and y in turn, plus 1, two bits each

  __device__ __forceinline__ T slope_x(int i) const { return T(int32_t(slopes >> (4 * i) & 3u) - 1); }
  __device__ __forceinline__ T slope_y(int i) const { return T(int32_t(slopes >> (4 * i + 2) & 3u) - 1); }
};

template <class T, int P>
__device__ __forceinline__ SamplePoints<T, P> find_sample_points(const Source& source, const Fields& fields,
                                                                 const Site<P>& s, const Vectors<T, P>& by) {
  const T unit_x = unit<T>(fields, source.w), unit_y = unit<T>(fields, source.h);
  SamplePoints<T, P> points;
#pragma unroll
  for (int i = 0; i < P; ++i) {
    const Folded<T> x = fold(source.padding, T(s.x + i) + in_pixels(by.x[i], unit_x), source.w);
    const Folded<T> y = fold(source.padding, T(s.y) + in_pixels(by.y[i], unit_y), source.h);
    const T sum = x.position + y.position;  // finite unless one is NaN
    const bool known = sum == sum;
    points.position.x[i] = known ? x.position : sum;
    points.position.y[i] = known ? y.position : sum;
    const uint32_t slope_x = known ? uint32_t(int32_t(x.slope) + 1) : 2u;
    const uint32_t slope_y = known ? uint32_t(int32_t(y.slope) + 1) : 2u;
    points.slopes |= (slope_x | slope_y << 2) << (4 * i);
  }
  return points;
}

// Keeps the cells out of the registers between channels: makes the compiler assume that positions have
// changed. It is cheap to find the cells again, and leaves room for more threads.
template <class T, int P>
__device__ __forceinline__ void forget_cells(Vectors<T, P>& positions) {
#ifdef __CUDA_ARCH__
#pragma unroll
  for (int i = 0; i < P; ++i) {
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

template <class T, int P>
__device__ __forceinline__ Cell2<T> cell_of(const Source& source, const Vectors<T, P>& positions, int i) {
  return {cell(positions.x[i], source.w, source.right), cell(positions.y[i], source.h, source.below)};
}

__device__ __forceinline__ bool is_inside(const Source& source, int32_t row, int32_t column) {
  return uint32_t(row) < uint32_t(source.h) && uint32_t(column) < uint32_t(source.w);
}

// Reads through the cache for memory that no kernel writes.
template <class E>
__device__ __forceinline__ E read_only(const E* from) {
  return __ldg(from);
}
__device__ __forceinline__ Half read_only(const Half* from) { return {__ldg(&from->bits)}; }
__device__ __forceinline__ BFloat16 read_only(const BFloat16* from) { return {__ldg(&from->bits)}; }

// The four pixels of each cell of a group as they are stored, 0 outside.
template <class T, int P>
__device__ __forceinline__ Group<T, P, Four<T>> read_cells(const Source& source, const Vectors<T, P>& positions,
                                                           int64_t n, int64_t c) {
  return with_image<T>(source.image.dtype, [&](auto e) {
    using E = decltype(e);
    const E* const plane = static_cast<const E*>(source.image.data) + source.image.plane(n, c);
    const int32_t stride_h = int32_t(source.image.stride_h), stride_w = int32_t(source.image.stride_w);
    const auto pixel = [&](int32_t row, int32_t column) {
      if (!is_inside(source, row, column)) return T(0);
      return Element<E>::template load<T>(read_only(plane + (row * stride_h + column * stride_w)));
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
template <class T>
__device__ __forceinline__ T shown(const Source& source, T stored) {
  return source.image.dtype == Dtype::u8 ? shown_by_bytes(stored) : stored;
}

template <class T>
__device__ __forceinline__ T sample(const Source& source, const Cell2<T>& cell, const Four<T>& pixels) {
  return shown(source, bilinear(bilinear_weights(cell.column.fraction, cell.row.fraction), pixels));
}

}  // namespace tcae_ops
