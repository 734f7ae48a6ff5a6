/* Preloaded into a test run. Each tensor of torch gets its own pages, between pages that must not be
 * touched. It ends where its last page ends or, with FENCE=before, begins where
 * its first page begins. A stray access stops the program, also one by vector gathers and masked loads
 * and stores, which sanitizers do not see. Freed memory must not be touched either. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t page = 4096, most = (size_t)1 << 24; /* pages: 64 GB of addresses */
static char *arena;
static uint32_t *pages_of; /* by first page: how many a block has */
static size_t taken = 1;

__attribute__((constructor)) static void reserve(void) {
  const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  arena = mmap(NULL, most * page, PROT_NONE, flags, -1, 0);
  pages_of = mmap(NULL, most * sizeof *pages_of, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (arena == MAP_FAILED || pages_of == MAP_FAILED) abort();
}

/* Other libraries rely on the alignment they ask for. */
static int is_torch(const void *caller) {
  Dl_info info;
  return dladdr(caller, &info) != 0 && strstr(info.dli_fname, "libc10.") != NULL;
}

int posix_memalign(void **to, size_t alignment, size_t size) {
  static int (*next)(void **, size_t, size_t);
  if (next == NULL) next = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
  if (!is_torch(__builtin_return_address(0))) return next(to, alignment, size);
  const size_t pages = (size + page - 1) / page;
  const size_t first = __atomic_fetch_add(&taken, pages + 1, __ATOMIC_RELAXED);
  char *const begin = arena + first * page;
  const char *const mode = getenv("FENCE");
  /* The alignment would leave a gap, and kernels must not rely on it. */
  if (first + pages >= most || (pages > 0 && mprotect(begin, pages * page, PROT_READ | PROT_WRITE) != 0)) {
    return ENOMEM;
  }
  pages_of[first] = (uint32_t)pages;
  *to = mode != NULL && strcmp(mode, "before") == 0 ? begin : begin + pages * page - size;
  return 0;
}

void free(void *block) {
  static void (*next)(void *);
  const size_t offset = (size_t)((char *)block - arena);
  if (arena != NULL && offset < most * page) {
    char *const begin = arena + offset / page * page;
    const size_t length = pages_of[offset / page] * page;
    madvise(begin, length, MADV_DONTNEED);
    mprotect(begin, length, PROT_NONE);
    return;
  }
  if (next == NULL) next = (void (*)(void *))dlsym(RTLD_NEXT, "free");
  next(block);
}
