// Forward pass: samples, and their distance from the target.
#include "kernels.h"
#include "launch.h"
#include "reduce.h"
#include "sample.h"

namespace tcae_ops {
namespace {

struct Arguments {
  Grid grid;
  Source source;
  Fields fields;
  Strided warped, target;
  double* distances;  // sums of |warped - target|, one per block
};

template <class T, int P>
__device__ __forceinline__ T forward_group(const Arguments& a, const Site<P>& s) {
  SamplePoints<T, P> points = find_sample_points<T>(a.source, a.fields, s, displacement<T>(a.fields, s, NoCache()));
  T distance = 0;
#pragma unroll 1
  for (int32_t c = 0; c < a.source.channels; ++c) {
    forget_cells(points.position);
    Group<T, P> samples;
#pragma unroll
    for (int first = 0; first < P; first += kPixels<T>) {
      const auto positions = some(points.position, first);
      const auto pixels = read_cells(a.source, positions, s.n, c);
#pragma unroll
      for (int i = 0; i < kPixels<T>; ++i) {
        samples[first + i] = sample(a.source, cell_of(a.source, positions, i), pixels[i]);
      }
    }
    if (a.warped.exists()) store_image(samples, a.warped, c, s);
    if (!a.target.exists()) continue;
    const Group<T, P> target = load_image<T>(a.target, c, s);
#pragma unroll
    for (int i = 0; i < P; ++i) distance += i < s.count ? fabs(samples[i] - target[i]) : T(0);
  }
  return distance;
}

template <class T, int P>
__global__ void __launch_bounds__(kThreads, kBlocks) forward_kernel(const Arguments a) {
  const Site<P> s = a.grid.site<P>();
  const T distance = s.count > 0 ? forward_group<T>(a, s) : T(0);
  if (!a.target.exists()) return;
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

template <class T, int P>
cudaError_t run(const Sampling& s, const Outputs& out, void* scratch, cudaStream_t stream) {
  Arguments a = {Grid::of<P>(s), Source::of(s), Fields::of<P>(s), {}, {}, static_cast<double*>(scratch)};
  if (out.warped.exists()) a.warped = strided<P>(out.warped);
  if (out.loss.exists()) a.target = strided<P>(s.target);
  const unsigned samples = unsigned(s.n);
  const cudaError_t error = launch(forward_kernel<T, P>, samples * unsigned(a.grid.blocks), kThreads, 0, stream, a);
  if (error != cudaSuccess || !out.loss.exists()) return error;
  const double count = double(s.numbers());
  return launch(loss_kernel<T>, samples, kThreads, 0, stream, a.distances, a.grid.blocks, count,
                static_cast<T*>(out.loss.data));
}

bool in_quads(const Sampling& s, const Outputs& out) {
  return in_quads(s, {out.warped, out.loss.exists() ? s.target : View()});
}

}  // namespace

int64_t forward_scratch(const Sampling& s, const Outputs& out) {
  if (!out.loss.exists()) return 0;
  return with_groups(s, in_quads(s, out), [&](auto, auto pixels) {
    return s.n * Grid::of<pixels>(s).blocks * int64_t(sizeof(double));
  });
}

cudaError_t forward(const Sampling& s, const Outputs& out, void* scratch, cudaStream_t stream) {
  return with_groups(s, in_quads(s, out), [&](auto number, auto pixels) {
    return run<decltype(number), pixels>(s, out, scratch, stream);
  });
}

}  // namespace tcae_ops
