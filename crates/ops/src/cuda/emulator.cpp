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
/// Of a launch whose blocks are there together.
constexpr unsigned BLOCKS = 8, THREADS_TOGETHER = 512;
/// Rounds within which a thread that polls in vain does so again, whatever its block goes through in between.
constexpr unsigned PATIENCE = 64;
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
  int bytes, size, group;
};
struct Fiber {
  ucontext_t start;
  jmp_buf at;
  bool started, done;
  /// Waits while this holds that.
  const unsigned* watched;
  unsigned seen;
  const char* what;
  /// The round in which it last did nothing but wait for another block; 0 is never.
  unsigned relaxed;
  Copy copies[256];
  int count, group;
  char* stack;
};
struct Variable {
  const void* place;
  unsigned char* bytes;
  size_t size;
};

struct Barrier {
  unsigned generation;
  int arrived, threads;
};
struct Block {
  dim3 at;
  Fiber fibers[THREADS];
  Warp warps[WARPS];
  unsigned barrier_generation, barrier_arrived;
  int barrier_sum, barrier_result;
  /// 0 is __syncthreads, which the lines above are for.
  Barrier barriers[16];
  alignas(128) unsigned char memory[SHARED_BYTES + RED];
  size_t memory_used;
  Variable variables[64];
  int variable_count;
};

const Kernel* kernels = nullptr;
/// Memory that is never touched is none.
Block blocks[BLOCKS];
/// The block and the thread of it that runs.
Block* block = blocks;
unsigned current = 0;
/// Of the blocks that are there.
unsigned this_round, last_progress;
jmp_buf scheduler, launcher;
bool on_fiber = false;
const Kernel* running = nullptr;
const void* arguments = nullptr;
bool failed = false;
char message[512];

size_t dynamic_size;

unsigned thread_count() { return blockDim.x * blockDim.y * blockDim.z; }

void pause() {
  if (!_setjmp(block->fibers[current].at)) _longjmp(scheduler, 1);
}
void fiber_main() {
  for (;;) {
    running->call(arguments);
    Fiber& self = block->fibers[current];
    if (self.count > 0) fail("a thread ends with copies under way");
    self.done = true;
    progress();
    pause();
  }
}

void enter(Block& in, unsigned thread) {
  block = &in;
  current = thread;
  blockIdx = in.at;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
}

void resume(Fiber& fiber) {
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
  const size_t at = (block->memory_used + align - 1) / align * align;
  if (at + size + RED > sizeof(block->memory)) fail("more than %zu bytes of shared memory", SHARED_BYTES);
  unsigned char* const bytes = block->memory + at;
  memset(bytes + size, RED_BYTE, RED);
  block->memory_used = at + size + RED;
  return bytes;
}
void check_red(const unsigned char* end, const char* what) {
  for (size_t i = 0; i < RED; ++i) {
    if (end[i] != RED_BYTE) fail("a write past %s", what);
  }
}

void begin(Block& in, dim3 at) {
  in.at = at;
  enter(in, 0);
  // Of the block before; all of it to begin with.
  memset(in.memory, 0xFF, in.memory_used ? in.memory_used : sizeof(in.memory));
  in.memory_used = 0;
  reserve(dynamic_size, 128);
  in.variable_count = 0;
  in.barrier_generation = in.barrier_arrived = in.barrier_sum = 0;
  memset(in.barriers, 0, sizeof(in.barriers));
  for (Warp& warp : in.warps) warp.count = 0;
  for (unsigned i = 0; i < thread_count(); ++i) {
    Fiber& fiber = in.fibers[i];
    fiber.done = false, fiber.watched = nullptr, fiber.count = fiber.group = 0, fiber.relaxed = 0;
  }
}

void end(Block& in) {
  enter(in, 0);
  check_red(in.memory + dynamic_size, "the dynamic shared memory");
  for (int i = 0; i < in.variable_count; ++i) check_red(in.variables[i].bytes + in.variables[i].size, "a shared variable");
}

/// Lets each thread of the first `count` blocks run until it waits. Whether any is left; `fail` ends it.
bool round(unsigned count, bool descending) {
  const unsigned threads = thread_count(), all = count * threads;
  bool ran = false, left = false;
  unsigned stuck = all;
  ++this_round;
  for (unsigned i = 0; i < all; ++i) {
    const unsigned which = descending ? all - 1 - i : i;
    Fiber& fiber = blocks[which / threads].fibers[which % threads];
    if (fiber.done) continue;
    left = true;
    if (fiber.watched && *fiber.watched == fiber.seen) {
      stuck = which;
      continue;
    }
    // Who has not polled in vain for that long gets on. While nobody does, and nothing is written, all that is left polls for good.
    if (fiber.relaxed == 0 || this_round - fiber.relaxed > PATIENCE) last_progress = this_round;
    enter(blocks[which / threads], which % threads);
    resume(fiber);
    if (failed) return false;
    ran = true;
  }
  if (left && ran && this_round - last_progress > 2 * PATIENCE) fail("waits for blocks that never come");
  if (ran || stuck == all) return left;
  enter(blocks[stuck / threads], stuck % threads);
  fail("waits at %s for threads that never come", block->fibers[current].what);
}

/// Checks the launch, then runs its blocks; `fail` ends it.
void run(const char* name, const unsigned* grid, const unsigned* shape, size_t shared_bytes, size_t params, bool together, bool descending) {
  running = nullptr;
  for (const Kernel* kernel = kernels; kernel; kernel = kernel->next) {
    if (strcmp(kernel->name, name) != 0) continue;
    if (running) fail("two kernels have this name");
    running = kernel;
  }
  if (!running) fail("there is no such kernel");
  if (running->params != params) fail("it takes %zu bytes of parameters, not %zu", running->params, params);
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {shape[0], shape[1], shape[2]};
  const uint64_t threads = uint64_t(shape[0]) * shape[1] * shape[2], count = uint64_t(grid[0]) * grid[1] * grid[2];
  if (threads == 0 || threads > running->threads || shape[2] > 64) fail("a block of %u x %u x %u threads", shape[0], shape[1], shape[2]);
  if (count == 0 || grid[0] > 0x7FFFFFFF || grid[1] > 65535 || grid[2] > 65535) fail("a grid of %u x %u x %u", grid[0], grid[1], grid[2]);
  if (together && (count > BLOCKS || threads > THREADS_TOGETHER)) {
    fail("%u blocks of %u threads together, more than %u of %u", unsigned(count), unsigned(threads), BLOCKS, THREADS_TOGETHER);
  }
  dynamic_size = shared_bytes;
  const uint64_t there = together ? count : 1;
  for (uint64_t i = 0; i < count; i += there) {
    for (uint64_t j = 0; j < there; ++j) {
      const uint64_t at = descending && !together ? count - 1 - i : i + j;
      begin(blocks[j], {unsigned(at % grid[0]), unsigned(at / grid[0] % grid[1]), unsigned(at / grid[0] / grid[1])});
    }
    this_round = last_progress = 0;
    while (round(unsigned(there), descending)) continue;
    if (failed) return;
    for (uint64_t j = 0; j < there; ++j) end(blocks[j]);
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

void wait_while(const unsigned* watched, unsigned seen, const char* what) {
  Fiber& self = block->fibers[current];
  self.watched = watched, self.seen = seen, self.what = what;
  pause();
  self.watched = nullptr;
}
void progress() { last_progress = this_round; }
void relax() {
  block->fibers[current].relaxed = this_round;
  pause();
}

void* shared(const void* place, size_t size, size_t align) {
  for (int i = 0; i < block->variable_count; ++i) {
    if (block->variables[i].place == place) return block->variables[i].bytes;
  }
  if (block->variable_count == 64) fail("more than 64 shared variables");
  unsigned char* const bytes = reserve(size, align < 16 ? 16 : align);
  block->variables[block->variable_count++] = {place, bytes, size};
  return bytes;
}
void* dynamic_shared() { return block->memory; }

int lane() { return int(current % 32); }

int barrier(int value) {
  const unsigned generation = block->barrier_generation;
  block->barrier_sum += value;
  if (++block->barrier_arrived < thread_count()) {
    wait_while(&block->barrier_generation, generation, "__syncthreads");
  } else {
    block->barrier_result = block->barrier_sum;
    block->barrier_arrived = 0, block->barrier_sum = 0;
    ++block->barrier_generation;
  }
  return block->barrier_result;
}

void named_barrier(int number, int threads, bool waits) {
  if (number < 1 || number > 15 || threads % 32 || threads < 32 || unsigned(threads) > thread_count()) {
    fail("barrier %d of %d threads", number, threads);
  }
  Barrier& at = block->barriers[number];
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
  Warp& warp = block->warps[current / 32];
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

void copy(void* to, const void* from, int bytes, int size) {
  if (uintptr_t(to) % size || uintptr_t(from) % size) fail("copy%d from %p to %p", size, from, to);
  if (bytes < 0 || bytes > size) fail("copy%d of %d bytes", size, bytes);
  Fiber& self = block->fibers[current];
  if (self.count == 256) fail("more than 256 copies under way");
  // Until they are waited for, nothing good lies there.
  memset(to, 0xFF, size_t(size));
  self.copies[self.count++] = {to, from, bytes, size, self.group};
}
void copies_commit() { ++block->fibers[current].group; }
void copies_wait(int pending) {
  Fiber& self = block->fibers[current];
  int kept = 0;
  for (int i = 0; i < self.count; ++i) {
    const Copy copy = self.copies[i];
    if (copy.group >= self.group - pending) {
      self.copies[kept++] = copy;
      continue;
    }
    memcpy(copy.to, copy.from, size_t(copy.bytes));
    memset(static_cast<char*>(copy.to) + copy.bytes, 0, size_t(copy.size - copy.bytes));
  }
  self.count = kept;
}

}  // namespace emulator

extern "C" {

/// Runs a launch; null, or why it failed. Not for two threads at a time.
const char* emulator_run(const char* name, const unsigned* grid, const unsigned* block, unsigned shared, const void* params, size_t bytes,
                         bool together, bool descending) {
  using namespace emulator;
  failed = false;
  current = 0;
  blockIdx = {0, 0, 0};
  arguments = params;
  if (!_setjmp(launcher)) run(name, grid, block, shared, bytes, together, descending);
  // Fibers that were left where they stood are begun anew.
  for (Block* left = blocks; failed && left < blocks + BLOCKS; ++left) {
    for (unsigned i = 0; i < THREADS; ++i) left->fibers[i].started = false;
  }
  return failed ? message : nullptr;
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
