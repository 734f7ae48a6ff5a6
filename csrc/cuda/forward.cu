// Forward pass: samples, and their distance from the target.
#include "choice.h"
#include "kernels.h"
#include "launch.h"
#include "reduce.h"
#include "sample.h"

namespace tcae_ops {
namespace {

template <class K>
struct Arguments {
  Grid<K> grid;
  Source<K> source;
  Fields<K> fields;
  Strided<K> warped, target;
  double* distances;  // sums of |warped - target|, one per block
};

template <class K>
__device__ __forceinline__ auto forward_group(const Arguments<K>& a, const Site<K>& s) {
  using T = typename K::Number;
  auto points = find_sample_points(a.source, a.fields, s, displacement(a.fields, s, NoCache()));
  T distance = 0;
#pragma unroll K::channels_at_once
  for (int32_t c = 0; c < K::channels(a.source.channels); ++c) {
    forget_cells<K>(points.position);
    Numbers<K> samples;
#pragma unroll
    for (int first = 0; first < K::pixels; first += K::at_once) {
      const auto positions = some<K::at_once>(points.position, first);
      const auto pixels = read_cells(a.source, positions, s.n, c);
#pragma unroll
      for (int i = 0; i < K::at_once; ++i) {
        samples[first + i] = sample(a.source, cell_of(a.source, positions, i), pixels[i]);
      }
    }
    if (K::is_stored(a.warped.exists())) store_image(samples, a.warped, c, s);
    if (!K::is_compared(a.target.exists())) continue;
    const Numbers<K> target = load_image(a.target, c, s);
#pragma unroll
    for (int i = 0; i < K::pixels; ++i) distance += s.has(i) ? fabs(samples[i] - target[i]) : T(0);
  }
  return distance;
}

template <class K>
__global__ void __launch_bounds__(kThreads, K::blocks) forward_kernel(const Arguments<K> a) {
  using T = typename K::Number;
  const auto s = a.grid.site();
  const T distance = s.count > 0 ? forward_group(a, s) : T(0);
  if (!K::is_compared(a.target.exists())) return;
  const double sum = reduce(distance, Sum());
  if (threadIdx.x == 0) a.distances[blockIdx.x] = sum;
}

// One block per sample.
template <class T>
__global__ void __launch_bounds__(kThreads)
    loss_kernel(const double* distances, int32_t blocks, double count, T* loss) {
  const double sum = reduce_partials(distances + int64_t(blockIdx.x) * blocks, blocks, Sum());
  if (threadIdx.x == 0) loss[blockIdx.x] = T(sum / count);
}

template <class K>
cudaError_t run(const Sampling& s, const Outputs& out, void* scratch, cudaStream_t stream) {
  using T = typename K::Number;
  Arguments<K> a = {Grid<K>::of(s), Source<K>::of(s), Fields<K>::of(s), {}, {}, static_cast<double*>(scratch)};
  if (out.warped.exists()) a.warped = strided<K>(out.warped);
  if (out.loss.exists()) a.target = strided<K>(s.target);
  const unsigned samples = unsigned(s.n);
  const cudaError_t error = launch(forward_kernel<K>, samples * a.grid.blocks.by, kThreads, 0, stream, a);
  if (error != cudaSuccess || !out.loss.exists()) return error;
  const double count = double(s.numbers());
  return launch(loss_kernel<T>, samples, kThreads, 0, stream, a.distances, a.grid.blocks.by, count,
                static_cast<T*>(out.loss.data));
}

template <class F>
auto with_facts(const Sampling& s, const Outputs& out, F&& f) {
  const Accessed accessed = {{out.warped, out.loss.exists() ? s.target : View()}, {s.flows, s.logits}};
  const bool common = accessed.are_common(s) && (out.warped.exists() || out.loss.exists());
  const bool quads = accessed.in_quads(s);
  if (out.loss.exists()) return with_facts<true>(s, common, quads, f);
  return with_facts<false>(s, common, quads, f);
}

}  // namespace

int64_t forward_scratch(const Sampling& s, const Outputs& out) {
  if (!out.loss.exists()) return 0;
  return with_facts(s, out, [&](auto k) {
    return s.n * Grid<decltype(k)>::of(s).blocks.by * int64_t(sizeof(double));
  });
}

cudaError_t forward(const Sampling& s, const Outputs& out, void* scratch, cudaStream_t stream) {
  return with_facts(s, out, [&](auto k) {
    return run<decltype(k)>(s, out, scratch, stream);
  });
}

}  // namespace tcae_ops
