// Backward pass: gradients of flows, logits and target pixel by pixel, and that of the image.
#include "kernels.h"

#include "channels.h"
#include "scatter.h"

TCAE_OPS_LEVEL_BEGIN
namespace {

bool any(const View* views, int64_t count) {
  for (int64_t i = 0; views != nullptr && i < count; ++i) {
    if (views[i].exists()) return true;
  }
  return false;
}

// What is wanted of a pass over the pixels, besides the image's gradient.
struct Wanted {
  bool moves;   // the gradients of flows or logits
  bool target;

  Wanted(const Sampling& s, const Gradients& g, bool pixels)
      : moves(pixels && (any(g.flows, s.count) || any(g.logits, s.count))), target(pixels && g.target.exists()) {}
};

// The gradients by the samples of a piece, channel by channel: stores that by the target, adds those by the
// positions to `by`, and scatters that by the image, if there is where.
template <class T>
class ByChannels {
 public:
  ByChannels(const Sampling& s, const Gradients& g, Wanted wanted)
      : s_(s), g_(g), wanted_(wanted), upstream_(s, g), sampler_(s) {}

  void operator()(const Piece& p, const Cells<T>& cells, const Scatter<T>* scatter, Positions<T>& by) {
    const bool reads = wanted_.moves || upstream_.needs_samples();
    if (reads) sampler_.aim(p, cells);
    for (int64_t first = 0; first < s_.image.c; first += kTogether) {
      const int32_t channels = sampler_.channels_from(first);
      Lane<T>* const samples = upstream_.needs_samples() ? samples_ : nullptr;
      if (reads) sampler_.differentiate(p, first, cells, samples, dx_, dy_);
      for (int32_t c = 0; c < channels; ++c) channel(p, first, c, by);
      if (scatter != nullptr) scatter->add(first, channels, by_warped_);
    }
  }

 private:
  // Channel c of those from `first` on.
  void channel(const Piece& p, int64_t first, int32_t c, Positions<T>& by) {
    Lane<T>& by_warped = by_warped_[c];
    upstream_.load(p, first + c, samples_[c], by_warped, by_target_);
    if (wanted_.target) store(by_target_, g_.target, first + c, p);
    if (!wanted_.moves) return;
    for (int32_t i = 0; i < p.count; ++i) {
      by.x[i] += by_warped[i] * dx_[c][i];
      by.y[i] += by_warped[i] * dy_[c][i];
    }
  }

  const Sampling& s_;
  const Gradients& g_;
  const Wanted wanted_;
  const Upstream<T> upstream_;
  Sampler<T> sampler_;
  Lane<T> samples_[kTogether], dx_[kTogether], dy_[kTogether], by_warped_[kTogether], by_target_;
};

// The same pixel by pixel.
template <class E, class T>
class ByVectors {
 public:
  ByVectors(const Sampling& s, const Gradients& g, Wanted wanted)
      : s_(s), g_(g), wanted_(wanted), pixels_(s.image, s.padding), by_sample_(s.image.c), sample_(s.image.c),
        target_(s.image.c) {}

  void operator()(const Piece& p, const Cells<T>& cells, const Scatter<T>* scatter, Positions<T>& by) {
    const PieceVectors by_warped(g_.warped, p), target(s_.target, p), by_target(g_.target, p);
    pixels_.choose(p.n);
    const T step = g_.loss.exists() ? step_of_loss<T>(s_, g_, p.n) : T(0);
    for (int32_t i = 0; i < p.count; ++i) {
      const Four<const E*> pixel = pixels_.at(cells, i);
      const T* by_sample = by_sample_.data();
      if (g_.warped.exists()) {
        by_sample = by_warped.load(i, by_sample_.data());
      } else {
        for (int64_t c = 0; c < s_.image.c; ++c) by_sample_[c] = 0;
      }
      if (g_.loss.exists()) {
        const T* const goal = target.load(i, target_.data());
        sample_vector(pixel, bilinear_weights(cells.fx[i], cells.fy[i]), s_.image.c, sample_.data());
        for (int64_t c = 0; c < s_.image.c; ++c) {
          const T by = step * sign_of_difference(sample_[c], goal[c]);
          by_sample_[c] = by_sample[c] + by;
          sample_[c] = -by;
        }
        by_sample = by_sample_.data();
        if (wanted_.target) by_target.store(i, sample_.data());
      }
      if (wanted_.moves) add_slopes(by_sample, pixel, cells.fx[i], cells.fy[i], s_.image.c, by.x[i], by.y[i]);
      if (scatter != nullptr) scatter->add_vector(i, by_sample, s_.image.c);
    }
  }

 private:
  const Sampling& s_;
  const Gradients& g_;
  const Wanted wanted_;
  PixelVectors<E> pixels_;
  Scratch<T> by_sample_, sample_, target_;
};

// One pass over the pixels. It computes the gradients that belong to single pixels (flows, logits,
// target), the image's gradient in a band, or both.
template <class T, class BySamples>
class PieceGradients {
 public:
  PieceGradients(const Sampling& s, const Gradients& g, bool pixels)
      : s_(s), g_(g), wanted_(s, g, pixels), field_(s), by_samples_(s, g, wanted_) {}

  // `band` may be null.
  void piece(const Piece& p, const Band<T>* band) {
    field_.forward(p, at_);
    find_cells(s_, at_, p.count, cells_);
    for (int32_t i = 0; i < p.count; ++i) at_.x[i] = at_.y[i] = 0;
    if (band != nullptr) scatter_.aim(*band, s_.padding, cells_, int32_t(s_.image.w), p.count);
    by_samples_(p, cells_, band != nullptr ? &scatter_ : nullptr, at_);
    if (wanted_.moves) positions(p);
  }

 private:
  void positions(const Piece& p) {
    for (int32_t i = 0; i < p.count; ++i) {
      at_.x[i] = cells_.slope_x[i] == 0 ? T(0) : at_.x[i] * cells_.slope_x[i];
      at_.y[i] = cells_.slope_y[i] == 0 ? T(0) : at_.y[i] * cells_.slope_y[i];
    }
    field_.backward(p, at_, g_);
  }

  const Sampling& s_;
  const Gradients& g_;
  const Wanted wanted_;
  Field<T> field_;
  Positions<T> at_;  // first the positions, then the gradients by them
  Cells<T> cells_;
  BySamples by_samples_;
  Scatter<T> scatter_;
};

// Where bands of the image's gradient are summed. If the gradient has the working type, in the gradient
// itself. Otherwise the sums need other memory: that of images which the same thread writes later, as
// far as it suffices, or a little scratch.
template <class T>
class Bands {
 public:
  static constexpr int64_t kScratch = 8192;

  Bands(const Sampling& s, const Gradients& g, int64_t threads)
      : g_(g), direct_(g.image.dtype == (sizeof(T) == 8 ? Dtype::f64 : Dtype::f32)) {
    const int64_t row = g.image.c * g.image.w;
    const int64_t parts = (2 * threads + g.image.n - 1) / g.image.n;
    const int64_t wanted = direct_ ? (g.image.h + parts - 1) / parts : kScratch / row;
    rows_ = wanted < 4 ? 4 : (wanted > g.image.h ? g.image.h : wanted);
    const bool small = s.n * s.h * s.w <= 2 * kBlockPixels;
    if (direct_ && (small || g.image.n >= 2 * threads)) rows_ = g.image.h;
    per_image_ = (g.image.h + rows_ - 1) / rows_;
  }

  int64_t count() const { return g_.image.n * per_image_; }
  int64_t per_image() const { return per_image_; }
  int64_t image(int64_t item) const { return item / per_image_; }
  int64_t scratch() const { return direct_ ? 0 : rows_ * g_.image.c * g_.image.w; }

  // How many items, from `item` on and before `last`, fit into one band.
  int64_t together(int64_t item, int64_t last) const {
    const View& v = g_.image;
    const int64_t images = last / per_image_ - image(item) - 1;
    const bool dense = v.stride_n == v.c * v.h * v.w && v.stride_n * size() % int64_t(sizeof(T)) == 0;
    if (direct_ || !dense || images < 1) return 1;
    const int64_t fit = images * v.h * size() / int64_t(sizeof(T)) / rows_;
    const int64_t left = per_image_ - item % per_image_;
    return fit < 1 ? 1 : (fit < left ? fit : left);
  }

  Band<T> open(int64_t item, int64_t items, T* scratch) const {
    const View& v = g_.image;
    const int64_t begin = item % per_image_ * rows_;
    const int64_t end = begin + items * rows_ < v.h ? begin + items * rows_ : v.h;
    if (items > 1) {
      scratch = reinterpret_cast<T*>(static_cast<char*>(v.data) + v.plane(image(item) + 1, 0) * size());
    }
    Band<T> band = {scratch, (end - begin) * v.w, v.w, 1, int32_t(begin), int32_t(end)};
    if (direct_) {
      band = {static_cast<T*>(v.data) + v.row(image(item), 0, begin), v.stride_c, v.stride_h,
              v.stride_w, int32_t(begin), int32_t(end)};
    }
    for (int64_t c = 0; c < v.c; ++c) {
      for (int64_t y = 0; y < end - begin; ++y) {
        T* const row = band.data + c * band.stride_c + y * band.stride_h;
        for (int64_t x = 0; x < v.w; ++x) row[x * band.stride_w] = 0;
      }
    }
    return band;
  }

  void close(int64_t item, const Band<T>& band) const {
    if (direct_) return;
    for (int64_t c = 0; c < g_.image.c; ++c) {
      for (int32_t y = band.begin; y < band.end; ++y) {
        const T* const row = band.data + c * band.stride_c + (y - band.begin) * band.stride_h;
        store(row, g_.image, c, {image(item), y, 0, int32_t(g_.image.w), 1});
      }
    }
  }

 private:
  int64_t size() const { return g_.image.dtype == Dtype::f32 ? 4 : 2; }  // bytes of a number, if not direct

  const Gradients& g_;
  bool direct_;
  int64_t rows_, per_image_;
};

template <class T, class BySamples>
void run_image(const Sampling& s, const Gradients& g, const Blocks& blocks, const Bands<T>& bands,
               bool pixels, const Threads& threads) {
  Reach reach(s);
  if (bands.per_image() > 1) reach.measure<T>(s, blocks, threads);
  const int64_t samples = s.per_image();
  const int64_t size = samples * s.h * s.w / bands.per_image();
  threads(bands.count(), grain(size, work_of_pixel(s)), [&](int64_t first, int64_t last) {
    PieceGradients<T, BySamples> gradients(s, g, pixels);
    Scratch<T> scratch(bands.scratch());
    for (int64_t item = first, items = 1; item < last; item += items) {
      const int64_t image = bands.image(item);
      items = bands.together(item, last);
      const Band<T> band = bands.open(item, items, scratch.data());
      for (int64_t i = 0; i < samples * reach.groups(); ++i) {
        const int64_t n = image * samples + i / reach.groups(), group = i % reach.groups();
        if (bands.per_image() > 1 && !reach.touches(n, group, band.begin, band.end)) continue;
        blocks.pieces_of_rows(n, reach.begin(group), reach.end(group),
                              [&](const Piece& p) { gradients.piece(p, &band); });
      }
      bands.close(item, band);
    }
  });
}

template <class T, class BySamples>
void run_pixels(const Sampling& s, const Gradients& g, const Blocks& blocks, const Threads& threads) {
  threads(blocks.count(), grain(blocks.rows * blocks.w, work_of_pixel(s)), [&](int64_t begin, int64_t end) {
    PieceGradients<T, BySamples> gradients(s, g, true);
    for (int64_t block = begin; block < end; ++block) {
      blocks.pieces(block, [&](const Piece& p) { gradients.piece(p, nullptr); });
    }
  });
}

template <class T, class BySamples>
void run(const Sampling& s, const Gradients& g, const Threads& threads) {
  const bool own = seamless(g.flows, s.count) && seamless(g.logits, s.count) && seamless(g.target);
  const Blocks blocks(s, own && seamless(s) && seamless(g.warped));
  const bool pixels = any(g.flows, s.count) || any(g.logits, s.count) || g.target.exists();
  if (!g.image.exists()) return run_pixels<T, BySamples>(s, g, blocks, threads);
  const Bands<T> bands(s, g, threads.count);
  // A thread that owns a whole image visits each pixel once, and can do both at a time.
  const bool together = bands.per_image() == 1;
  if (pixels && !together) run_pixels<T, BySamples>(s, g, blocks, threads);
  run_image<T, BySamples>(s, g, blocks, bands, pixels && together, threads);
}

template <class T>
void choose(const Sampling& s, const Gradients& g, const Threads& threads) {
  if (!has_vectors<T>(s.image)) return run<T, ByChannels<T>>(s, g, threads);
  with_vectors<T>(s.image.dtype, [&](auto e) { run<T, ByVectors<decltype(e), T>>(s, g, threads); });
}

}  // namespace

void backward(const Sampling& s, const Gradients& g, const Threads& threads) {
  return s.wide ? choose<double>(s, g, threads) : choose<float>(s, g, threads);
}

TCAE_OPS_LEVEL_END
