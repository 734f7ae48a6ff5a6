// Runs forward and backward passes of the CPU kernels, without torch, and prints a number that depends on
// every bit of their results. Exact arithmetic makes the inputs, so all processors must print the same.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <memory>
#include <vector>

#include "../../../csrc/cpu/kernels.h"
#include "tcae_ops/dtypes.h"

namespace tcae_ops {
namespace {

constexpr int64_t kFlows = 2;
const char* const kPaddings[] = {"border", "zeros", "reflection"};
const char* const kTypes[] = {"u8", "f16", "bf16", "f32", "f64"};

// Numbers below 1 that are multiples of 1/256, so they have the same value in every float type.
struct Random {
  uint32_t state;
  double next() {
    state = state * 1664525u + 1013904223u;
    return double(state >> 24) / 256;
  }
};

// A tensor, contiguous or channels-last.
struct Memory {
  std::vector<unsigned char> bytes;
  View view;

  Memory(Dtype dtype, int64_t n, int64_t c, int64_t h, int64_t w, bool last) : bytes(size_t(8 * n * c * h * w)) {
    view = {bytes.data(), dtype, n, c, h, w, c * h * w, h * w, w, 1};
    if (last) view.stride_c = 1, view.stride_h = w * c, view.stride_w = c;
  }

  void fill(Random& random, double scale, double shift) {
    const auto put = [&](auto e) {
      using E = decltype(e);
      E* const to = reinterpret_cast<E*>(bytes.data());
      for (int64_t i = 0; i < view.n * view.c * view.h * view.w; ++i) {
        to[i] = Element<E>::store(random.next() * scale + shift);
      }
    };
    if (view.dtype != Dtype::u8) return with_float(view.dtype, put);
    for (unsigned char& byte : bytes) byte = (unsigned char)(256 * random.next());
  }
};

void run_at_once(int64_t count, int64_t, Threads::Body body, void* context) { body(0, count, context); }

// FNV-1a.
void digest(const Memory& memory, uint64_t& sum) {
  for (const unsigned char byte : memory.bytes) sum = (sum ^ byte) * 1099511628211u;
}

uint64_t passes(Dtype dtype, Padding padding, int64_t channels, bool last) {
  const int64_t n = 2, h = 19, w = 33;
  const bool wide = dtype == Dtype::f64;
  const Dtype working = wide ? Dtype::f64 : Dtype::f32, samples = dtype == Dtype::u8 ? working : dtype;
  Random random = {uint32_t(channels)};
  Memory image(dtype, n, channels, h, w, last), target(dtype, n, channels, h, w, last);
  Memory warped(samples, n, channels, h, w, last), by_warped(samples, n, channels, h, w, last);
  Memory by_image(samples, n, channels, h, w, last), by_target(samples, n, channels, h, w, last);
  Memory loss(working, n, 1, 1, 1, false), by_loss(working, n, 1, 1, 1, false);
  for (Memory* it : {&image, &target}) it->fill(random, 1, 0);
  for (Memory* it : {&by_warped, &by_loss}) it->fill(random, 2, -1);
  std::vector<Memory> fields, by_fields;
  for (int64_t k = 0; k < 2 * kFlows; ++k) {
    fields.emplace_back(Dtype::f32, n, k < kFlows ? 2 : 1, h, w, false);
    fields.back().fill(random, 16, -8);
    by_fields.emplace_back(Dtype::f32, n, k < kFlows ? 2 : 1, h, w, false);
  }
  std::vector<View> views, by_views;
  for (const Memory& it : fields) views.push_back(it.view);
  for (const Memory& it : by_fields) by_views.push_back(it.view);

  const Sampling s = {n, h, w, image.view, views.data(), views.data() + kFlows, kFlows, target.view, padding, false, wide};
  const Threads threads = {run_at_once, 1};
  kernels().forward(s, {warped.view, loss.view}, threads);
  Gradients g = {by_warped.view, by_loss.view, by_image.view, by_views.data(), by_views.data() + kFlows, by_target.view};
  if (dtype == Dtype::u8) g.image = g.target = View();  // bytes have no gradient
  kernels().backward(s, g, threads);

  uint64_t sum = 14695981039346656037u;
  for (const Memory* it : {&warped, &loss, &by_image, &by_target}) digest(*it, sum);
  for (const Memory& it : by_fields) digest(it, sum);
  return sum;
}

}  // namespace
}  // namespace tcae_ops

int main() {
  using namespace tcae_ops;
  printf("%s\n", kernels().level);
  for (int type = 0; type < 5; ++type) {
    for (int padding = 0; padding < 3; ++padding) {
      for (const int64_t channels : {1, 3, 9}) {
        for (const bool last : {false, true}) {
          const uint64_t sum = passes(Dtype(type), Padding(padding), channels, last);
          printf("%s %s %d %s: %016llx\n", kTypes[type], kPaddings[padding], int(channels),
                 last ? "channels-last" : "contiguous", (unsigned long long)sum);
        }
      }
    }
  }
}
