// CUDA as a C++ compiler sees it: kernels run on fibers, one block after another, or a few that wait for each other, so that tests of kernels need
// no GPU. Stricter than one: a misaligned vector, a barrier, shuffle or value that some thread waits for in vain, a write past shared memory end
// the launch with a message. Shared memory is NaN when a block begins.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EMULATED
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(4) ushort2 { unsigned short x, y; };
struct alignas(8) ushort4 { unsigned short x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emulator {

/// Ends the launch with a message.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

/// A kernel enters the list when the program starts.
struct Kernel {
  const char* name;
  size_t params;
  unsigned threads;
  void (*call)(const void* params);
  const Kernel* next;
  Kernel(const char* name, size_t params, unsigned threads, void (*call)(const void*));
};

constexpr unsigned first(unsigned threads, unsigned = 0) { return threads; }

/// The block's memory for the variable that is declared at `place`.
void* shared(const void* place, size_t size, size_t align);
void* dynamic_shared();

/// The same of `threads` threads at the barrier of this number; who only arrives does not wait.
void named_barrier(int number, int threads, bool waits);

/// Of this thread in its warp.
int lane();
/// Returns when every thread of the block has called it: the sum of what they gave.
int barrier(int value);

struct alignas(16) Slot {
  unsigned char bytes[64];
};
/// Returns when every lane of the mask has called it: what each gave. Good until this lane's next call.
const Slot* exchange(unsigned mask, const void* value, size_t size, const char* what);

template <typename T>
T shuffle(unsigned mask, T value, int from, const char* what) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  const Slot* slots = exchange(mask, &value, sizeof(T), what);
  if (!(mask >> from & 1)) fail("%s reads lane %d, which mask %08x has not", what, from, mask);
  memcpy(&value, slots[from].bytes, sizeof(T));
  return value;
}

/// `bytes` of `size`, the rest zeros.
void copy(void* to, const void* from, int bytes, int size);
void copies_commit();
void copies_wait(int pending);

/// Of this thread, while that is there.
void wait_while(const unsigned* watched, unsigned seen, const char* what);
void meeting_open(unsigned long long* at, unsigned arrivals);
void meeting_arrive(unsigned long long* at, unsigned bytes);
void meeting_wait(unsigned long long* at, unsigned parity);
void copy_row(void* to, const void* from, unsigned bytes, unsigned long long* at);

/// Another block may wait for what was written.
void progress();
/// Lets the other threads run.
void relax();

/// The product of common.cuh, of bf16 or of f16.
void mma(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2], bool half);

}  // namespace emulator

#define KERNEL(name, Params) KERNEL_BOUNDS(name, Params, 1024)
#define KERNEL_BOUNDS(name, Params, ...)                                                                     \
  static void name(const Params p);                                                                          \
  static void name##_call(const void* p) { name(*static_cast<const Params*>(p)); }                           \
  static emulator::Kernel name##_kernel(#name, sizeof(Params), emulator::first(__VA_ARGS__), name##_call);   \
  static void name(const Params p)
#define KERNEL_EARLY KERNEL_BOUNDS
#define SHARED(type, name, ...)                                                             \
  using name##_type = type __VA_ARGS__;                                                     \
  static char name##_place;                                                                 \
  auto& name = *static_cast<name##_type*>(emulator::shared(&name##_place, sizeof(name##_type), alignof(name##_type)))
#define DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(emulator::dynamic_shared())

inline void __syncthreads() { emulator::barrier(0); }
inline int __syncthreads_count(int x) { return emulator::barrier(x != 0); }
inline int __syncthreads_or(int x) { return emulator::barrier(x != 0) != 0; }
inline int __syncthreads_and(int x) { return emulator::barrier(x == 0) == 0; }
inline void __syncwarp(unsigned mask = ~0u) { emulator::exchange(mask, "", 0, "__syncwarp"); }
inline void __threadfence() {}
inline void __threadfence_block() {}

template <typename T>
T __shfl_sync(unsigned mask, T x, int from, int width = 32) {
  return emulator::shuffle(mask, x, (emulator::lane() & -width) | (from & (width - 1)), "__shfl_sync");
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T x, int with, int width = 32) {
  const int lane = emulator::lane(), from = lane ^ with;
  return emulator::shuffle(mask, x, from >= (lane & -width) + width ? lane : from, "__shfl_xor_sync");
}
template <typename T>
T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = 32) {
  const int lane = emulator::lane(), from = lane - int(by);
  return emulator::shuffle(mask, x, from < (lane & -width) ? lane : from, "__shfl_up_sync");
}
template <typename T>
T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32) {
  const int lane = emulator::lane(), from = lane + int(by);
  return emulator::shuffle(mask, x, from >= (lane & -width) + width ? lane : from, "__shfl_down_sync");
}
inline unsigned __ballot_sync(unsigned mask, int x) {
  const unsigned one = x != 0;
  const emulator::Slot* slots = emulator::exchange(mask, &one, sizeof(one), "__ballot_sync");
  unsigned bits = 0;
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) bits |= unsigned(slots[i].bytes[0]) << i;
  }
  return bits;
}
inline int __any_sync(unsigned mask, int x) { return __ballot_sync(mask, x) != 0; }
inline int __all_sync(unsigned mask, int x) { return __ballot_sync(mask, x) == mask; }

// Threads change only where they wait, so that what one does in between is atomic.
template <typename T, typename F>
T exchange_at(T* at, F change) {
  const T old = *at;
  *at = change(old);
  if (*at != old) emulator::progress();
  return old;
}
template <typename T>
T atomicCAS(T* at, T wanted, T x) { return exchange_at(at, [=](T old) { return old == wanted ? x : old; }); }
template <typename T>
T atomicAdd(T* at, T x) {
  static_assert(T(0.5) == T(0), "the sum of floats would depend on the order of threads");
  return exchange_at(at, [=](T old) { return T(old + x); });
}
template <typename T>
T atomicMax(T* at, T x) { return exchange_at(at, [=](T old) { return old < x ? x : old; }); }
template <typename T>
T atomicMin(T* at, T x) { return exchange_at(at, [=](T old) { return x < old ? x : old; }); }
template <typename T>
T atomicOr(T* at, T x) { return exchange_at(at, [=](T old) { return old | x; }); }
template <typename T>
T atomicExch(T* at, T x) { return exchange_at(at, [=](T) { return x; }); }

template <typename T>
T __ldg(const T* at) { return *at; }
template <typename T>
T __ldcs(const T* at) { return *at; }
template <typename T>
void __stcs(T* at, T x) { *at = x; }

template <typename To, typename From>
To bits_as(From x) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  memcpy(&to, &x, sizeof(to));
  return to;
}
inline float __uint_as_float(unsigned x) { return bits_as<float>(x); }
inline unsigned __float_as_uint(float x) { return bits_as<unsigned>(x); }
inline float __int_as_float(int x) { return bits_as<float>(x); }
inline int __float_as_int(float x) { return bits_as<int>(x); }
inline long long __double_as_longlong(double x) { return bits_as<long long>(x); }
inline double __longlong_as_double(long long x) { return bits_as<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __umulhi(unsigned x, unsigned y) { return unsigned((unsigned long long)x * y >> 32); }

template <typename T>
T min(T x, T y) { return y < x ? y : x; }
template <typename T>
T max(T x, T y) { return x < y ? y : x; }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }

// The twins of common.cuh.
float widen_f16(unsigned short x);
unsigned short narrow_f16(float x);
inline unsigned short narrow_bf16(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return 0x7FFF;
  return (unsigned short)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
inline float ex2(float x) {
  const float y = exp2f(x);
  return y < 0x1p-126f ? 0.0f : y;
}
inline float tanh_approx(float x) { return tanhf(x); }
inline void barrier_sync(int number, int threads) { emulator::named_barrier(number, threads, true); }
inline void barrier_arrive(int number, int threads) { emulator::named_barrier(number, threads, false); }
template <int COUNT>
void registers_more() {}
template <int COUNT>
void registers_fewer() {}
inline void inputs_ready() {}
inline void prefetch(const void*) {}
inline void copy16(void* to, const void* from, int bytes = 16) { emulator::copy(to, from, bytes, 16); }
inline void copy8(void* to, const void* from) { emulator::copy(to, from, 8, 8); }
inline void copies_commit() { emulator::copies_commit(); }
template <int PENDING>
void copies_wait() { emulator::copies_wait(PENDING); }
inline void publish(unsigned long long* at, float value, unsigned flag) {
  *at = (unsigned long long)(flag) << 32 | __float_as_uint(value);
  emulator::progress();
}
struct Flagged2 { unsigned long long a, b; };
inline Flagged2 peek2(const unsigned long long* at) {
  if (uintptr_t(at) % 16) emulator::fail("peek2 of %p", static_cast<const void*>(at));
  return {at[0], at[1]};
}
inline unsigned long long peek(const unsigned long long* at) { return *at; }
inline void relax() { emulator::relax(); }
inline void meeting_open(unsigned long long* at, unsigned arrivals) { emulator::meeting_open(at, arrivals); }
inline void meetings_opened() {}
inline void meeting_arrive(unsigned long long* at, unsigned bytes = 0) { emulator::meeting_arrive(at, bytes); }
inline void meeting_wait(unsigned long long* at, unsigned parity) { emulator::meeting_wait(at, parity); }
inline void copy_row(void* to, const void* from, unsigned bytes, unsigned long long* at) { emulator::copy_row(to, from, bytes, at); }
inline void mma_bf16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emulator::mma(sum, a, b, false); }
inline void mma_f16(float (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emulator::mma(sum, a, b, true); }
