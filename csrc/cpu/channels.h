// Images whose channels are contiguous, and many: a pixel is a vector, and a sample is the weighted sum of four.
// Nothing is gathered.
#pragma once

#include <type_traits>

#include "blocks.h"
#include "cells.h"

TCAE_OPS_LEVEL_BEGIN

// With fewer channels vectors would be half empty.
constexpr int64_t kManyChannels = 8;

// Channels whose sums are kept apart, the same for all instruction sets: so all give the same bits.
constexpr int64_t kSums = 8;

template <class T>
inline bool has_vectors(const View& image) {
  const bool known = sizeof(T) == 4 || image.dtype == Dtype::f64;
  return known && image.c >= kManyChannels && image.stride_c == 1;
}

// Calls f with a value of the image's type, for images with vectors.
template <class T, class F>
inline void with_vectors(Dtype dtype, F&& f) {
  if constexpr (sizeof(T) == 8) {
    f(double());
  } else {
    switch (dtype) {
      case Dtype::u8: return f(uint8_t());
      case Dtype::f16: return f(Half());
      case Dtype::bf16: return f(BFloat16());
      default: return f(float());
    }
  }
}

// The pixels of a piece as vectors of all channels.
class PieceVectors {
 public:
  PieceVectors(const View& v, const Piece& p) : v_(v), first_(v.row(p.n, 0, p.y) + p.x * v.stride_w) {}

  // Pixel i: in place if it is contiguous there in type T, else copied to `room`.
  template <class T>
  inline const T* load(int32_t i, T* room) const {
    if (in_place<T>()) return static_cast<const T*>(v_.data) + offset(i);
    with_image(v_.dtype, [&](auto e) {
      using E = decltype(e);
      load_elements(static_cast<const E*>(v_.data) + offset(i), v_.stride_c, int32_t(v_.c), room);
      if (Element<E>::one == 1) return;
      for (int64_t c = 0; c < v_.c; ++c) room[c] /= Element<E>::one;
    });
    return room;
  }

  // Where to write pixel i: in place if possible, else to `room`, from where `store` takes it.
  template <class T>
  inline T* place(int32_t i, T* room) const {
    return in_place<T>() ? static_cast<T*>(v_.data) + offset(i) : room;
  }

  template <class T>
  inline void store(int32_t i, const T* from) const {
    with_float(v_.dtype, [&](auto e) {
      store_elements(from, static_cast<decltype(e)*>(v_.data) + offset(i), v_.stride_c, int32_t(v_.c));
    });
  }

 private:
  template <class T>
  bool in_place() const {
    return v_.exists() && v_.stride_c == 1 && v_.dtype == (sizeof(T) == 8 ? Dtype::f64 : Dtype::f32);
  }
  int64_t offset(int32_t i) const { return first_ + i * v_.stride_w; }

  const View& v_;
  const int64_t first_;
};

// The pixels of cells. Those outside the image are vectors of zeros.
template <class E>
class PixelVectors {
 public:
  PixelVectors(const View& image, Padding padding)
      : image_(image), zeros_(image.c),
        zeros_outside_(with_padding(padding, [](auto rule) { return rule.zeros_outside; })) {
    for (int64_t c = 0; c < image.c; ++c) zeros_[c] = E();
  }

  // Of sample n of the batch.
  void choose(int64_t n) { data_ = static_cast<const E*>(image_.data) + image_.plane(n, 0); }

  template <class T>
  inline Four<const E*> at(const Cells<T>& cells, int32_t i) const {
    const auto pixel = [&](int32_t row, int32_t column) {
      const bool inside = uint32_t(row) < uint32_t(image_.h) && uint32_t(column) < uint32_t(image_.w);
      return !zeros_outside_ || inside ? data_ + (row * image_.stride_h + column * image_.stride_w) : zeros_.data();
    };
    return {pixel(cells.top[i], cells.left[i]), pixel(cells.top[i], cells.right[i]),
            pixel(cells.bottom[i], cells.left[i]), pixel(cells.bottom[i], cells.right[i])};
  }

 private:
  const View& image_;
  const E* data_ = nullptr;
  Scratch<E> zeros_;
  const bool zeros_outside_;
};

// The weighted sum of `count` pixels.
template <int32_t count, class E, class T>
inline void sum_pixels(const E* const* pixels, const T* weights, int64_t channels, T* __restrict to) {
  using In = Element<E>;
  for (int64_t c = 0; c < channels; ++c) {
    T sum = weights[0] * In::template load<T>(pixels[0][c]);
    for (int32_t k = 1; k < count; ++k) sum = sum + weights[k] * In::template load<T>(pixels[k][c]);
    to[c] = In::one == 1 ? sum : sum / T(In::one);
  }
}

// A sample. As in `bilinear`, a pixel of weight zero does not count, even if it is NaN.
template <class E, class T>
inline void sample_vector(Four<const E*> pixel, Four<T> weight, int64_t channels, T* to) {
  const E* pixels[4] = {pixel.tl};
  T weights[4] = {weight.tl};
  int32_t count = 1;
  const auto add = [&](const E* from, T share) {
    if (share == 0) return;
    pixels[count] = from;
    weights[count++] = share;
  };
  add(pixel.tr, weight.tr);
  add(pixel.bl, weight.bl);
  add(pixel.br, weight.br);
  switch (count) {
    case 1: return sum_pixels<1>(pixels, weights, channels, to);
    case 2: return sum_pixels<2>(pixels, weights, channels, to);
    case 3: return sum_pixels<3>(pixels, weights, channels, to);
    default: return sum_pixels<4>(pixels, weights, channels, to);
  }
}

// Calls f(channel, sum) for all channels, for sums that are kept apart.
template <class F>
inline void for_sums(int64_t channels, F&& f) {
  int64_t c = 0;
  for (; c + kSums <= channels; c += kSums) {
    for (int64_t j = 0; j < kSums; ++j) f(c + j, j);
  }
  for (int64_t j = 0; c + j < channels; ++j) f(c + j, j);
}

// Their total, in pairs: each addition would wait for the one before.
template <class T>
inline T total(T* sums) {
  for (int64_t half = kSums / 2; half > 0; half /= 2) {
    for (int64_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  }
  return sums[0];
}

template <class T>
inline double distance_of_vectors(const T* a, const T* b, int64_t channels) {
  T sums[kSums] = {};
  for_sums(channels, [&](int64_t c, int64_t j) { sums[j] += fabs(a[c] - b[c]); });
  return double(total(sums));
}

// The gradient by the position: by the sample, times the sample's derivatives, summed over all channels.
template <class E, class T>
inline void add_slopes(const T* by, Four<const E*> pixel, T fx, T fy, int64_t channels, T& by_x, T& by_y) {
  using In = Element<E>;
  T x[kSums] = {}, y[kSums] = {};
  for_sums(channels, [&](int64_t c, int64_t j) {
    const Four<T> at = {In::template load<T>(pixel.tl[c]), In::template load<T>(pixel.tr[c]),
                        In::template load<T>(pixel.bl[c]), In::template load<T>(pixel.br[c])};
    x[j] += by[c] * bilinear_dx(fy, at);
    y[j] += by[c] * bilinear_dy(fx, at);
  });
  by_x += total(x) / In::one;
  by_y += total(y) / In::one;
}

TCAE_OPS_LEVEL_END
