// The gradient of the image: every pixel of the output adds to the four pixels it was sampled from.
//
// The gradient is cut into bands of rows. The thread that owns a band adds everything that belongs
// there, in reading order of the output. So no two threads write the same pixel, and the sums have the
// same bits however the bands are cut.
#pragma once

#include <algorithm>

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

// Where the gradients of a piece go, and with what weights.
template <class T>
class Scatter {
 public:
  void aim(const Band<T>& band, Padding padding, const Cells<T>& cells, int32_t width, int32_t count) {
    band_ = &band;
    count_ = 0;
    checked_ = with_padding(padding, [](auto rule) { return rule.zeros_outside; });
    for (int32_t i = 0; i < count; ++i) {
      const Four<T> weights = bilinear_weights(cells.fx[i], cells.fy[i]);
      weight_.tl[i] = weights.tl;
      weight_.tr[i] = weights.tr;
      weight_.bl[i] = weights.bl;
      weight_.br[i] = weights.br;
    }
    const auto offset = [&](int32_t row, int32_t column) {
      return int32_t((row - band.begin) * band.stride_h + column * band.stride_w);
    };
    int32_t outside = 0;
    for (int32_t i = 0; i < count; ++i) {
      to_.tl[i] = offset(cells.top[i], cells.left[i]);
      to_.tr[i] = offset(cells.top[i], cells.right[i]);
      to_.bl[i] = offset(cells.bottom[i], cells.left[i]);
      to_.br[i] = offset(cells.bottom[i], cells.right[i]);
      outside |= (cells.top[i] < band.begin) | (cells.top[i] >= band.end) |
                 (cells.bottom[i] < band.begin) | (cells.bottom[i] >= band.end) |
                 (cells.fx[i] != cells.fx[i]);
    }
    checked_ = checked_ || outside != 0;
    if (checked_) check(band, cells, width, count);
    count_ = count;
  }

  // Adds `channels` channels from `first` on.
  void add(int64_t first, int64_t channels, const Lane<T>* g) const {
    T* const plane = band_->data + first * band_->stride_c;
    switch (channels) {
      case 1: return add<1>(plane, g);
      case 2: return add<2>(plane, g);
      case 3: return add<3>(plane, g);
      default: return add<kTogether>(plane, g);
    }
  }

 private:
  static constexpr int32_t kNowhere = -1;

  // Removes targets outside the band or the image, and NaN positions.
  void check(const Band<T>& band, const Cells<T>& cells, int32_t width, int32_t count) {
    const auto keep = [&](int32_t i, int32_t row, int32_t column) {
      return row >= band.begin && row < band.end && uint32_t(column) < uint32_t(width) &&
             cells.fx[i] == cells.fx[i];
    };
    for (int32_t i = 0; i < count; ++i) {
      to_.tl[i] = keep(i, cells.top[i], cells.left[i]) ? to_.tl[i] : kNowhere;
      to_.tr[i] = keep(i, cells.top[i], cells.right[i]) ? to_.tr[i] : kNowhere;
      to_.bl[i] = keep(i, cells.bottom[i], cells.left[i]) ? to_.bl[i] : kNowhere;
      to_.br[i] = keep(i, cells.bottom[i], cells.right[i]) ? to_.br[i] : kNowhere;
    }
  }

  template <int64_t channels>
  void add(T* plane, const Lane<T>* g) const {
    if (checked_) {
      add<channels, true>(plane, g);
    } else {
      add<channels, false>(plane, g);
    }
  }

  template <int64_t channels, bool checked>
  void add(T* plane, const Lane<T>* g) const {
    const int64_t stride = band_->stride_c;
    const auto put = [&](int32_t to, T weight, int32_t i) {
      if (checked && to == kNowhere) return;
      for (int64_t c = 0; c < channels; ++c) plane[c * stride + to] += weight * g[c][i];
    };
    for (int32_t i = 0; i < count_; ++i) {
      put(to_.tl[i], weight_.tl[i], i);
      put(to_.tr[i], weight_.tr[i], i);
      put(to_.bl[i], weight_.bl[i], i);
      put(to_.br[i], weight_.br[i], i);
    }
  }

  const Band<T>* band_ = nullptr;
  bool checked_ = false;
  int32_t count_ = 0;
  Taps<int32_t> to_;
  Taps<T> weight_;
};

// For groups of rows of the output: the rows of the image that they sample.
class Reach {
 public:
  static constexpr int64_t kRows = 8;

  explicit Reach(const Sampling& s) : groups_((s.h + kRows - 1) / kRows), h_(s.h), range_(s.n * groups_) {}

  // Of one sample of the batch.
  int64_t groups() const { return groups_; }
  int64_t begin(int64_t group) const { return group * kRows; }
  int64_t end(int64_t group) const { return begin(group + 1) < h_ ? begin(group + 1) : h_; }

  template <class T>
  void measure(const Sampling& s, const Blocks& blocks, const Threads& threads) {
    threads(s.n * groups_, grain(kRows * blocks.w), [&](int64_t first, int64_t last) {
      Field<T> field(s);
      Positions<T> at;
      Cells<T> cells;
      for (int64_t item = first; item < last; ++item) {
        Range range = {int32_t(s.image.h), -1};
        const int64_t group = item % groups_;
        blocks.pieces_of_rows(item / groups_, begin(group), end(group), [&](const Piece& p) {
          field.forward(p, at);
          find_cells(s, at, p.count, cells);
          // Under reflection the second row can come before the first.
          int32_t low = range.low, high = range.high;
          for (int32_t i = 0; i < p.count; ++i) {
            low = std::min(low, std::min(cells.top[i], cells.bottom[i]));
            high = std::max(high, std::max(cells.top[i], cells.bottom[i]));
          }
          range = {low, high};
        });
        range_[item] = range;
      }
    });
  }

  bool touches(int64_t n, int64_t group, int32_t band_begin, int32_t band_end) {
    const Range range = range_[n * groups_ + group];
    return range.low < band_end && range.high >= band_begin;
  }

 private:
  struct Range {
    int32_t low, high;
  };
  int64_t groups_, h_;
  Scratch<Range> range_;
};

TCAE_OPS_LEVEL_END
