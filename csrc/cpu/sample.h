// The sample stage: reads the pixels of each cell of a piece, a few channels at a time.
#pragma once

#include <string.h>

#include <type_traits>

#include "cells.h"

TCAE_OPS_LEVEL_BEGIN

template <bool flag>
struct Flag {
  static constexpr bool value = flag;
};

// Reads pixel by pixel, cells [begin, end) to the first taps. Under zeros pixels outside are 0 and never read.
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
      taps[c].tl[i - begin] = at(cells.top[i], cells.left[i]);
      taps[c].tr[i - begin] = at(cells.top[i], cells.right[i]);
      taps[c].bl[i - begin] = at(cells.bottom[i], cells.left[i]);
      taps[c].br[i - begin] = at(cells.bottom[i], cells.right[i]);
    }
  }
}

// One number of a lane, or a vector of numbers that begins there.
template <class V, class T>
inline V at_lane(const Lane<T>& lane, int32_t i) {
  if constexpr (std::is_same_v<V, T>) return lane[i];
  V value;
  memcpy(&value, &lane[i], sizeof value);
  return value;
}

template <class V, class T>
inline void put(Lane<T>& lane, int32_t i, V value) {
  if constexpr (std::is_same_v<V, T>) {
    lane[i] = value;
  } else {
    memcpy(&lane[i], &value, sizeof value);
  }
}

// What is kept of the pixels of cells: never they themselves, which would be written and read again. `at`
// is for cell i, or for the vector of cells that begins there. It returns what takes the pixel of a channel.
template <class T>
struct KeepSamples {
  const Cells<T>& cells;
  Lane<T>* samples;

  template <class V>
  TCAE_HD auto at(int32_t i) const {
    const Four<V> weights = bilinear_weights(at_lane<V>(cells.fx, i), at_lane<V>(cells.fy, i));
    return [=, to = samples](int32_t c, Four<V> pixel) __attribute__((always_inline)) {
      put(to[c], i, bilinear(weights, pixel));
    };
  }
};

// Derivatives by the folded position, and samples if they are wanted.
template <class T, bool sampled>
struct KeepSlopes {
  const Cells<T>& cells;
  Lane<T>*samples, *dx, *dy;

  template <class V>
  TCAE_HD auto at(int32_t i) const {
    const V fx = at_lane<V>(cells.fx, i), fy = at_lane<V>(cells.fy, i);
    return [=, to = samples, by_x = dx, by_y = dy](int32_t c, Four<V> pixel) __attribute__((always_inline)) {
      put(by_x[c], i, bilinear_dx(fy, pixel));
      put(by_y[c], i, bilinear_dy(fx, pixel));
      if constexpr (sampled) put(to[c], i, bilinear(bilinear_weights(fx, fy), pixel));
    };
  }
};

template <bool zeros, class E, class Keep>
inline void read_window(const Planes<E>& planes, const Window& window, int32_t half, const Corners& corners,
                        int32_t i, const Keep& keep) {
  if constexpr (kInterleaved) {
    if (planes.stride_w == 3) return read_window<zeros, 3, true>(planes, window, half, corners, i, keep);
    if (planes.stride_w == 4) return read_window<zeros, 4, true>(planes, window, half, corners, i, keep);
  }
  switch (planes.channels) {
    case 1: return read_window<zeros, 1, false>(planes, window, half, corners, i, keep);
    case 2: return read_window<zeros, 2, false>(planes, window, half, corners, i, keep);
    case 3: return read_window<zeros, 3, false>(planes, window, half, corners, i, keep);
    default: return read_window<zeros, kTogether, false>(planes, window, half, corners, i, keep);
  }
}

// Reads a vector of cells to the first taps: always the same memory, which stays in the first-level cache.
template <bool zeros, class E>
inline void read_without_window(const Planes<E>& planes, const Cells<float>& cells, int32_t i, Taps<float>* taps) {
  if constexpr (kPairs && std::is_same_v<E, float>) {
    if (planes.stride_w == 1 && planes.width > 1) return read_pairs<zeros>(planes, cells.corners(i), taps);
  }
  if (kPixels && planes.stride_c == 1) return read_pixels<zeros>(planes, cells.corners(i), taps);
  read_one_by_one<zeros>(planes, cells, i, i + kLanes, taps);
}

// Takes cells [begin, end), which were read to the first taps.
template <class T, class Keep>
inline void keep_taps(const Taps<T>* taps, int32_t channels, int32_t begin, int32_t end, const Keep& keep) {
  if constexpr (kWindows && sizeof(T) == 4) {
    for (int32_t i = begin; i < end; i += kLanes) {
      const auto take = keep.template at<Numbers>(i);
      for (int32_t c = 0; c < channels; ++c) {
        const auto tap = [&](const Lane<float>& lane) { return at_lane<Numbers>(lane, i - begin); };
        take(c, {tap(taps[c].tl), tap(taps[c].tr), tap(taps[c].bl), tap(taps[c].br)});
      }
    }
  } else {
    for (int32_t c = 0; c < channels; ++c) {
      for (int32_t i = begin; i < end; ++i) keep.template at<T>(i)(c, taps[c][i - begin]);
    }
  }
}

template <bool zeros, class E, class Keep>
inline void read_group(const Planes<E>& planes, const Cells<float>& cells, const Window& window, int32_t begin,
                       Taps<float>* taps, const Keep& keep) {
  const bool in_row = planes.stride_w == 1;
  const bool whole = planes.stride_c == 1 && planes.channels >= 3 && planes.stride_w == planes.channels;
  for (int32_t i = begin; i < begin + kGroup; i += kLanes) {
    if (kWindows && (in_row || (kInterleaved && whole)) && window.rows >= 0) {
      read_window<zeros>(planes, window, (i - begin) / kLanes, cells.corners(i), i, keep);
      continue;
    }
    read_without_window<zeros>(planes, cells, i, taps);
    keep_taps(taps, planes.channels, i, i + kLanes, keep);
  }
}

template <bool zeros, class E, class T, class Keep>
inline void read(const Planes<E>& planes, const Cells<T>& cells, const Window* windows, int32_t count, Taps<T>* taps,
                 const Keep& keep) {
  if constexpr (sizeof(T) == 4 && sizeof(E) <= 4) {
    for (int32_t i = 0; i < count; i += kGroup) read_group<zeros>(planes, cells, windows[i / kGroup], i, taps, keep);
  } else {
    read_one_by_one<zeros>(planes, cells, 0, count, taps);
    keep_taps(taps, planes.channels, 0, count, keep);
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

  // How many channels are read at once, from `first` on.
  int32_t channels_from(int64_t first) const {
    const int64_t left = s_.image.c - first;
    return left < kTogether ? int32_t(left) : kTogether;
  }

  // Finds the windows of the cells of a piece, for all of its channels.
  void aim(const Piece& p, const Cells<T>& cells) {
    with_padding(s_.padding, [&](auto rule) {
      for (int32_t i = 0; i < p.count; i += kGroup) {
        windows_[i / kGroup] = find_window<rule.zeros_outside>(cells.corners(i), int32_t(s_.image.w), int32_t(s_.image.h), T());
      }
    });
  }

  // Samples up to kTogether channels from `first` on.
  void sample(const Piece& p, int64_t first, const Cells<T>& cells, Lane<T>* samples) {
    read(p, first, cells, KeepSamples<T>{cells, samples});
    divide(p, first, samples);
  }

  // Finds their derivatives by the folded position, too. `samples` may be null.
  void differentiate(const Piece& p, int64_t first, const Cells<T>& cells, Lane<T>* samples, Lane<T>* dx, Lane<T>* dy) {
    if (samples != nullptr) {
      read(p, first, cells, KeepSlopes<T, true>{cells, samples, dx, dy});
    } else {
      read(p, first, cells, KeepSlopes<T, false>{cells, samples, dx, dy});
    }
    divide(p, first, samples);
    divide(p, first, dx);
    divide(p, first, dy);
  }

 private:
  template <class Keep>
  void read(const Piece& p, int64_t first, const Cells<T>& cells, const Keep& keep) {
    const int32_t channels = channels_from(first);
    with_planes(s_.image, s_.padding, p.n, first, channels, [&](const auto& planes, auto zeros) {
      const int64_t soon = cells.bottom[p.count / 2] + 2 + p.rows;  // a row of the image that the next piece will read
      const auto* const from = planes.data + soon * planes.stride_h + p.x * planes.stride_w;
      const int32_t runs = planes.stride_c == 1 ? 1 : channels;
      for (int32_t c = 0; c < runs; ++c) {
        prefetch<false>(from + c * planes.stride_c, planes.stride_w, p.count);
      }
      tcae_ops::read<zeros.value>(planes, cells, windows_, p.count, taps_, keep);
    });
  }

  void divide(const Piece& p, int64_t first, Lane<T>* values) const {
    if (one_ == 1 || values == nullptr) return;
    for (int64_t c = 0; c < channels_from(first); ++c) {
      for (int32_t i = 0; i < p.count; ++i) values[c][i] /= one_;
    }
  }

  const Sampling& s_;
  const T one_;
  Window windows_[kPiece / kGroup];
  Taps<T> taps_[kTogether];
};

TCAE_OPS_LEVEL_END
