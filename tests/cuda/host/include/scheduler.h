// Runs kernels on one thread of a CPU, where the threads of a block are fibers that take turns: at
// barriers, shuffles and atomics, and in an order that a seed draws. So are the blocks.
#pragma once

#include "cuda_runtime_api.h"

namespace cuda_host {

constexpr unsigned kWarpSize = 32;
constexpr unsigned kMostShared = 48 << 10;  // bytes of a block, unless CUDA is asked for more

struct Index {
  unsigned x;
};

struct Place {  // in the kernels' source
  const char* file;
  int line;
};

Index thread_index();
Index block_index();
unsigned lane_index();

// What the block was launched with, beside its variables of fixed size.
void* shared_memory();

// Waits for all threads of the block.
void barrier(Place place);

// Waits for the lanes in `mask`, then replaces `value` by that of lane `from`.
void exchange(unsigned mask, unsigned from, void* value, size_t size, Place place);

// Here other threads may go on.
void pass();

using Body = void (*)(const void* context);

// Runs a kernel: calls body(context) for each thread; `shared` bytes of memory are given to each block. What a real launch would refuse, it refuses with
// CUDA's error. What would hang or be undefined is a std::runtime_error that says which threads are
// where.
cudaError_t run(unsigned blocks, unsigned threads, unsigned shared, cudaStream_t stream, Body body,
                const void* context);

// The order of the next launches.
void set_seed(unsigned seed);

// The only stream that work may be enqueued on.
cudaStream_t the_stream();

}  // namespace cuda_host
