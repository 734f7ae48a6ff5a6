// Small kernels, most of them with an error that must be found: tests of the tests.
//   faulty_kernels NAME SEED
// runs one, and prints what was found.
#include <stdio.h>
#include <stdlib.h>

#include <map>
#include <stdexcept>
#include <string>

#include "cuda_runtime.h"

namespace {

constexpr unsigned kBlocks = 3, kThreads = 64;
constexpr unsigned kAll = 0xffffffffu;

__global__ void right(double* sums) {
  __shared__ double of_warps[2];
  double value = threadIdx.x;
  for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(kAll, value, step);
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x == 0) sums[blockIdx.x] = of_warps[0] + of_warps[1];
  atomicAdd(sums + kBlocks, 1.0);
}

__global__ void no_barrier(double* sums) {
  __shared__ double of_warps[2];
  if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = 1;
  if (threadIdx.x == 0) sums[blockIdx.x] = of_warps[0] + of_warps[1];
}

// A shuffle orders nothing in memory.
__global__ void shuffle_for_a_barrier(double* sums) {
  __shared__ double of_lanes[kThreads];
  of_lanes[threadIdx.x] = 1;
  __shfl_down_sync(kAll, 0.0, 1);
  if (threadIdx.x == 0) sums[blockIdx.x] = of_lanes[kThreads - 1];
}

__global__ void barrier_for_some(double*) {
  if (threadIdx.x < 40) __syncthreads();
}

__global__ void two_barriers(double*) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void shuffle_for_some(double*) {
  if (threadIdx.x < 40) __shfl_down_sync(kAll, 1.0, 1);
}

__global__ void shuffle_of_others(double*) { __shfl_down_sync(0xffffu, 1.0, 1); }

// Reads what the previous block left there.
__global__ void no_first_value(double* sums) {
  __shared__ double sum;
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = sum;
    sum = 1;
  }
}

__global__ void blocks_write_the_same(double* sums) {
  if (threadIdx.x == 0) sums[0] = 1;
}

__global__ void plain_sum(double* sums) { sums[blockIdx.x] += 1; }

__global__ void behind_the_end(double* sums) { sums[blockIdx.x * kThreads + threadIdx.x] = 1; }

__global__ void behind_shared(double* sums) {
  __shared__ double of_warps[2];
  of_warps[threadIdx.x / 16] = 1;
  sums[blockIdx.x] = of_warps[0];
}

// Uses the memory that blocks are launched with, of 64 numbers.
__global__ void right_launched(double* sums) {
  double* const values = static_cast<double*>(tcae_ops::shared_memory());
  values[threadIdx.x] = threadIdx.x;
  __syncthreads();
  if (threadIdx.x != 0) return;
  double sum = 0;
  for (unsigned i = 0; i < kThreads; ++i) sum += values[i];
  sums[blockIdx.x] = sum;
  atomicAdd(sums + kBlocks, 64.0);
}

__global__ void no_barrier_launched(double* sums) {
  double* const values = static_cast<double*>(tcae_ops::shared_memory());
  values[threadIdx.x] = 1;
  if (threadIdx.x == 0) sums[blockIdx.x] = values[kThreads - 1];
}

__global__ void no_first_value_launched(double* sums) {
  double* const values = static_cast<double*>(tcae_ops::shared_memory());
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = values[0];
    values[0] = 1;
  }
}

__global__ void behind_launched(double*) {
  static_cast<double*>(tcae_ops::shared_memory())[threadIdx.x + 1] = 1;
}

__global__ void misaligned(double* sums) {
  *reinterpret_cast<double*>(reinterpret_cast<char*>(sums) + 4) = 1;
}

const std::map<std::string, void (*)(double*)> kKernels = {
    {"right", right},
    {"no_barrier", no_barrier},
    {"shuffle_for_a_barrier", shuffle_for_a_barrier},
    {"barrier_for_some", barrier_for_some},
    {"two_barriers", two_barriers},
    {"shuffle_for_some", shuffle_for_some},
    {"shuffle_of_others", shuffle_of_others},
    {"no_first_value", no_first_value},
    {"blocks_write_the_same", blocks_write_the_same},
    {"plain_sum", plain_sum},
    {"behind_the_end", behind_the_end},
    {"behind_shared", behind_shared},
    {"right_launched", right_launched},
    {"no_barrier_launched", no_barrier_launched},
    {"no_first_value_launched", no_first_value_launched},
    {"behind_launched", behind_launched},
    {"misaligned", misaligned},
};

}  // namespace

int main(int, char** arguments) {
  double* const sums = static_cast<double*>(calloc(4, sizeof(double)));
  cuda_host::set_seed(unsigned(atoi(arguments[2])));
  const std::string name = arguments[1];
  const cudaStream_t stream = name == "default_stream" ? nullptr : cuda_host::the_stream();
  const unsigned threads = name == "too_many" ? 2048 : kThreads;
  const unsigned shared = name == "too_much_shared" ? 64 << 10 : kThreads * sizeof(double);
  const auto kernel = kKernels.count(name) ? kKernels.at(name) : right;
  try {
    const cudaError_t error = tcae_ops::launch(kernel, kBlocks, threads, shared, stream, sums);
    printf("%s: %g %g %g, %g\n", cudaGetErrorString(error), sums[0], sums[1], sums[2], sums[3]);
  } catch (const std::runtime_error& error) {
    printf("%s\n", error.what());
  }
}
