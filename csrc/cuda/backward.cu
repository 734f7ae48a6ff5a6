// Backward pass: gradients of flows, logits and target pixel by pixel, and that of the image.
#include "blend_cache.h"
#include "choice.h"
#include "image_gradient.h"
#include "kernels.h"
#include "launch.h"

namespace tcae_ops {
namespace {

template <class K>
struct Arguments {
  Grid<K> grid;
  Source<K> source;
  Fields<K> fields;
  FieldViews<K> by_fields;
  bool moves;  // whether a gradient of any flow or logit is wanted
  Strided<K> by_warped, target, by_target;
  const typename K::Number* by_loss;  // or null
  typename K::Offset by_loss_stride;
  typename K::Number count;  // of the numbers that a loss is the mean of
  ImageSums by_image;
};
static_assert(sizeof(Arguments<Anything<double, 1>>) <= 4096, "every CUDA accepts so many bytes of kernel arguments");

// Some channels of a group: adds the gradients by their samples to those of target, image and position.
template <class K, class T = typename K::Number>
__device__ __forceinline__ void backward_channels(const Arguments<K>& a, const Site<K>& s,
                                                  const SamplePoints<T, K::pixels>& points, int32_t channel, T step,
                                                  Displacements<K>& by) {
  constexpr int C = K::channels_at_once;
  const auto& source = a.source;
  const bool compared = K::is_compared(a.by_loss != nullptr), moves = K::is_wanted(a.moves);
  Numbers<K> by_samples[C] = {}, target[C] = {};
#pragma unroll
  for (int first = 0; first < K::pixels; first += K::at_once) {
    const auto positions = some<K::at_once>(points.position, first);
    Group<T, K::at_once, Four<T>> pixels[C] = {};
#pragma unroll
    for (int c = 0; c < C; ++c) {
      if (moves || compared) pixels[c] = read_cells(source, positions, s.n, channel + c);
      if (first > 0) continue;  // not earlier, or nvcc makes a branch of every pixel's load
      if (K::is_stored(a.by_warped.exists())) by_samples[c] = load_image(a.by_warped, channel + c, s);
      if (compared) target[c] = load_image(a.target, channel + c, s);
    }
#pragma unroll
    for (int c = 0; c < C; ++c) {
#pragma unroll
      for (int i = 0; i < K::at_once; ++i) {
        const Cell2<T> cell = cell_of(source, positions, i);
        const int at = first + i;
        if (compared) {
          const T value = sample(source, cell, pixels[c][i]);
          const T sign = T(value > target[c][at]) - T(value < target[c][at]);
          by_samples[c][at] += sign * step;
          target[c][at] = -sign * step;
        }
        by.x[at] += by_samples[c][at] * bilinear_dx(cell.row.fraction, pixels[c][i]);
        by.y[at] += by_samples[c][at] * bilinear_dy(cell.column.fraction, pixels[c][i]);
      }
    }
    if (!a.by_image.exists()) continue;
#pragma unroll
    for (int c = 0; c < C; ++c) {
      const auto gradients = some<K::at_once>(by_samples[c], first);
      scatter(source, a.by_image, s.n, channel + c, positions, gradients, s.count - first);
    }
  }
  if (!a.by_target.exists()) return;
#pragma unroll
  for (int c = 0; c < C; ++c) store_image(target[c], a.by_target, channel + c, s);
}

template <class K>
__global__ void __launch_bounds__(kThreads, K::blocks) backward_kernel(const Arguments<K> a) {
  using T = typename K::Number;
  const auto& source = a.source;
  const auto s = a.grid.site();
  if (s.count <= 0) return;
  BlendCache<K> cache(a.fields);
  auto points = find_sample_points(source, a.fields, s, displacement(a.fields, s, cache));
  Displacements<K> by = {};
  T step = 0;
  if (K::is_compared(a.by_loss != nullptr)) step = a.by_loss[s.n * a.by_loss_stride] / a.count;
#pragma unroll 1
  for (int32_t c = 0; c < K::channels(source.channels); c += K::channels_at_once) {
    forget_cells<K>(points.position);
    backward_channels(a, s, points, c, step, by);
  }
  if (!K::is_wanted(a.moves)) return;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) {
    const T slope_x = points.slopes.x(i), slope_y = points.slopes.y(i);
    by.x[i] = slope_x == 0 ? T(0) : shown(source, by.x[i]) * slope_x * a.fields.unit_x;
    by.y[i] = slope_y == 0 ? T(0) : shown(source, by.y[i]) * slope_y * a.fields.unit_y;
  }
  const bool wide = a.fields.views.wide && a.by_fields.wide;
  with_fields(a.fields, wide, s, [&](auto f) {
    displacement_backward_as<decltype(f)>(a.fields, a.by_fields, s, cache, by);
  });
}

// The parts of the scratch memory, as offsets in bytes.
struct Layout {
  int64_t scales = 0, largest = 0, wholes = 0, sums = 0, end = 0;
  int64_t numbers;
  bool apart;  // whether the sums have another type than the result

  template <class K>
  static Layout of(const Sampling& s, const Gradients& g, bool deterministic) {
    using T = typename K::Number;
    Layout at;
    at.numbers = s.image.n * s.image.c * s.image.h * s.image.w;
    at.apart = g.image.dtype != (sizeof(T) == 8 ? Dtype::f64 : Dtype::f32);
    if (!g.image.exists()) return at;
    if (deterministic) {
      at.largest = at.scales + 8 * s.image.n;
      at.wholes = at.largest + (g.warped.exists() ? 8 * s.n * Grid<K>::of(s).blocks.by : 0);
      at.sums = at.wholes + 8 * at.numbers;
    }
    at.end = at.sums + (at.apart ? int64_t(sizeof(T)) * at.numbers : 0);
    return at;
  }
};

// Sets the sums to zero. For sums of whole numbers, also finds their scales.
template <class K>
cudaError_t prepare_image(const Sampling& s, const Gradients& g, bool deterministic, char* scratch,
                          cudaStream_t stream, Arguments<K>& a) {
  using T = typename K::Number;
  using Plain = Anything<T, K::pixels>;
  const Layout at = Layout::of<K>(s, g, deterministic);
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
    error = launch(largest_kernel<T, K::pixels>, unsigned(s.n) * a.grid.blocks.by, kThreads, 0, stream,
                   Grid<Plain>::of(s), strided<Plain>(g.warped), a.source.channels, largest);
  }
  if (error != cudaSuccess) return error;
  const int32_t samples = int32_t(s.per_image());
  int32_t room = 61;  // bits for the gradient by one sample, if every sample is added to one pixel
  for (int64_t pixels = 1; pixels < samples * s.h * s.w; pixels *= 2) --room;
  return launch(scale_kernel<T>, unsigned(s.image.n), kThreads, 0, stream, largest,
                g.warped.exists() ? samples * int32_t(a.grid.blocks.by) : 0, static_cast<const T*>(g.loss.data),
                g.loss.stride_n, samples, s.numbers(), room, scales);
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

template <class K>
Arguments<K> arguments(const Sampling& s, const Gradients& g) {
  Arguments<K> a = {Grid<K>::of(s), Source<K>::of(s), Fields<K>::of(s),
                    FieldViews<K>::of(g.flows, g.logits, s.count, s.flows[0].dtype)};
  for (int64_t k = 0; k < s.count; ++k) a.moves = a.moves || g.flows[k].exists() || g.logits[k].exists();
  if (g.warped.exists()) a.by_warped = strided<K>(g.warped);
  if (g.target.exists()) a.by_target = strided<K>(g.target);
  if (g.loss.exists()) a.target = strided<K>(s.target);
  a.by_loss = static_cast<const typename K::Number*>(g.loss.data);
  a.by_loss_stride = typename K::Offset(g.loss.stride_n);
  a.count = typename K::Number(s.numbers());
  return a;
}

template <class K>
cudaError_t run(const Sampling& s, const Gradients& g, bool deterministic, char* scratch, cudaStream_t stream) {
  using T = typename K::Number;
  Arguments<K> a = arguments<K>(s, g);
  cudaError_t error = cudaSuccess;
  if (g.image.exists()) error = prepare_image<K>(s, g, deterministic, scratch, stream, a);
  if (error != cudaSuccess) return error;
  error = launch(backward_kernel<K>, unsigned(s.n) * a.grid.blocks.by, kThreads,
                 BlendCache<K>::size(a.fields), stream, a);
  const bool finished = !g.image.exists() || (!deterministic && a.by_image.sums == g.image.data);
  return error != cudaSuccess || finished ? error : finish_image<T>(s, g, stream, a.by_image);
}

template <class F>
auto with_facts(const Sampling& s, const Gradients& g, F&& f) {
  const Accessed accessed = {{g.warped, g.target, g.loss.exists() ? s.target : View()},
                             {s.flows, s.logits, g.flows, g.logits}};
  // Common ones have a gradient of a result, and those of all fields are wanted.
  bool common = accessed.are_common(s) && in_32_bits(g.loss) && (g.warped.exists() || g.loss.exists());
  for (int64_t k = 0; k < s.count; ++k) {
    common = common && g.flows[k].exists() && (s.logits == nullptr || g.logits[k].exists());
  }
  const bool quads = accessed.in_quads(s) && s.count <= kMostCachedInQuads;
  if (g.loss.exists()) return with_facts<true>(s, common, quads, f);
  return with_facts<false>(s, common, quads, f);
}

}  // namespace

int64_t backward_scratch(const Sampling& s, const Gradients& g, bool deterministic) {
  return with_facts(s, g, [&](auto k) {
    return Layout::of<decltype(k)>(s, g, deterministic).end;
  });
}

cudaError_t backward(const Sampling& s, const Gradients& g, bool deterministic, void* scratch, cudaStream_t stream) {
  return with_facts(s, g, [&](auto k) {
    return run<decltype(k)>(s, g, deterministic, static_cast<char*>(scratch), stream);
  });
}

}  // namespace tcae_ops
