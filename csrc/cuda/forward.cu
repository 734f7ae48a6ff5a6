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
  double* distances;  // sums of |warped - target|, one for each block
};

template <class T>
__device__ __forceinline__ T forward_group(const Arguments& a, const Site& s) {
  Spots<T> spots = find_spots<T>(a.source, a.fields, s, displacement<T>(a.fields, s, KeepNothing()));
  T distance = 0;
#pragma unroll 1
  for (int32_t c = 0; c < a.source.channels; ++c) {
    forget_cells(spots);
    const Group<T, Four<T>> pixels = read_cells(a.source, spots, s.n, c);
    Group<T> samples;
#pragma unroll
    for (int i = 0; i < kPixels<T>; ++i) samples[i] = sample(a.source, cell_of(a.source, spots, i), pixels[i]);
    if (a.warped.exists()) store_image(samples, a.warped, c, s);
    if (!a.target.exists()) continue;
    const Group<T> target = load_image<T>(a.target, c, s);
#pragma unroll
    for (int i = 0; i < kPixels<T>; ++i) distance += i < s.count ? fabs(samples[i] - target[i]) : T(0);
  }
  return distance;
}

template <class T>
__global__ void __launch_bounds__(kThreads, kBlocks) forward_kernel(const Arguments a) {
  const Site s = a.grid.site<T>(a.source.h, a.source.w);
  const T distance = s.count > 0 ? forward_group<T>(a, s) : T(0);
  if (!a.target.exists()) return;
  const double sum = reduce(distance, Sum());
  if (threadIdx.x == 0) a.distances[blockIdx.x] = sum;
}

// A block for each image.
template <class T>
__global__ void __launch_bounds__(kThreads) loss_kernel(const double* distances, int32_t blocks, double count, T* loss) {
  const double sum = reduce_partials(distances + int64_t(blockIdx.x) * blocks, blocks, Sum());
  if (threadIdx.x == 0) loss[blockIdx.x] = T(sum / count);
}

template <class T>
cudaError_t run(const Sampling& s, const Outputs& out, void* scratch, cudaStream_t stream) {
  Arguments a = {Grid::of<T>(s.image), Source::of<T>(s), Fields::of<T>(s), {}, {}, static_cast<double*>(scratch)};
  if (out.warped.exists()) a.warped = strided<T>(out.warped);
  if (out.loss.exists()) a.target = strided<T>(s.target);
  const unsigned images = unsigned(s.image.n);
  const cudaError_t error = launch(forward_kernel<T>, images * unsigned(a.grid.blocks), kThreads, 0, stream, a);
  if (error != cudaSuccess || !out.loss.exists()) return error;
  const double count = double(s.image.c * s.image.h * s.image.w);
  return launch(loss_kernel<T>, images, kThreads, 0, stream, a.distances, a.grid.blocks, count,
                static_cast<T*>(out.loss.data));
}

}  // namespace

int64_t forward_scratch(const Sampling& s, const Outputs& out) {
  const Grid grid = s.wide ? Grid::of<double>(s.image) : Grid::of<float>(s.image);
  return out.loss.exists() ? s.image.n * grid.blocks * int64_t(sizeof(double)) : 0;
}

cudaError_t forward(const Sampling& s, const Outputs& out, void* scratch, cudaStream_t stream) {
  return s.wide ? run<double>(s, out, scratch, stream) : run<float>(s, out, scratch, stream);
}

}  // namespace tcae_ops
