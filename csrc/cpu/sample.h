// The sample stage: reads the pixels of each cell of a piece, one channel at a time.
#pragma once

#include "cells.h"
#include "tcae_ops/bilinear.h"

TCAE_OPS_LEVEL_BEGIN

template <bool flag>
struct Flag {
  static constexpr bool value = flag;
};

// The pixels of the cells of a piece.
template <class T>
struct Taps {
  Lane<T> tl, tr, bl, br;

  TCAE_HD Four<T> operator[](int32_t i) const { return {tl[i], tr[i], bl[i], br[i]}; }
};

// Single reads. Under zeros pixels outside are 0 and never read.
template <bool zeros, class E, class T>
inline void read_one_by_one(const Plane<E>& plane, const Cells<T>& cells, int32_t begin, int32_t end,
                            Taps<T>& taps) {
  const auto at = [&](int32_t row, int32_t column) {
    const bool inside = !zeros || (uint32_t(row) < uint32_t(plane.height) &&
                                   uint32_t(column) < uint32_t(plane.width));
    return inside ? Element<E>::template load<T>(plane.data[row * plane.stride_h + column * plane.stride_w])
                  : T(0);
  };
  for (int32_t i = begin; i < end; ++i) {
    taps.tl[i] = at(cells.top[i], cells.left[i]);
    taps.tr[i] = at(cells.top[i], cells.right[i]);
    taps.bl[i] = at(cells.bottom[i], cells.left[i]);
    taps.br[i] = at(cells.bottom[i], cells.right[i]);
  }
}

// A group that fits no window.
template <bool zeros, class E>
inline void read_group(const Plane<E>& plane, const Cells<float>& cells, int32_t i, Taps<float>& taps) {
  read_one_by_one<zeros>(plane, cells, i, i + kGroup, taps);
}

template <bool zeros>
inline void read_group(const Plane<float>& plane, const Cells<float>& cells, int32_t i, Taps<float>& taps) {
  if constexpr (!kGathers) return read_one_by_one<zeros>(plane, cells, i, i + kGroup, taps);
  for (int32_t j = i; j < i + kGroup; j += kLanes) {
    read_far<zeros>(plane, &cells.left[j], &cells.right[j], &cells.top[j], &cells.bottom[j], &taps.tl[j],
                    &taps.tr[j], &taps.bl[j], &taps.br[j]);
  }
}

template <bool zeros, int32_t stride, class E>
inline void read_windows(const Plane<E>& plane, const Cells<float>& cells, int32_t count, Taps<float>& taps) {
  for (int32_t i = 0; i < count; i += kGroup) {
    const Window& window = cells.windows[i / kGroup];
    if (window.rows < 0) {
      read_group<zeros>(plane, cells, i, taps);
      continue;
    }
    for (int32_t j = i; j < i + kGroup; j += kLanes) {
      read_window<zeros, stride>(plane, window, (j - i) / kLanes, &cells.left[j], &cells.right[j],
                                 &cells.top[j], &cells.bottom[j], &taps.tl[j], &taps.tr[j], &taps.bl[j],
                                 &taps.br[j]);
    }
  }
}

template <bool zeros, class E, class T>
inline void read(const Plane<E>& plane, const Cells<T>& cells, int32_t count, Taps<T>& taps) {
  if constexpr (kWindows && sizeof(T) == 4 && sizeof(E) <= 4) {
    if (plane.stride_w == 1) return read_windows<zeros, 1>(plane, cells, count, taps);
    if constexpr (kAlternating) {  // alternating in memory
      switch (plane.stride_w) {
        case 3: return read_windows<zeros, 3>(plane, cells, count, taps);
        case 4: return read_windows<zeros, 4>(plane, cells, count, taps);
      }
    }
  }
  read_one_by_one<zeros>(plane, cells, 0, count, taps);
}

// Calls f with the image's plane and whether padding is zeros.
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

// One channel of a piece: the pixels of its cells, and what follows from them.
template <class T>
class Sampler {
 public:
  explicit Sampler(const Sampling& s) : s_(s), one_(s.image.dtype == Dtype::u8 ? Element<uint8_t>::one : 1) {}

  void read(const Piece& p, int64_t channel, const Cells<T>& cells) {
    with_plane(s_.image, s_.padding, p.n, channel, [&](const auto& plane, auto zeros) {
      const int64_t soon = cells.bottom[p.count / 2] + 3;  // a row of the image that the next piece reads
      prefetch<false>(plane.data + soon * plane.stride_h + p.x * plane.stride_w, plane.stride_w, p.count);
      tcae_ops::read<zeros.value>(plane, cells, p.count, taps_);
    });
  }

  void values(const Piece& p, const Cells<T>& cells, Lane<T>& value) const {
    for (int32_t i = 0; i < p.count; ++i) {
      value[i] = bilinear(bilinear_weights(cells.fx[i], cells.fy[i]), taps_[i]);
    }
    divide(p, value);
  }

  // The derivatives by the folded position.
  void slopes(const Piece& p, const Cells<T>& cells, Lane<T>& dx, Lane<T>& dy) const {
    for (int32_t i = 0; i < p.count; ++i) {
      dx[i] = bilinear_dx(cells.fy[i], taps_[i]);
      dy[i] = bilinear_dy(cells.fx[i], taps_[i]);
    }
    divide(p, dx);
    divide(p, dy);
  }

 private:
  void divide(const Piece& p, Lane<T>& values) const {
    if (one_ == 1) return;
    for (int32_t i = 0; i < p.count; ++i) values[i] /= one_;
  }

  const Sampling& s_;
  const T one_;
  Taps<T> taps_;
};

TCAE_OPS_LEVEL_END
