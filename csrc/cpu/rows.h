// Pieces of pixels in reading order: read from any float type and stride into the working type, and stored.
#pragma once

#include <type_traits>

#include "tcae_ops/dtypes.h"

TCAE_OPS_LEVEL_BEGIN

// Pixels that are processed together: their intermediate values stay in the first-level cache.
constexpr int32_t kPiece = 256;

constexpr int64_t kLine = 64;  // bytes of a cache line

// Pixels of the image that are read at once: as many as the widest vectors hold.
constexpr int32_t kGroup = 16;

// A piece has several rows only if they are whole and follow each other without a gap, like one long row.
struct Piece {
  int64_t n, y;
  int32_t x, count;  // count: of all its pixels
  int32_t rows;
};

// One number for each pixel of a piece.
template <class T>
struct Lane {
  alignas(64) T values[kPiece];

  TCAE_HD T& operator[](int32_t i) { return values[i]; }
  TCAE_HD const T& operator[](int32_t i) const { return values[i]; }
};

TCAE_HD int32_t whole_groups(int32_t count) { return (count + kGroup - 1) / kGroup * kGroup; }

// Where the compiler knows the stride, it loads whole vectors and permutes.
template <int64_t known, class E, class T>
inline void load_strided(const E* from, int64_t stride, int32_t count, T* to) {
  const int64_t step = known > 0 ? known : stride;
  for (int32_t i = 0; i < count; ++i) to[i] = Element<E>::template load<T>(from[i * step]);
}

template <class E, class T>
inline void load_elements(const E* from, int64_t stride, int32_t count, T* to) {
  switch (stride) {
    case 1: return load_strided<1>(from, stride, count, to);
    case 3: return load_strided<3>(from, stride, count, to);
    case 4: return load_strided<4>(from, stride, count, to);
    default: return load_strided<0>(from, stride, count, to);
  }
}

template <class E, class T>
inline void store_elements(const T* from, E* to, int64_t stride, int32_t count) {
  if (stride == 1) {
    for (int32_t i = 0; i < count; ++i) to[i] = Element<E>::store(from[i]);
  } else {
    for (int32_t i = 0; i < count; ++i) to[i * stride] = Element<E>::store(from[i]);
  }
}

// Prefetches `count` elements that will be needed soon. A piece is read from a dozen places in memory in
// turn. That is too many for hardware prefetchers, above all where a page ends: waiting for memory took
// more than half of the time. Any address is allowed.
template <bool write, class E>
inline void prefetch(const E* from, int64_t stride, int32_t count) {
  const int64_t bytes = stride * int64_t(sizeof(E));
  const int32_t step = bytes >= kLine ? 1 : (bytes > 0 ? int32_t(kLine / bytes) : count);
  for (int32_t i = 0; i < count; i += step) __builtin_prefetch(from + i * stride, write, 2);
}

// One channel of a piece as numbers: in place if it is contiguous there in type T, else copied to `room`.
template <class T>
inline const T* load(const View& view, int64_t channel, const Piece& p, Lane<T>& room) {
  const int64_t offset = view.row(p.n, channel, p.y) + p.x * view.stride_w;
  return with_float(view.dtype, [&](auto e) {
    using E = decltype(e);
    const E* const from = static_cast<const E*>(view.data) + offset;
    prefetch<false>(from + p.rows * view.stride_h, view.stride_w, p.count);
    if constexpr (std::is_same_v<E, T>) {
      if (view.stride_w == 1) return from;
    }
    load_elements(from, view.stride_w, p.count, room.values);
    return static_cast<const T*>(room.values);
  });
}

// One channel of a piece as image values: bytes are divided by 255.
template <class T>
inline const T* load_image(const View& view, int64_t channel, const Piece& p, Lane<T>& room) {
  if (view.dtype != Dtype::u8) return load(view, channel, p, room);
  const int64_t offset = view.row(p.n, channel, p.y) + p.x * view.stride_w;
  const uint8_t* const from = static_cast<const uint8_t*>(view.data) + offset;
  prefetch<false>(from + p.rows * view.stride_h, view.stride_w, p.count);
  load_elements(from, view.stride_w, p.count, room.values);
  for (int32_t i = 0; i < p.count; ++i) room[i] /= Element<uint8_t>::one;
  return room.values;
}

template <class T>
inline void store(const T* from, const View& view, int64_t channel, const Piece& p) {
  const int64_t offset = view.row(p.n, channel, p.y) + p.x * view.stride_w;
  with_float(view.dtype, [&](auto e) {
    auto* const to = static_cast<decltype(e)*>(view.data) + offset;
    prefetch<true>(to + p.rows * view.stride_h, view.stride_w, p.count);
    store_elements(from, to, view.stride_w, p.count);
  });
}

template <class T>
inline void store(const Lane<T>& from, const View& view, int64_t channel, const Piece& p) {
  store(from.values, view, channel, p);
}

template <int32_t channels, class T>
inline void store_pixels(const Lane<T>* from, const View& view, const Piece& p) {
  with_float(view.dtype, [&](auto e) {
    using E = decltype(e);
    E* const to = static_cast<E*>(view.data) + view.row(p.n, 0, p.y) + int64_t(p.x) * channels;
    prefetch<true>(to + p.rows * view.stride_h, channels, p.count);
    for (int32_t i = 0; i < p.count; ++i) {
      for (int32_t c = 0; c < channels; ++c) to[i * channels + c] = Element<E>::store(from[c][i]);
    }
  });
}

// Channels [first, first + channels) of a piece. Whole pixels are stored at once if they are contiguous.
template <class T>
inline void store(const Lane<T>* from, const View& view, int64_t first, int32_t channels, const Piece& p) {
  const bool whole = view.stride_c == 1 && view.stride_w == view.c && view.c == channels;
  if (whole && channels == 3) return store_pixels<3>(from, view, p);
  if (whole && channels == 4) return store_pixels<4>(from, view, p);
  for (int32_t c = 0; c < channels; ++c) store(from[c], view, first + c, p);
}

TCAE_OPS_LEVEL_END
