// Forward pass: samples, and their distance from the target.
#include "kernels.h"

#include "channels.h"
#include "l1.h"

TCAE_OPS_LEVEL_BEGIN
namespace {

// The samples of a piece, and their distance from the target, channel by channel.
template <class T>
class ByChannels {
 public:
  ByChannels(const Sampling& s, const Outputs& out) : s_(s), out_(out), sampler_(s) {}

  double operator()(const Piece& p, const Cells<T>& cells) {
    sampler_.aim(p, cells);
    double sum = 0;
    for (int64_t first = 0; first < s_.image.c; first += kTogether) {
      const int32_t channels = sampler_.channels_from(first);
      sampler_.sample(p, first, cells, samples_);
      if (out_.warped.exists()) store(samples_, out_.warped, first, channels, p);
      for (int32_t c = 0; out_.loss.exists() && c < channels; ++c) {
        sum += distance(samples_[c], load_image(s_.target, first + c, p, target_), p.count);
      }
    }
    return sum;
  }

 private:
  const Sampling& s_;
  const Outputs& out_;
  Sampler<T> sampler_;
  Lane<T> samples_[kTogether], target_;
};

// The same pixel by pixel.
template <class E, class T>
class ByVectors {
 public:
  ByVectors(const Sampling& s, const Outputs& out)
      : s_(s), out_(out), pixels_(s.image, s.padding), room_(s.image.c), target_(s.image.c) {}

  double operator()(const Piece& p, const Cells<T>& cells) {
    const PieceVectors warped(out_.warped, p), target(s_.target, p);
    pixels_.choose(p.n);
    double sum = 0;
    for (int32_t i = 0; i < p.count; ++i) {
      T* const samples = warped.place(i, room_.data());
      const Four<T> weights = bilinear_weights(cells.fx[i], cells.fy[i]);
      sample_vector(pixels_.at(cells, i), weights, s_.image.c, samples);
      if (out_.warped.exists() && samples == room_.data()) warped.store(i, samples);
      if (out_.loss.exists()) sum += distance_of_vectors(samples, target.load(i, target_.data()), s_.image.c);
    }
    return sum;
  }

 private:
  const Sampling& s_;
  const Outputs& out_;
  PixelVectors<E> pixels_;
  Scratch<T> room_, target_;
};

template <class T, class Samples>
void run(const Sampling& s, const Outputs& out, const Threads& threads) {
  const Blocks blocks(s, seamless(s) && seamless(out.warped));
  Scratch<double> distances(out.loss.exists() ? blocks.count() : 0);
  threads(blocks.count(), grain(blocks.rows * blocks.w, work_of_pixel(s)), [&](int64_t begin, int64_t end) {
    Field<T> field(s);
    Positions<T> at;
    Cells<T> cells;
    Samples samples(s, out);
    for (int64_t block = begin; block < end; ++block) {
      double sum = 0;
      blocks.pieces(block, [&](const Piece& p) {
        field.forward(p, at);
        find_cells(s, at, p.count, cells);
        sum += samples(p, cells);
      });
      if (out.loss.exists()) distances[block] = sum;
    }
  });
  if (!out.loss.exists()) return;
  for (int64_t n = 0; n < s.n; ++n) {
    double sum = 0;
    for (int64_t i = 0; i < blocks.per_sample; ++i) sum += distances[n * blocks.per_sample + i];
    static_cast<T*>(out.loss.data)[n] = T(sum / double(s.numbers()));
  }
}

template <class T>
void choose(const Sampling& s, const Outputs& out, const Threads& threads) {
  if (!has_vectors<T>(s.image)) return run<T, ByChannels<T>>(s, out, threads);
  with_vectors<T>(s.image.dtype, [&](auto e) { run<T, ByVectors<decltype(e), T>>(s, out, threads); });
}

}  // namespace

void forward(const Sampling& s, const Outputs& out, const Threads& threads) {
  return s.wide ? choose<double>(s, out, threads) : choose<float>(s, out, threads);
}

TCAE_OPS_LEVEL_END
