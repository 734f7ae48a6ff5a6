// Forward pass: samples, and their distance from the target.
#include "kernels.h"

#include "blocks.h"
#include "l1.h"

TCAE_OPS_LEVEL_BEGIN
namespace {

template <class T>
void run(const Sampling& s, const Outputs& out, const Threads& threads) {
  const Blocks blocks(s, seamless(s) && seamless(out.warped));
  Scratch<double> distances(out.loss.exists() ? blocks.count() : 0);
  threads(blocks.count(), grain(blocks.rows * blocks.w), [&](int64_t begin, int64_t end) {
    Field<T> field(s);
    Positions<T> at;
    Cells<T> cells;
    Sampler<T> sampler(s);
    Lane<T> samples[kTogether], target;
    for (int64_t block = begin; block < end; ++block) {
      double sum = 0;
      blocks.pieces(block, [&](const Piece& p) {
        field.forward(p, at);
        find_cells(s, at, p.count, cells);
        for (int64_t c = 0; c < s.image.c; ++c) {
          if (c % kTogether == 0) sampler.read(p, c, cells);
          const int32_t k = int32_t(c % kTogether);
          sampler.values(p, c, cells, samples[k]);
          const bool last = k == kTogether - 1 || c == s.image.c - 1;
          if (out.warped.exists() && last) store(samples, out.warped, c - k, k + 1, p);
          if (!out.loss.exists()) continue;
          sum += distance(samples[k], load_image(s.target, c, p, target), p.count);
        }
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

}  // namespace

void forward(const Sampling& s, const Outputs& out, const Threads& threads) {
  return s.wide ? run<double>(s, out, threads) : run<float>(s, out, threads);
}

TCAE_OPS_LEVEL_END
