// The sample stage: reads the pixels of each cell of a piece, one channel at a time.
#pragma once

#include "cells.h"
#include "tcae_ops/bilinear.h"

TCAE_OPS_LEVEL_BEGIN

template <bool flag>
struct Flag {
  static constexpr bool value = flag;
};

// One channel of one image.
template <class E>
struct Plane {
  const E* data;
  int32_t stride_h, stride_w;
  int32_t width, height;
};

// The four pixels of cell i as stored. Under zeros those outside are 0 and never read.
template <bool zeros, class E, class T>
TCAE_HD Four<T> read(const Plane<E>& plane, const Cells<T>& cells, int32_t i) {
  const auto at = [&](int32_t row, int32_t column) {
    const bool inside = !zeros || (uint32_t(row) < uint32_t(plane.height) &&
                                   uint32_t(column) < uint32_t(plane.width));
    return inside ? Element<E>::template load<T>(plane.data[row * plane.stride_h + column * plane.stride_w])
                  : T(0);
  };
  return {at(cells.top[i], cells.left[i]), at(cells.top[i], cells.right[i]),
          at(cells.bottom[i], cells.left[i]), at(cells.bottom[i], cells.right[i])};
}

template <bool zeros, class E, class T>
inline void sample_plane(const Plane<E>& plane, const Cells<T>& cells, int32_t count, T* value) {
  for (int32_t i = 0; i < count; ++i) {
    const Four<T> weights = bilinear_weights(cells.fx[i], cells.fy[i]);
    value[i] = bilinear(weights, read<zeros>(plane, cells, i)) / Element<E>::one;
  }
}

// The sample together with its derivatives by the folded position.
template <bool zeros, class E, class T>
inline void sample_slopes(const Plane<E>& plane, const Cells<T>& cells, int32_t count, T* value, T* dx,
                          T* dy) {
  for (int32_t i = 0; i < count; ++i) {
    const Four<T> weights = bilinear_weights(cells.fx[i], cells.fy[i]);
    const Four<T> pixels = read<zeros>(plane, cells, i);
    value[i] = bilinear(weights, pixels) / Element<E>::one;
    dx[i] = bilinear_dx(cells.fy[i], pixels) / Element<E>::one;
    dy[i] = bilinear_dy(cells.fx[i], pixels) / Element<E>::one;
  }
}

// Calls f(plane of the image's element type, true_type if padding is zeros).
template <class F>
inline void with_plane(const View& image, Padding padding, int64_t n, int64_t c, F&& f) {
  with_image(image.dtype, [&](auto e) {
    using E = decltype(e);
    const Plane<E> plane = {static_cast<const E*>(image.data) + image.plane(n, c),
                            int32_t(image.stride_h), int32_t(image.stride_w), int32_t(image.w),
                            int32_t(image.h)};
    if (padding == Padding::zeros) {
      f(plane, Flag<true>());
    } else {
      f(plane, Flag<false>());
    }
  });
}

template <class T>
inline void sample(const Sampling& s, Piece p, int64_t channel, const Cells<T>& cells, T* value) {
  with_plane(s.image, s.padding, p.n, channel, [&](const auto& plane, auto zeros) {
    sample_plane<zeros.value>(plane, cells, p.count, value);
  });
}

template <class T>
inline void sample(const Sampling& s, Piece p, int64_t channel, const Cells<T>& cells, T* value, T* dx,
                   T* dy) {
  with_plane(s.image, s.padding, p.n, channel, [&](const auto& plane, auto zeros) {
    sample_slopes<zeros.value>(plane, cells, p.count, value, dx, dy);
  });
}

TCAE_OPS_LEVEL_END
