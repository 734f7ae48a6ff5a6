#include "scheduler.h"

#include <link.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// Sanitizers need to know of fibers. These functions exist if the process was started with sanitizers.
extern "C" {
__attribute__((weak)) void __sanitizer_start_switch_fiber(void** save, const void* bottom, size_t size);
__attribute__((weak)) void __sanitizer_finish_switch_fiber(void* save, const void** bottom, size_t* size);
__attribute__((weak)) void* __tsan_get_current_fiber();
__attribute__((weak)) void* __tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_destroy_fiber(void* fiber);
__attribute__((weak)) void __tsan_switch_to_fiber(void* fiber, unsigned flags);
__attribute__((weak)) void __tsan_acquire(void* address);
__attribute__((weak)) void __tsan_release(void* address);
__attribute__((weak)) void __tsan_java_init(unsigned long begin, unsigned long size);
__attribute__((weak)) void __tsan_java_alloc(unsigned long begin, unsigned long size);
__attribute__((weak)) void __tsan_java_free(unsigned long begin, unsigned long size);
}

namespace cuda_host {
namespace {

// What happened before `release` of an address happened before everything after `acquire` of it. A switch
// of fibers orders nothing, so ThreadSanitizer sees races.
void acquire(void* address) {
  if (__tsan_acquire) __tsan_acquire(address);
}
void release(void* address) {
  if (__tsan_release) __tsan_release(address);
}

// Shared memory of fixed size: the thread-local variables of this library, of which there is one set
// because there is one thread. Every block finds it full of NaN, or of -1.
class FixedShared {
 public:
  FixedShared() {
    own_ = &anchor_;
    dl_iterate_phdr(find, this);
    if (begin_ == nullptr) throw std::runtime_error("shared memory was not found");
    aligned_ = reinterpret_cast<unsigned long>(begin_) / 8 * 8;
    aligned_size_ = (reinterpret_cast<unsigned long>(begin_) + size_ - aligned_ + 7) / 8 * 8;
    if (__tsan_java_init) __tsan_java_init(aligned_, aligned_size_);
  }

  // After the launch, other thread-local variables have their old values again.
  void save() { saved_.assign(begin_, begin_ + size_); }
  void restore() { std::copy(saved_.begin(), saved_.end(), begin_); }

  // To ThreadSanitizer this is new memory, which no block has seen before.
  void begin_block() {
    if (__tsan_java_alloc) __tsan_java_alloc(aligned_, aligned_size_);
    std::fill(begin_, begin_ + size_, char(0xff));
  }
  void end_block() {
    if (__tsan_java_free) __tsan_java_free(aligned_, aligned_size_);
  }

 private:
  static int find(dl_phdr_info* info, size_t, void* context) {
    FixedShared& self = *static_cast<FixedShared*>(context);
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
      char* const begin = static_cast<char*>(info->dlpi_tls_data);
      const size_t size = info->dlpi_phdr[i].p_memsz;
      if (self.own_ < begin || self.own_ >= begin + size) continue;
      self.begin_ = begin;
      self.size_ = size;
      return 1;
    }
    return 0;
  }

  static thread_local char anchor_;
  char* own_;
  char* begin_ = nullptr;
  size_t size_ = 0;
  unsigned long aligned_ = 0, aligned_size_ = 0;
  std::vector<char> saved_;
};
thread_local char FixedShared::anchor_;

enum class State { ready, at_barrier, in_shuffle, ended };

struct Fiber {
  static constexpr size_t kStack = 256 << 10;
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  void* tsan = __tsan_create_fiber ? __tsan_create_fiber(0) : nullptr;
  void* asan = nullptr;
  unsigned thread = 0;
  State state = State::ended;
  Place place{};          // where it waits
  unsigned mask = 0;      // in a shuffle: of the lanes that take part
  unsigned from = 0;      // and whose value it gets
  char value[8], result[8];

  ~Fiber() {
    if (tsan) __tsan_destroy_fiber(tsan);
  }
};

// Runs one launch after the other.
class Scheduler {
 public:
  void run(unsigned blocks, unsigned threads, unsigned shared, Body body, const void* context) {
    body_ = body, context_ = context;
    threads_ = threads;
    main_ = __tsan_get_current_fiber ? __tsan_get_current_fiber() : nullptr;
    while (fibers_.size() < threads) add_fiber();
    std::vector<unsigned> order(blocks);
    for (unsigned i = 0; i < blocks; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random_);
    fixed_.save();
    for (unsigned i = 0; i < blocks; ++i) shared_.push_back(full_of_nan(shared));
    for (unsigned block : order) {
      if (problem_.empty()) run_block(block);
    }
    acquire(&end_);
    shared_.clear();
    fixed_.restore();
    if (problem_.empty()) return;
    fibers_.clear();  // some are in the middle of a kernel
    const std::runtime_error error(problem_);
    problem_.clear();
    throw error;
  }

  void set_seed(unsigned seed) { random_.seed(seed); }

  Fiber& current() { return *current_; }
  unsigned block() const { return block_; }
  void* shared() const { return shared_[block_].get(); }

  void barrier(Place place) {
    Fiber& own = current();
    own.state = State::at_barrier;
    own.place = place;
    char* const tag = &barrier_[passed_ % 2];  // two: the next one must not be mixed up with this
    release(tag);
    if (++waiting_ == threads_) release_barrier();
    pause();
    acquire(tag);
  }

  void exchange(unsigned mask, unsigned from, void* value, size_t size, Place place) {
    Fiber& own = current();
    const unsigned lane = own.thread % kWarpSize;
    if ((mask >> lane & 1) == 0) fail(own, "is not in the mask of its own shuffle", place);
    if ((mask >> from & 1) == 0) fail(own, "wants the value of a lane that takes no part in the shuffle", place);
    own.state = State::in_shuffle;
    own.place = place, own.mask = mask, own.from = from;
    memcpy(own.value, value, size);
    finish_shuffle(own);
    pause();
    memcpy(value, own.result, size);
  }

  void pass() {
    if (random_() % 4 != 0) return;
    make_ready(current());
    pause();
  }

 private:
  void add_fiber() {
    fibers_.push_back(std::make_unique<Fiber>());
    Fiber& f = *fibers_.back();
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = Fiber::kStack;
    f.context.uc_link = nullptr;
    makecontext(&f.context, enter, 0);
  }

  static std::unique_ptr<char[]> full_of_nan(unsigned size) {
    std::unique_ptr<char[]> memory(new char[size]);
    memset(memory.get(), 0xff, size);
    return memory;
  }

  static void enter();

  // The life of a fiber: one thread of a kernel after another.
  [[noreturn]] void live() {
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(nullptr, &bottom_, &size_);
    for (;;) {
      acquire(&begin_);
      body_(context_);
      release(&end_);
      current().state = State::ended;
      pause();
    }
  }

  // Which fiber runs which thread is random, too: ThreadSanitizer takes a fiber for one thread, but threads
  // with the same number in different blocks are different.
  void run_block(unsigned block) {
    block_ = block;
    waiting_ = 0;
    fixed_.begin_block();
    release(&begin_);
    std::shuffle(fibers_.begin(), fibers_.end(), random_);
    of_thread_.resize(threads_);
    for (unsigned i = 0; i < threads_; ++i) {
      of_thread_[i] = fibers_[i].get();
      of_thread_[i]->thread = i;
      make_ready(*of_thread_[i]);
    }
    draw_haste();
    while (!ready_.empty() && problem_.empty()) resume(take_next());
    ready_.clear();
    fixed_.end_block();
    const bool over = std::all_of(of_thread_.begin(), of_thread_.end(),
                                  [](Fiber* f) { return f->state == State::ended; });
    if (!over && problem_.empty()) problem_ = "block " + std::to_string(block_) + " hangs: " + situation();
  }

  // In every other block some warps get far ahead of others. Otherwise all are about as fast.
  void draw_haste() {
    const unsigned range = random_() % 2 == 0 ? 1 : threads_;
    haste_.resize((threads_ + kWarpSize - 1) / kWarpSize);
    for (unsigned& haste : haste_) haste = random_() % range;
  }

  Fiber& take_next() {
    std::swap(ready_[random_() % ready_.size()], ready_.back());
    const auto slower = [&](Fiber* a, Fiber* b) {
      return haste_[a->thread / kWarpSize] < haste_[b->thread / kWarpSize];
    };
    std::iter_swap(std::max_element(ready_.rbegin(), ready_.rend(), slower), ready_.rbegin());
    Fiber* const next = ready_.back();
    ready_.pop_back();
    return *next;
  }

  void resume(Fiber& f) {
    current_ = &f;
    void* save = nullptr;
    if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(f.tsan, 1);
    if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&save, f.stack.get(), Fiber::kStack);
    swapcontext(&home_, &f.context);
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(save, nullptr, nullptr);
  }

  void pause() {
    Fiber& f = current();
    if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(main_, 1);
    if (__sanitizer_start_switch_fiber) __sanitizer_start_switch_fiber(&f.asan, bottom_, size_);
    swapcontext(&f.context, &home_);
    if (__sanitizer_finish_switch_fiber) __sanitizer_finish_switch_fiber(f.asan, &bottom_, &size_);
  }

  void make_ready(Fiber& f) {
    f.state = State::ready;
    ready_.push_back(&f);
  }

  void release_barrier() {
    const Place place = current().place;
    for (Fiber* f : of_thread_) {
      if (!same(f->place, place)) fail(*f, "waits at another barrier than the rest of its block", f->place);
    }
    for (Fiber* f : of_thread_) make_ready(*f);
    waiting_ = 0;
    ++passed_;
  }

  // Gives all lanes in the shuffle their values, if the last one has come.
  void finish_shuffle(const Fiber& own) {
    const unsigned first = own.thread / kWarpSize * kWarpSize;
    std::vector<Fiber*> lanes;
    for (unsigned i = 0; i < kWarpSize; ++i) {
      if ((own.mask >> i & 1) == 0) continue;
      if (first + i >= threads_) return;
      Fiber* const f = of_thread_[first + i];
      if (f->state != State::in_shuffle || f->mask != own.mask || !same(f->place, own.place)) return;
      lanes.push_back(f);
    }
    for (Fiber* f : lanes) memcpy(f->result, of_thread_[first + f->from]->value, sizeof f->result);
    for (Fiber* f : lanes) make_ready(*f);
  }

  static bool same(Place a, Place b) { return a.line == b.line && strcmp(a.file, b.file) == 0; }

  static std::string describe(Place place) {
    const char* const slash = strrchr(place.file, '/');
    return std::string(slash ? slash + 1 : place.file) + ":" + std::to_string(place.line);
  }

  // Ends the launch: the kernel is wrong.
  void fail(const Fiber& f, const char* what, Place place) {
    problem_ = "block " + std::to_string(block_) + ": thread " + std::to_string(f.thread) + " " + what +
               " (" + describe(place) + ")";
    pause();
  }

  // Says which threads are where.
  std::string situation() const {
    std::vector<std::pair<std::string, std::vector<unsigned>>> groups;
    for (const Fiber* f : of_thread_) {
      const std::string what = f->state == State::at_barrier   ? "at the barrier " + describe(f->place)
                               : f->state == State::in_shuffle ? "in the shuffle " + describe(f->place)
                                                               : "at their end";
      const auto group = std::find_if(groups.begin(), groups.end(), [&](auto& g) { return g.first == what; });
      if (group == groups.end()) groups.push_back({what, {f->thread}});
      else group->second.push_back(f->thread);
    }
    std::string text;
    for (const auto& [what, members] : groups) {
      text += (text.empty() ? "" : "; ") + std::to_string(members.size()) + " threads (" +
              std::to_string(members[0]) + " is one) " + what;
    }
    return text;
  }

  Body body_ = nullptr;
  const void* context_ = nullptr;
  unsigned threads_ = 0, block_ = 0;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> of_thread_, ready_;
  std::vector<unsigned> haste_;  // of each warp
  Fiber* current_ = nullptr;
  ucontext_t home_;
  void* main_ = nullptr;  // to ThreadSanitizer
  const void* bottom_ = nullptr;  // of the stack of who called `run`, to AddressSanitizer
  size_t size_ = 0;
  unsigned waiting_ = 0, passed_ = 0;
  char barrier_[2], begin_, end_;  // addresses for `acquire` and `release`
  FixedShared fixed_;
  // The memory that blocks were launched with, until the end of the launch: of exact size, full of NaN.
  std::vector<std::unique_ptr<char[]>> shared_;
  std::mt19937 random_;
  std::string problem_;
};

Scheduler& scheduler() {
  static Scheduler it;
  return it;
}

void Scheduler::enter() { scheduler().live(); }

}  // namespace

Index thread_index() { return {scheduler().current().thread}; }
Index block_index() { return {scheduler().block()}; }
unsigned lane_index() { return thread_index().x % kWarpSize; }
void* shared_memory() { return scheduler().shared(); }
void barrier(Place place) { scheduler().barrier(place); }
void exchange(unsigned mask, unsigned from, void* value, size_t size, Place place) {
  scheduler().exchange(mask, from, value, size, place);
}
void pass() { scheduler().pass(); }

namespace {
std::vector<std::string> launches;
}
void remember(const char* kernel) { launches.push_back(kernel); }
std::vector<std::string> remembered() { return std::exchange(launches, {}); }

void set_seed(unsigned seed) { scheduler().set_seed(seed); }

cudaStream_t the_stream() {
  static char it;
  return reinterpret_cast<cudaStream_t>(&it);
}

cudaError_t run(unsigned blocks, unsigned threads, unsigned shared, cudaStream_t stream, Body body,
                const void* context) {
  if (stream != the_stream()) return cudaErrorInvalidResourceHandle;
  if (blocks < 1 || blocks > 0x7fffffffu || threads < 1 || threads > 1024) return cudaErrorInvalidConfiguration;
  if (shared > kMostShared) return cudaErrorInvalidValue;
  scheduler().run(blocks, threads, shared, body, context);
  return cudaSuccess;
}

}  // namespace cuda_host

cudaError_t cudaMemsetAsync(void* to, int byte, size_t count, cudaStream_t stream) {
  if (stream != cuda_host::the_stream()) return cudaErrorInvalidResourceHandle;
  memset(to, byte, count);
  return cudaSuccess;
}
