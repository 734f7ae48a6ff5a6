// Backward pass: gradients of flows, logits and target pixel by pixel, and that of the image.
#include "image_gradient.h"
#include "blend_cache.h"
#include "kernels.h"
#include "launch.h"

namespace tcae_ops {
namespace {

struct Arguments {
  Grid grid;
  Source source;
  Fields fields;
  FieldViews by_fields;
  bool moves;  // whether a gradient of any flow or logit is wanted
  Strided by_warped, target, by_target;
  const void* by_loss;  // of the working type, or null
  int64_t by_loss_stride;
  int64_t count;  // how many numbers a loss is the mean of
  ImageSums by_image;
};
static_assert(sizeof(Arguments) <= 4096, "every CUDA accepts so many bytes of kernel arguments");

// One channel of a group: adds the gradients by its samples to those of target, image and position.
template <class T, int P>
__device__ __forceinline__ void backward_channel(const Arguments& a, const Site<P>& s, const SamplePoints<T, P>& points,
                                                 int32_t c, T step, Vectors<T, P>& by) {
  const Source& source = a.source;
  const bool has_loss = a.by_loss != nullptr;
  Group<T, P> by_samples = {}, target = {};
#pragma unroll
  for (int first = 0; first < P; first += kPixels<T>) {
    const auto positions = some(points.position, first);
    Group<T, kPixels<T>, Four<T>> pixels = {};
    if (a.moves || has_loss) pixels = read_cells(source, positions, s.n, c);
    if (first == 0) {  // not earlier, or nvcc makes a branch of every pixel's load
      if (a.by_warped.exists()) by_samples = load_image<T>(a.by_warped, c, s);
      if (has_loss) target = load_image<T>(a.target, c, s);
    }
#pragma unroll
    for (int i = 0; i < kPixels<T>; ++i) {
      const Cell2<T> cell = cell_of(source, positions, i);
      const int at = first + i;
      if (has_loss) {
        const T value = sample(source, cell, pixels[i]);
        const T sign = T(value > target[at]) - T(value < target[at]);
        by_samples[at] += sign * step;
        target[at] = -sign * step;
      }
      by.x[at] += by_samples[at] * bilinear_dx(cell.row.fraction, pixels[i]);
      by.y[at] += by_samples[at] * bilinear_dy(cell.column.fraction, pixels[i]);
    }
    if (a.by_image.exists()) scatter(source, a.by_image, s.n, c, positions, some(by_samples, first), s.count - first);
  }
  if (a.by_target.exists()) store_image(target, a.by_target, c, s);
}

template <class T, int P>
__global__ void __launch_bounds__(kThreads, kBlocks) backward_kernel(const Arguments a) {
  const Source& source = a.source;
  const Site<P> s = a.grid.site<P>();
  if (s.count <= 0) return;
  const BlendCache<T, P> cache(a.fields);
  SamplePoints<T, P> points = find_sample_points<T>(source, a.fields, s, displacement<T>(a.fields, s, cache));
  Vectors<T, P> by = {};
  const T* const by_loss = static_cast<const T*>(a.by_loss);
  const T step = a.by_loss != nullptr ? by_loss[int64_t(s.n) * a.by_loss_stride] / T(a.count) : T(0);
#pragma unroll 1
  for (int32_t c = 0; c < source.channels; ++c) {
    forget_cells(points.position);
    backward_channel(a, s, points, c, step, by);
  }
  if (!a.moves) return;
  const T unit_x = unit<T>(a.fields, source.w), unit_y = unit<T>(a.fields, source.h);
#pragma unroll
  for (int i = 0; i < P; ++i) {
    const T slope_x = points.slope_x(i), slope_y = points.slope_y(i);
    by.x[i] = slope_x == 0 ? T(0) : shown(source, by.x[i]) * slope_x * unit_x;
    by.y[i] = slope_y == 0 ? T(0) : shown(source, by.y[i]) * slope_y * unit_y;
  }
  const bool wide = a.fields.views.wide && a.by_fields.wide;
  with_fields<T>(a.fields, wide, s, [&](auto f) {
    displacement_backward_as<decltype(f)>(a.fields, a.by_fields, s, cache, by);
  });
}

// The parts of the scratch memory, as offsets in bytes.
struct Layout {
  int64_t scales = 0, largest = 0, wholes = 0, sums = 0, end = 0;
  int64_t numbers;
  bool apart;  // whether the sums have another type than the result

  template <class T, int P>
  static Layout of(const Sampling& s, const Gradients& g, bool deterministic) {
    Layout at;
    at.numbers = s.image.n * s.image.c * s.image.h * s.image.w;
    at.apart = g.image.dtype != (sizeof(T) == 8 ? Dtype::f64 : Dtype::f32);
    if (!g.image.exists()) return at;
    if (deterministic) {
      at.largest = at.scales + 8 * s.image.n;
      at.wholes = at.largest + (g.warped.exists() ? 8 * s.n * Grid::of<P>(s).blocks : 0);
      at.sums = at.wholes + 8 * at.numbers;
    }
    at.end = at.sums + (at.apart ? int64_t(sizeof(T)) * at.numbers : 0);
    return at;
  }
};

// Sets the sums to zero. For sums of whole numbers, also finds their scales.
template <class T, int P>
cudaError_t prepare_image(const Sampling& s, const Gradients& g, bool deterministic, char* scratch,
                          cudaStream_t stream, Arguments& a) {
  const Layout at = Layout::of<T, P>(s, g, deterministic);
  ImageSums& to = a.by_image;
  to = {at.apart ? scratch + at.sums : g.image.data, nullptr, nullptr, g.image.stride_n, g.image.stride_c,
        int32_t(g.image.stride_h), int32_t(g.image.stride_w)};
  cudaError_t error = cudaMemsetAsync(to.sums, 0, size_t(at.numbers) * sizeof(T), stream);
  if (error != cudaSuccess || !deterministic) return error;
  double* const scales = reinterpret_cast<double*>(scratch + at.scales);
  double* const largest = reinterpret_cast<double*>(scratch + at.largest);
  to.scales = scales;
  to.wholes = reinterpret_cast<Whole*>(scratch + at.wholes);
  error = cudaMemsetAsync(to.wholes, 0, size_t(at.numbers) * sizeof(Whole), stream);
  if (error == cudaSuccess && g.warped.exists()) {
    error = launch(largest_kernel<T, P>, unsigned(s.n) * unsigned(a.grid.blocks), kThreads, 0, stream, a.grid,
                   a.by_warped, a.source.channels, largest);
  }
  if (error != cudaSuccess) return error;
  const int32_t samples = int32_t(s.per_image());
  int32_t room = 61;  // bits for the gradient by one sample, if every sample is added to one pixel
  for (int64_t pixels = 1; pixels < samples * s.h * s.w; pixels *= 2) --room;
  return launch(scale_kernel<T>, unsigned(s.image.n), kThreads, 0, stream, largest,
                g.warped.exists() ? samples * a.grid.blocks : 0, static_cast<const T*>(a.by_loss), a.by_loss_stride,
                samples, a.count, room, scales);
}

template <class T>
cudaError_t finish_image(const Sampling& s, const Gradients& g, cudaStream_t stream, const ImageSums& from) {
  const int64_t per_image = s.image.c * s.image.h * s.image.w;
  const int32_t blocks = int32_t((per_image + kThreads - 1) / kThreads);
  return with_float<T>(g.image.dtype, [&](auto e) {
    using E = decltype(e);
    return launch(finish_kernel<T, E>, unsigned(s.image.n) * unsigned(blocks), kThreads, 0, stream, from, per_image,
                  blocks, static_cast<E*>(g.image.data));
  });
}

template <class T, int P>
Arguments arguments(const Sampling& s, const Gradients& g) {
  Arguments a = {Grid::of<P>(s), Source::of(s), Fields::of<P>(s),
                 FieldViews::of<P>(g.flows, g.logits, s.count, s.flows[0].dtype)};
  for (int64_t k = 0; k < s.count; ++k) a.moves = a.moves || g.flows[k].exists() || g.logits[k].exists();
  if (g.warped.exists()) a.by_warped = strided<P>(g.warped);
  if (g.target.exists()) a.by_target = strided<P>(g.target);
  if (g.loss.exists()) a.target = strided<P>(s.target);
  a.by_loss = g.loss.data;
  a.by_loss_stride = g.loss.stride_n;
  a.count = s.numbers();
  return a;
}

template <class T, int P>
cudaError_t run(const Sampling& s, const Gradients& g, bool deterministic, char* scratch, cudaStream_t stream) {
  Arguments a = arguments<T, P>(s, g);
  cudaError_t error = cudaSuccess;
  if (g.image.exists()) error = prepare_image<T, P>(s, g, deterministic, scratch, stream, a);
  if (error != cudaSuccess) return error;
  error = launch(backward_kernel<T, P>, unsigned(s.n) * unsigned(a.grid.blocks), kThreads,
                 BlendCache<T, P>::size(a.fields), stream, a);
  const bool finished = !g.image.exists() || (!deterministic && a.by_image.sums == g.image.data);
  return error != cudaSuccess || finished ? error : finish_image<T>(s, g, stream, a.by_image);
}

bool in_quads(const Sampling& s, const Gradients& g) {
  const Dtype dtype = s.flows[0].dtype;
  return in_quads(s, {g.warped, g.target, g.loss.exists() ? s.target : View()}) && s.count <= kMostCachedInQuads &&
         in_groups<kQuad>(g.flows, s.count, dtype) && in_groups<kQuad>(g.logits, s.count, dtype);
}

}  // namespace

int64_t backward_scratch(const Sampling& s, const Gradients& g, bool deterministic) {
  return with_groups(s, in_quads(s, g), [&](auto number, auto pixels) {
    return Layout::of<decltype(number), pixels>(s, g, deterministic).end;
  });
}

cudaError_t backward(const Sampling& s, const Gradients& g, bool deterministic, void* scratch, cudaStream_t stream) {
  return with_groups(s, in_quads(s, g), [&](auto number, auto pixels) {
    return run<decltype(number), pixels>(s, g, deterministic, static_cast<char*>(scratch), stream);
  });
}

}  // namespace tcae_ops
