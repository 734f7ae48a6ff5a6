// How a batch is cut into parts. This depends only on the shape, so sums of parts are the same for every
// number of threads.
#pragma once

#include "rows.h"
#include "tcae_ops/passes.h"

TCAE_OPS_LEVEL_BEGIN

constexpr int64_t kBlockPixels = 4096;

// Whether each row begins where the one above it ends.
inline bool seamless(const View& v) { return !v.exists() || v.stride_h == v.w * v.stride_w; }

inline bool seamless(const View* views, int64_t count) {
  for (int64_t i = 0; views != nullptr && i < count; ++i) {
    if (!seamless(views[i])) return false;
  }
  return true;
}

// The same for all tensors that are read in reading order.
inline bool seamless(const Sampling& s) {
  return seamless(s.flows, s.count) && seamless(s.logits, s.count) && seamless(s.target);
}

// Blocks of whole rows of the result, each inside one sample.
struct Blocks {
  int64_t n, h, rows, per_sample, per_piece;
  int32_t w;

  Blocks(const Sampling& s, bool seamless)
      : n(s.n), h(s.h), rows(s.w < kBlockPixels ? kBlockPixels / s.w : 1), per_sample((h + rows - 1) / rows),
        per_piece(seamless && s.w < kPiece ? kPiece / s.w : 1), w(int32_t(s.w)) {}

  int64_t count() const { return n * per_sample; }

  // Calls f for every piece of a block, in reading order.
  template <class F>
  void pieces(int64_t block, F&& f) const {
    const int64_t begin = block % per_sample * rows;
    const int64_t end = begin + rows < h ? begin + rows : h;
    pieces_of_rows(block / per_sample, begin, end, f);
  }

  template <class F>
  void pieces_of_rows(int64_t sample, int64_t begin, int64_t end, F&& f) const {
    for (int64_t y = begin; y < end; y += per_piece) {
      const int32_t together = int32_t(end - y < per_piece ? end - y : per_piece);
      for (int32_t x = 0; x < w; x += kPiece) {
        const int32_t width = w - x < kPiece ? w - x : kPiece;
        f(Piece{sample, y, x, together * width, together});
      }
    }
  }
};

// Items for one thread: less work is not worth a second thread.
inline int64_t grain(int64_t pixels_per_item) {
  const int64_t items = 2 * kBlockPixels / (pixels_per_item > 0 ? pixels_per_item : 1);
  return items > 1 ? items : 1;
}

// Memory for one call.
template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) : data_(new T[size_t(count)]) {}
  ~Scratch() { delete[] data_; }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  T& operator[](int64_t i) { return data_[i]; }
  T* data() { return data_; }

 private:
  T* data_;
};

TCAE_OPS_LEVEL_END
