// Pieces of rows, read from any float type and stride into the working type, and written back.
#pragma once

#include "tcae_ops/dtypes.h"

TCAE_OPS_LEVEL_BEGIN

// Pixels of a row that are worked on together: their intermediates stay in the first-level cache.
constexpr int32_t kPiece = 256;

// Of these, as many as the widest vectors hold are read at once.
constexpr int32_t kGroup = 16;

struct Piece {
  int64_t n, y;
  int32_t x, count;
};

// One number for each pixel of a piece.
template <class T>
struct Lane {
  alignas(64) T values[kPiece];

  TCAE_HD T& operator[](int32_t i) { return values[i]; }
  TCAE_HD const T& operator[](int32_t i) const { return values[i]; }
};

TCAE_HD int32_t whole_groups(int32_t count) { return (count + kGroup - 1) / kGroup * kGroup; }

template <class E, class T>
inline void load_elements(const E* from, int64_t stride, int32_t count, T* to) {
  if (stride == 1) {
    for (int32_t i = 0; i < count; ++i) to[i] = Element<E>::template load<T>(from[i]);
  } else {
    for (int32_t i = 0; i < count; ++i) to[i] = Element<E>::template load<T>(from[i * stride]);
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

// One channel of a piece as numbers.
template <class T>
inline void load(const View& view, int64_t channel, const Piece& p, Lane<T>& to) {
  const int64_t offset = view.row(p.n, channel, p.y) + p.x * view.stride_w;
  with_float(view.dtype, [&](auto e) {
    load_elements(static_cast<const decltype(e)*>(view.data) + offset, view.stride_w, p.count, to.values);
  });
}

// One channel of a piece as an image shows it: bytes count in 1/255.
template <class T>
inline void load_image(const View& view, int64_t channel, const Piece& p, Lane<T>& to) {
  if (view.dtype != Dtype::u8) return load(view, channel, p, to);
  const int64_t offset = view.row(p.n, channel, p.y) + p.x * view.stride_w;
  load_elements(static_cast<const uint8_t*>(view.data) + offset, view.stride_w, p.count, to.values);
  for (int32_t i = 0; i < p.count; ++i) to[i] /= Element<uint8_t>::one;
}

template <class T>
inline void store(const T* from, const View& view, int64_t channel, const Piece& p) {
  const int64_t offset = view.row(p.n, channel, p.y) + p.x * view.stride_w;
  with_float(view.dtype, [&](auto e) {
    store_elements(from, static_cast<decltype(e)*>(view.data) + offset, view.stride_w, p.count);
  });
}

template <class T>
inline void store(const Lane<T>& from, const View& view, int64_t channel, const Piece& p) {
  store(from.values, view, channel, p);
}

TCAE_OPS_LEVEL_END
