// Runs launches of emulator.h: fibers of one system thread, which change only where a kernel waits.
#include "emulator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {
namespace {

constexpr unsigned THREADS = 1024, WARPS = THREADS / 32;
constexpr size_t STACK = 128 << 10, SHARED_BYTES = 256 << 10, RED = 64;
constexpr unsigned char RED_BYTE = 0xA5;

/// A group of lanes that exchange values. Two sets of slots: who runs ahead writes into the other.
struct Group {
  unsigned mask, arrived, generation;
  const char* what;
  Slot slots[2][32];
};
struct Warp {
  int count;
  Group groups[32];
};
struct Copy {
  void* to;
  const void* from;
  int bytes, group;
};
struct Fiber {
  ucontext_t start;
  jmp_buf at;
  bool started, done;
  /// Waits while this holds that.
  const unsigned* watched;
  unsigned seen;
  const char* what;
  Copy copies[256];
  int count, group;
  char* stack;
};
struct Variable {
  const void* place;
  unsigned char* bytes;
  size_t size;
};

const Kernel* kernels = nullptr;
Fiber* fibers = nullptr;
Warp* warps = nullptr;
unsigned current = 0;
jmp_buf scheduler, launcher;
bool on_fiber = false;
const Kernel* running = nullptr;
const void* arguments = nullptr;
bool failed = false;
char message[512];

unsigned barrier_generation, barrier_arrived;
int barrier_sum, barrier_result;

struct Barrier {
  unsigned generation;
  int arrived, threads;
};
/// 0 is __syncthreads, which the lines above are for.
Barrier barriers[16];

alignas(128) unsigned char memory[SHARED_BYTES + RED];
size_t memory_used = sizeof(memory);
size_t dynamic_size;
Variable variables[64];
int variable_count;

unsigned thread_count() { return blockDim.x * blockDim.y * blockDim.z; }

void pause() {
  if (!_setjmp(fibers[current].at)) _longjmp(scheduler, 1);
}
void wait_while(const unsigned* watched, unsigned seen, const char* what) {
  Fiber& self = fibers[current];
  self.watched = watched, self.seen = seen, self.what = what;
  pause();
  self.watched = nullptr;
}

void fiber_main() {
  for (;;) {
    running->call(arguments);
    if (fibers[current].count > 0) fail("a thread ends with copies under way");
    fibers[current].done = true;
    pause();
  }
}

void resume(unsigned thread) {
  current = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
  Fiber& fiber = fibers[thread];
  if (_setjmp(scheduler)) {
    on_fiber = false;
    return;
  }
  on_fiber = true;
  if (fiber.started) _longjmp(fiber.at, 1);
  fiber.started = true;
  if (!fiber.stack) fiber.stack = static_cast<char*>(malloc(STACK));
  getcontext(&fiber.start);
  fiber.start.uc_stack.ss_sp = fiber.stack;
  fiber.start.uc_stack.ss_size = STACK;
  fiber.start.uc_link = nullptr;
  makecontext(&fiber.start, fiber_main, 0);
  setcontext(&fiber.start);
}

unsigned char* reserve(size_t size, size_t align) {
  const size_t at = (memory_used + align - 1) / align * align;
  if (at + size + RED > sizeof(memory)) fail("more than %zu bytes of shared memory", SHARED_BYTES);
  memset(memory + at + size, RED_BYTE, RED);
  memory_used = at + size + RED;
  return memory + at;
}
void check_red(const unsigned char* end, const char* what) {
  for (size_t i = 0; i < RED; ++i) {
    if (end[i] != RED_BYTE) fail("a write past %s", what);
  }
}

void run_block(bool descending) {
  const unsigned threads = thread_count();
  // Of the block before; all of it to begin with.
  memset(memory, 0xFF, memory_used);
  memory_used = 0;
  reserve(dynamic_size, 128);
  variable_count = 0;
  barrier_generation = barrier_arrived = barrier_sum = 0;
  memset(barriers, 0, sizeof(barriers));
  for (unsigned i = 0; i < WARPS; ++i) warps[i].count = 0;
  for (unsigned i = 0; i < threads; ++i) {
    fibers[i].done = false, fibers[i].watched = nullptr, fibers[i].count = fibers[i].group = 0;
  }
  for (bool waiting = true; waiting;) {
    bool progress = waiting = false;
    const Fiber* stuck = nullptr;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned thread = descending ? threads - 1 - i : i;
      Fiber& fiber = fibers[thread];
      if (fiber.done) continue;
      if (fiber.watched && *fiber.watched == fiber.seen) {
        stuck = &fiber, waiting = true;
        continue;
      }
      resume(thread);
      if (failed) return;
      progress = true;
      waiting = waiting || !fiber.done;
    }
    if (!progress && stuck) fail("thread %zu waits at %s for threads that never come", size_t(stuck - fibers), stuck->what);
  }
  check_red(memory + dynamic_size, "the dynamic shared memory");
  for (int i = 0; i < variable_count; ++i) check_red(variables[i].bytes + variables[i].size, "a shared variable");
}

/// Checks the launch, then runs its blocks; `fail` ends it.
void run(const char* name, const unsigned* grid, const unsigned* block, size_t shared_bytes, size_t params, bool descending) {
  running = nullptr;
  for (const Kernel* kernel = kernels; kernel; kernel = kernel->next) {
    if (strcmp(kernel->name, name) != 0) continue;
    if (running) fail("two kernels have this name");
    running = kernel;
  }
  if (!running) fail("there is no such kernel");
  if (running->params != params) fail("it takes %zu bytes of parameters, not %zu", running->params, params);
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  const uint64_t threads = uint64_t(block[0]) * block[1] * block[2], blocks = uint64_t(grid[0]) * grid[1] * grid[2];
  if (threads == 0 || threads > running->threads || block[2] > 64) fail("a block of %u x %u x %u threads", block[0], block[1], block[2]);
  if (blocks == 0 || grid[0] > 0x7FFFFFFF || grid[1] > 65535 || grid[2] > 65535) fail("a grid of %u x %u x %u", grid[0], grid[1], grid[2]);
  dynamic_size = shared_bytes;
  for (uint64_t i = 0; i < blocks && !failed; ++i) {
    const uint64_t at = descending ? blocks - 1 - i : i;
    blockIdx = {unsigned(at % grid[0]), unsigned(at / grid[0] % grid[1]), unsigned(at / grid[0] / grid[1])};
    run_block(descending);
  }
}

}  // namespace

void fail(const char* format, ...) {
  va_list list;
  va_start(list, format);
  const int length = snprintf(message, sizeof(message), "%s, block (%u, %u, %u), thread %u: ", running ? running->name : "launch", blockIdx.x,
                              blockIdx.y, blockIdx.z, current);
  vsnprintf(message + length, sizeof(message) - size_t(length), format, list);
  va_end(list);
  failed = true;
  _longjmp(on_fiber ? scheduler : launcher, 1);
}

Kernel::Kernel(const char* name, size_t params, unsigned threads, void (*call)(const void*))
    : name(name), params(params), threads(threads), call(call), next(kernels) {
  kernels = this;
}

void* shared(const void* place, size_t size, size_t align) {
  for (int i = 0; i < variable_count; ++i) {
    if (variables[i].place == place) return variables[i].bytes;
  }
  if (variable_count == 64) fail("more than 64 shared variables");
  unsigned char* const bytes = reserve(size, align < 16 ? 16 : align);
  variables[variable_count++] = {place, bytes, size};
  return bytes;
}
void* dynamic_shared() { return memory; }

int lane() { return int(current % 32); }

int barrier(int value) {
  const unsigned generation = barrier_generation;
  barrier_sum += value;
  if (++barrier_arrived < thread_count()) {
    wait_while(&barrier_generation, generation, "__syncthreads");
  } else {
    barrier_result = barrier_sum;
    barrier_arrived = 0, barrier_sum = 0;
    ++barrier_generation;
  }
  return barrier_result;
}

void named_barrier(int number, int threads, bool waits) {
  if (number < 1 || number > 15 || threads % 32 || threads < 32 || unsigned(threads) > thread_count()) {
    fail("barrier %d of %d threads", number, threads);
  }
  Barrier& at = barriers[number];
  if (at.arrived == 0) at.threads = threads;
  if (at.threads != threads) fail("barrier %d of %d threads, while others wait for %d", number, threads, at.threads);
  const unsigned generation = at.generation;
  if (++at.arrived == threads) {
    at.arrived = 0;
    ++at.generation;
  } else if (waits) {
    wait_while(&at.generation, generation, "a barrier of some threads");
  }
}

const Slot* exchange(unsigned mask, const void* value, size_t size, const char* what) {
  const unsigned bit = 1u << lane(), first = current / 32 * 32, present = thread_count() - first;
  if (!(mask & bit)) fail("%s with mask %08x, which has not lane %d", what, mask, lane());
  if (present < 32 && mask >> present) fail("%s with mask %08x in a warp of %u threads", what, mask, present);
  Warp& warp = warps[current / 32];
  Group* group = warp.groups;
  while (group < warp.groups + warp.count && group->mask != mask) ++group;
  if (group == warp.groups + warp.count) {
    if (warp.count++ == 32) fail("a warp with more than 32 masks");
    group->mask = mask, group->arrived = 0, group->generation = 0;
  }
  if (group->arrived == 0) group->what = what;
  if (group->what != what) fail("%s, while other lanes of the warp are at %s", what, group->what);
  Slot* const slots = group->slots[group->generation & 1];
  memcpy(slots[lane()].bytes, value, size);
  group->arrived |= bit;
  if (group->arrived == mask) {
    group->arrived = 0;
    ++group->generation;
  } else {
    wait_while(&group->generation, group->generation, what);
  }
  return slots;
}

void copy16(void* to, const void* from, int bytes) {
  if (uintptr_t(to) % 16 || uintptr_t(from) % 16) fail("copy16 from %p to %p", from, to);
  if (bytes < 0 || bytes > 16) fail("copy16 of %d bytes", bytes);
  Fiber& self = fibers[current];
  if (self.count == 256) fail("more than 256 copies under way");
  // Until they are waited for, nothing good lies there.
  memset(to, 0xFF, 16);
  self.copies[self.count++] = {to, from, bytes, self.group};
}
void copies_commit() { ++fibers[current].group; }
void copies_wait(int pending) {
  Fiber& self = fibers[current];
  int kept = 0;
  for (int i = 0; i < self.count; ++i) {
    const Copy copy = self.copies[i];
    if (copy.group >= self.group - pending) {
      self.copies[kept++] = copy;
      continue;
    }
    memcpy(copy.to, copy.from, size_t(copy.bytes));
    memset(static_cast<char*>(copy.to) + copy.bytes, 0, size_t(16 - copy.bytes));
  }
  self.count = kept;
}

}  // namespace emulator

float widen_f16(unsigned short x) {
  const unsigned sign = unsigned(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 1023;
  if (exponent == 31) return __uint_as_float(sign | 0x7F800000 | fraction << 13 | (fraction ? 0x400000 : 0));
  if (exponent == 0) return __uint_as_float(sign | __float_as_uint(float(fraction) * 0x1p-24f));
  return __uint_as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

unsigned short narrow_f16(float x) {
  const unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return (unsigned short)(0x7FFF);
  if (magnitude >= 0x477FF000) return (unsigned short)(sign | 0x7C00);
  // A sum with this rounds away what an f16 has no place for: the spacing of its smallest numbers, or ten bits below the first.
  const unsigned exponent = magnitude < 0x38800000 ? 113 : magnitude >> 23;
  const float scale = __uint_as_float((exponent + 13) << 23), rounded = (__uint_as_float(magnitude) + scale) - scale;
  const unsigned wide = __float_as_uint(rounded);
  if (rounded < 0x1p-14f) return (unsigned short)(sign | unsigned(rounded * 0x1p24f));
  return (unsigned short)(sign | (wide - (112u << 23)) >> 13);
}

extern "C" {

/// Runs a launch; null, or why it failed. Not for two threads at a time.
const char* emulator_run(const char* name, const unsigned* grid, const unsigned* block, unsigned shared, const void* params, size_t bytes,
                         bool descending) {
  using namespace emulator;
  if (!fibers) {
    fibers = static_cast<Fiber*>(calloc(THREADS, sizeof(Fiber)));
    warps = static_cast<Warp*>(calloc(WARPS, sizeof(Warp)));
  }
  failed = false;
  current = 0;
  blockIdx = {0, 0, 0};
  arguments = params;
  if (!_setjmp(launcher)) run(name, grid, block, shared, bytes, descending);
  // Fibers that were left where they stood are begun anew.
  for (unsigned i = 0; failed && i < THREADS; ++i) fibers[i].started = false;
  return failed ? message : nullptr;
}

struct Gemm {
  size_t rows, k, m;
  const unsigned short* x;
  size_t ldx;
  const unsigned short* weight;
  uint64_t half;
  void* y;
  size_t ldy;
  uint64_t narrow;
  const float *bias, *residual;
  size_t ldr;
};
/// The product that cuBLASLt would make.
void emulator_gemm(const Gemm* gemm) {
  const auto widen = [=](unsigned short x) { return gemm->half ? widen_f16(x) : __uint_as_float(unsigned(x) << 16); };
  for (size_t row = 0; row < gemm->rows; ++row) {
    for (size_t column = 0; column < gemm->m; ++column) {
      const size_t at = row * gemm->ldy + column;
      float sum = 0;
      for (size_t i = 0; i < gemm->k; ++i) sum += widen(gemm->x[row * gemm->ldx + i]) * widen(gemm->weight[column * gemm->k + i]);
      if (gemm->residual) sum += gemm->residual[row * gemm->ldr + column];
      if (gemm->bias) sum += gemm->bias[column];
      const unsigned bits = __float_as_uint(sum);
      if (gemm->narrow) {
        static_cast<unsigned short*>(gemm->y)[at] = sum == sum ? (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 : 0x7FC0;
      } else {
        static_cast<float*>(gemm->y)[at] = sum;
      }
    }
  }
}

// What the compiler's checks call.
struct Place {
  const char* file;
  unsigned line, column;
};
struct TypeMismatch {
  Place place;
  const void* type;
  unsigned char log_alignment, kind;
};
void __ubsan_handle_type_mismatch_v1_abort(TypeMismatch* data, uintptr_t address) {
  emulator::fail("%s:%u: %#zx is not a multiple of %u", data->place.file, data->place.line, size_t(address), 1u << data->log_alignment);
}
void __ubsan_handle_out_of_bounds_abort(Place* place, uintptr_t index) {
  emulator::fail("%s:%u: index %zd is outside of the array", place->file, place->line, ptrdiff_t(index));
}
}
