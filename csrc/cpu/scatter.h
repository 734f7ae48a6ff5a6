// The gradient of the image: every pixel of the output adds to the four pixels it was sampled from.
//
// The gradient is cut into bands of rows, and whoever owns a band adds to it everything that belongs
// there, in reading order of the output. So no two threads write the same pixel, and the sums are the
// same bits however the bands are cut.
#pragma once

#include "blocks.h"
#include "l1.h"

TCAE_OPS_LEVEL_BEGIN

// Rows [begin, end) of all channels of the gradient of one image, in the working type.
template <class T>
struct Band {
  T* data;
  int64_t stride_c, stride_h, stride_w;
  int32_t begin, end;
};

template <bool zeros, class T>
inline void scatter(const Band<T>& band, int64_t channel, int32_t width, const Cells<T>& cells,
                    int32_t count, const Lane<T>& g) {
  T* const plane = band.data + channel * band.stride_c;
  const auto add = [&](int32_t row, int32_t column, T value) {
    if (row < band.begin || row >= band.end) return;
    if (zeros && uint32_t(column) >= uint32_t(width)) return;
    plane[(row - band.begin) * band.stride_h + column * band.stride_w] += value;
  };
  for (int32_t i = 0; i < count; ++i) {
    if (cells.fx[i] != cells.fx[i]) continue;
    const Four<T> weights = bilinear_weights(cells.fx[i], cells.fy[i]);
    add(cells.top[i], cells.left[i], weights.tl * g[i]);
    add(cells.top[i], cells.right[i], weights.tr * g[i]);
    add(cells.bottom[i], cells.left[i], weights.bl * g[i]);
    add(cells.bottom[i], cells.right[i], weights.br * g[i]);
  }
}

// For groups of rows of the output, the rows of the image that they are sampled from.
class Reach {
 public:
  static constexpr int64_t kRows = 8;

  Reach(int64_t n, int64_t h) : per_image_((h + kRows - 1) / kRows), h_(h), range_(n * per_image_) {}

  int64_t groups() const { return per_image_; }
  int64_t begin(int64_t group) const { return group * kRows; }
  int64_t end(int64_t group) const { return begin(group + 1) < h_ ? begin(group + 1) : h_; }

  template <class T>
  void measure(const Sampling& s, const Blocks& blocks, const Threads& threads) {
    threads(s.image.n * per_image_, grain(kRows * blocks.w), [&](int64_t first, int64_t last) {
      Field<T> field(s);
      Positions<T> at;
      Cells<T> cells;
      for (int64_t item = first; item < last; ++item) {
        Range range = {int32_t(h_), -1};
        const int64_t group = item % per_image_;
        blocks.pieces_of_rows(item / per_image_, begin(group), end(group), [&](Piece p) {
          field.forward(p, at);
          find_cells(s.padding, at, p.count, blocks.w, int32_t(h_), cells);
          for (int32_t i = 0; i < p.count; ++i) {
            // Under reflection the second row can come before the first.
            const int32_t low = cells.top[i] < cells.bottom[i] ? cells.top[i] : cells.bottom[i];
            const int32_t high = cells.top[i] < cells.bottom[i] ? cells.bottom[i] : cells.top[i];
            range.low = low < range.low ? low : range.low;
            range.high = high > range.high ? high : range.high;
          }
        });
        range_[item] = range;
      }
    });
  }

  bool touches(int64_t n, int64_t group, int32_t band_begin, int32_t band_end) {
    const Range range = range_[n * per_image_ + group];
    return range.low < band_end && range.high >= band_begin;
  }

 private:
  struct Range {
    int32_t low, high;
  };
  int64_t per_image_, h_;
  Scratch<Range> range_;
};

TCAE_OPS_LEVEL_END
