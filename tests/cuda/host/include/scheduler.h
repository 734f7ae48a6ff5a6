// Runs kernels on one thread of a CPU. The threads of a block are fibers that take turns at barriers,
// shuffles and atomics. Their order, and that of the blocks, is random and depends on a seed.
#pragma once

#include <string>
#include <vector>

#include "cuda_runtime_api.h"

namespace cuda_host {

constexpr unsigned kWarpSize = 32;
constexpr unsigned kMostShared = 48 << 10;  // bytes per block, unless a program asks CUDA for more

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

// The memory that the block was launched with, besides its variables of fixed size.
void* shared_memory();

// Waits for all threads of the block.
void barrier(Place place);

// Waits for the lanes in `mask`, then replaces `value` by that of lane `from`.
void exchange(unsigned mask, unsigned from, void* value, size_t size, Place place);

// Lets other threads run.
void pass();

using Body = void (*)(const void* context);

// Runs a kernel: calls body(context) for each thread. Each block gets `shared` bytes of memory. What a
// real launch would refuse, this refuses with CUDA's error. What would hang or be undefined throws a
// std::runtime_error that says which threads are where.
cudaError_t run(unsigned blocks, unsigned threads, unsigned shared, cudaStream_t stream, Body body,
                const void* context);

// Remembers a launch by whatever tells kernels apart. The second function returns what was remembered since its
// last call.
void remember(const char* kernel);
std::vector<std::string> remembered();

// Chooses the order of the next launches.
void set_seed(unsigned seed);

// The only stream that work may be enqueued on.
cudaStream_t the_stream();

}  // namespace cuda_host
