// The sample stage: reads the pixels of each cell of a piece, a few channels at a time.
#pragma once

#include <type_traits>

#include "cells.h"

TCAE_OPS_LEVEL_BEGIN

template <bool flag>
struct Flag {
  static constexpr bool value = flag;
};

// Reads pixel by pixel. Under zeros pixels outside are 0 and never read.
template <bool zeros, class E, class T>
inline void read_one_by_one(const Planes<E>& planes, const Cells<T>& cells, int32_t begin, int32_t end,
                            Taps<T>* taps) {
  for (int32_t c = 0; c < planes.channels; ++c) {
    const E* const data = planes.data + c * planes.stride_c;
    const auto at = [&](int32_t row, int32_t column) {
      const bool inside = !zeros || (uint32_t(row) < uint32_t(planes.height) &&
                                     uint32_t(column) < uint32_t(planes.width));
      return inside ? Element<E>::template load<T>(data[row * planes.stride_h + column * planes.stride_w])
                    : T(0);
    };
    for (int32_t i = begin; i < end; ++i) {
      taps[c].tl[i] = at(cells.top[i], cells.left[i]);
      taps[c].tr[i] = at(cells.top[i], cells.right[i]);
      taps[c].bl[i] = at(cells.bottom[i], cells.left[i]);
      taps[c].br[i] = at(cells.bottom[i], cells.right[i]);
    }
  }
}

template <bool zeros, class E>
inline void read_window(const Planes<E>& planes, const Window& window, int32_t half, const Corners& corners,
                        int32_t i, Taps<float>* taps) {
  if constexpr (kInterleaved) {
    if (planes.stride_w == 3) return read_window<zeros, 3, true>(planes, window, half, corners, i, taps);
    if (planes.stride_w == 4) return read_window<zeros, 4, true>(planes, window, half, corners, i, taps);
  }
  switch (planes.channels) {
    case 1: return read_window<zeros, 1, false>(planes, window, half, corners, i, taps);
    case 2: return read_window<zeros, 2, false>(planes, window, half, corners, i, taps);
    case 3: return read_window<zeros, 3, false>(planes, window, half, corners, i, taps);
    default: return read_window<zeros, kTogether, false>(planes, window, half, corners, i, taps);
  }
}

template <bool zeros, class E>
inline void read_group(const Planes<E>& planes, const Cells<float>& cells, const Window& window, int32_t begin,
                       Taps<float>* taps) {
  const bool in_row = planes.stride_w == 1, in_pixel = planes.stride_c == 1;
  const bool whole = in_pixel && planes.channels >= 3 && planes.stride_w == planes.channels;
  for (int32_t i = begin; i < begin + kGroup; i += kLanes) {
    if (kWindows && (in_row || (kInterleaved && whole)) && window.rows >= 0) {
      read_window<zeros>(planes, window, (i - begin) / kLanes, cells.corners(i), i, taps);
      continue;
    }
    if constexpr (kPairs && std::is_same_v<E, float>) {
      if (in_row && planes.width > 1) {
        read_pairs<zeros>(planes, cells.corners(i), i, taps);
        continue;
      }
    }
    if (kPixels && in_pixel) {
      read_pixels<zeros>(planes, cells.corners(i), i, taps);
      continue;
    }
    read_one_by_one<zeros>(planes, cells, i, i + kLanes, taps);
  }
}

template <bool zeros, class E, class T>
inline void read(const Planes<E>& planes, const Cells<T>& cells, const Window* windows, int32_t count, Taps<T>* taps) {
  if constexpr (sizeof(T) == 4 && sizeof(E) <= 4) {
    for (int32_t i = 0; i < count; i += kGroup) read_group<zeros>(planes, cells, windows[i / kGroup], i, taps);
  } else {
    read_one_by_one<zeros>(planes, cells, 0, count, taps);
  }
}

// Calls f with `channels` planes of an image from `first` on, and whether pixels outside it are 0.
template <class F>
inline void with_planes(const View& image, Padding padding, int64_t n, int64_t first, int32_t channels,
                        F&& f) {
  with_image(image.dtype, [&](auto e) {
    using E = decltype(e);
    const Planes<E> planes = {static_cast<const E*>(image.data) + image.plane(n, first),
                              channels,
                              image.stride_c,
                              int32_t(image.stride_h),
                              int32_t(image.stride_w),
                              int32_t(image.w),
                              int32_t(image.h)};
    with_padding(padding, [&](auto rule) { f(planes, Flag<rule.zeros_outside>()); });
  });
}

// Some channels of a piece: the pixels of its cells, and samples and derivatives from them.
template <class T>
class Sampler {
 public:
  explicit Sampler(const Sampling& s) : s_(s), one_(s.image.dtype == Dtype::u8 ? Element<uint8_t>::one : 1) {}

  // Finds the windows of the cells of a piece, for all of its channels.
  void aim(const Piece& p, const Cells<T>& cells) {
    with_padding(s_.padding, [&](auto rule) {
      for (int32_t i = 0; i < p.count; i += kGroup) {
        windows_[i / kGroup] = find_window<rule.zeros_outside>(cells.corners(i), int32_t(s_.image.w), int32_t(s_.image.h), T());
      }
    });
  }

  // Reads up to kTogether channels from `first` on.
  void read(const Piece& p, int64_t first, const Cells<T>& cells) {
    const int64_t left = s_.image.c - first;
    const int32_t channels = left < kTogether ? int32_t(left) : kTogether;
    with_planes(s_.image, s_.padding, p.n, first, channels, [&](const auto& planes, auto zeros) {
      const int64_t soon = cells.bottom[p.count / 2] + 2 + p.rows;  // a row of the image that the next piece will read
      const auto* const from = planes.data + soon * planes.stride_h + p.x * planes.stride_w;
      const int32_t runs = planes.stride_c == 1 ? 1 : channels;
      for (int32_t c = 0; c < runs; ++c) {
        prefetch<false>(from + c * planes.stride_c, planes.stride_w, p.count);
      }
      tcae_ops::read<zeros.value>(planes, cells, windows_, p.count, taps_);
    });
  }

  // The samples of one channel among those last read.
  void values(const Piece& p, int64_t channel, const Cells<T>& cells, Lane<T>& value) const {
    const Taps<T>& taps = taps_[channel % kTogether];
    for (int32_t i = 0; i < p.count; ++i) {
      value[i] = bilinear(bilinear_weights(cells.fx[i], cells.fy[i]), taps[i]);
    }
    divide(p, value);
  }

  // The derivatives by the folded position.
  void slopes(const Piece& p, int64_t channel, const Cells<T>& cells, Lane<T>& dx, Lane<T>& dy) const {
    const Taps<T>& taps = taps_[channel % kTogether];
    for (int32_t i = 0; i < p.count; ++i) {
      dx[i] = bilinear_dx(cells.fy[i], taps[i]);
      dy[i] = bilinear_dy(cells.fx[i], taps[i]);
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
  Window windows_[kPiece / kGroup];
  Taps<T> taps_[kTogether];
};

TCAE_OPS_LEVEL_END
