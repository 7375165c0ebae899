// What every kernel shares. Three compilers read it, each right before a kernel.cu: nvcc, NVRTC, and after emulator.h a C++ compiler, so it
// includes nothing. 16-bit floats are bits here, and an instruction that C++ has no word for stands in a function that emulator.h has, too.
typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;

#ifndef EMULATED
// KERNEL(add_x1, AddParams) { … p.rows … }: the one argument is p, by value. The second form says the most threads a block has, and
// may say how many blocks a multiprocessor is to have room for. From compute capability 9.0 on, the blocks of a kernel may be there before the
// kernel in front of it is done, and wait for it before they begin; those of KERNEL_EARLY begin at once, and touch nothing but what no kernel
// of a program writes before they have called inputs_ready(), which every thread has to.
#define KERNEL_EARLY(name, Params, ...)                                                                       \
  static __device__ __forceinline__ void name##_body(const Params& p);                                        \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name(const __grid_constant__ Params p) {          \
    name##_body(p);                                                                                           \
  }                                                                                                           \
  static __device__ __forceinline__ void name##_body(const Params& p)
#define KERNEL_BOUNDS(name, Params, ...)                                                                      \
  static __device__ __forceinline__ void name##_body(const Params& p);                                        \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name(const __grid_constant__ Params p) {          \
    inputs_ready();                                                                                           \
    name##_body(p);                                                                                           \
  }                                                                                                           \
  static __device__ __forceinline__ void name##_body(const Params& p)
#define KERNEL(name, Params) KERNEL_BOUNDS(name, Params, 1024)
// SHARED(float, tile, [32][33]); lies at a multiple of 16. Its contents do not matter when a block begins.
#define SHARED(type, name, ...) __shared__ __align__(16) type name __VA_ARGS__
// The launch's dynamic shared memory, at a multiple of 16.
#define DYNAMIC_SHARED(type, name)                               \
  extern __shared__ __align__(16) unsigned char dynamic_bytes[]; \
  type* const name = reinterpret_cast<type*>(dynamic_bytes)

__device__ __forceinline__ float widen_f16(u16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
/// To nearest, ties to even.
__device__ __forceinline__ u16 narrow_f16(float x) {
  u16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}

/// Waits until the kernel in front is done, and with it all those before; then lets the blocks of the next one come.
__device__ __forceinline__ void inputs_ready() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Brings what lies there nearer. A hint: what is read later is what is there then.
__device__ __forceinline__ void prefetch(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }
/// To nearest, ties to even; a NaN stays one.
__device__ __forceinline__ u16 narrow_bf16(float x) {
  u16 y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}

/// 2^x to within 2 ulp; subnormal results are 0.
__device__ __forceinline__ float ex2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// tanh(x) to within 2^-11.
__device__ __forceinline__ float tanh_approx(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// A barrier of so many of the block's threads, whole warps, by its number (1 … 15; __syncthreads is 0). One that arrives does not wait.
__device__ __forceinline__ void barrier_sync(int number, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory"); }
__device__ __forceinline__ void barrier_arrive(int number, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory"); }

/// Moves registers between the groups of four warps of a block, where the GPU can; every warp of a group calls it.
template <int COUNT>
__device__ __forceinline__ void registers_more() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}
template <int COUNT>
__device__ __forceinline__ void registers_fewer() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT));
#endif
}

/// Copies sixteen bytes from global to shared memory; both addresses are multiples of 16. What was copied is there after copies_wait, and for
/// other threads after a barrier behind that.
__device__ __forceinline__ void copy16(void* to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(u32(__cvta_generic_to_shared(to))), "l"(from) : "memory");
}
/// The same of `bytes` (0 … 16); fills the rest of the 16 with zeros.
__device__ __forceinline__ void copy16(void* to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(u32(__cvta_generic_to_shared(to))), "l"(from), "r"(bytes) : "memory");
}
/// Eight bytes, at multiples of 8.
__device__ __forceinline__ void copy8(void* to, const void* from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(u32(__cvta_generic_to_shared(to))), "l"(from) : "memory");
}
/// Makes the copies since the last call one group.
__device__ __forceinline__ void copies_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most PENDING of this thread's groups are under way.
template <int PENDING>
__device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

/// Blocks that are there together hand each other values in words that hold a flag beside them: a word is read as a whole, so that who finds the
/// flag has the value, and no fence is needed. The flag is other than what was there before. `at` is a multiple of 8.
__device__ __forceinline__ void publish(u64* at, float value, u32 flag) {
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(at), "l"(u64(flag) << 32 | __float_as_uint(value)) : "memory");
}
/// Two such words, each whole: the flag in the upper half, the value's bits in the lower. `at` is a multiple of 16.
struct Flagged2 {
  u64 a, b;
};
__device__ __forceinline__ Flagged2 peek2(const u64* at) {
  Flagged2 found;
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];" : "=l"(found.a), "=l"(found.b) : "l"(at) : "memory");
  return found;
}
/// One such word.
__device__ __forceinline__ u64 peek(const u64* at) {
  u64 word;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(word) : "l"(at) : "memory");
  return word;
}
/// Between two looks at what is not there yet. A load takes long enough by itself; the emulator lets other threads run.
__device__ __forceinline__ void relax() {}

/// A meeting is a word of shared memory at which so many arrive, and as many bytes as they tell of; then its next phase begins. One thread opens it,
/// and meetings_opened and a barrier lie before its use. A kernel of it is launched from compute capability 9.0 on.
#if __CUDA_ARCH__ >= 900
#define FROM_90(...) __VA_ARGS__
#else
#define FROM_90(...) __trap()
#endif
__device__ __forceinline__ u32 shared_address(const void* at) { return u32(__cvta_generic_to_shared(at)); }
__device__ __forceinline__ void meeting_open(u64* at, u32 arrivals) {
  FROM_90(asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(at)), "r"(arrivals) : "memory"));
}
__device__ __forceinline__ void meetings_opened() { FROM_90(asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory")); }
__device__ __forceinline__ void meeting_arrive(u64* at) {
  FROM_90(asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(shared_address(at)) : "memory"));
}
/// Arrives, and tells of bytes.
__device__ __forceinline__ void meeting_arrive(u64* at, u32 bytes) {
  FROM_90(asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(shared_address(at)), "r"(bytes) : "memory"));
}
/// Waits until its phase of this parity, which begins with 0, is over.
__device__ __forceinline__ void meeting_wait(u64* at, u32 parity) {
  FROM_90(asm volatile("{\n.reg .pred over;\nagain: mbarrier.try_wait.parity.shared.b64 over, [%0], %1;\n@!over bra again;\n}"
                       ::"r"(shared_address(at)), "r"(parity) : "memory"));
}
/// Copies from global to shared memory what is read once; all are multiples of 16. The bytes arrive at a meeting.
__device__ __forceinline__ void copy_row(void* to, const void* from, u32 bytes, u64* at) {
  FROM_90(asm volatile("{\n.reg .b64 once;\ncreatepolicy.fractional.L2::evict_first.b64 once, 1.0;\n"
                       "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], once;\n}"
                       ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(at)) : "memory"));
}

/// sum += a b of a full warp, a (16, 16), b (16, 8), sums in f32. Lane i has of a, two a word, columns 2 (i % 4) and the next in rows i / 4 and
/// i / 4 + 8, then the same eight columns on; of b the same of its rows, in column i / 4; of the sum columns 2 (i % 4) and the next in row i / 4,
/// then in row i / 4 + 8.
__device__ __forceinline__ void mma_bf16(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_f16(float (&sum)[4], const u32 (&a)[4], const u32 (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

/// Stored types, as launch.rs numbers them.
enum Stored : u32 { F32 = 0, BF16 = 1, F16 = 2 };

__device__ __forceinline__ float widen_bf16(u16 x) { return __uint_as_float(u32(x) << 16); }

/// Two floats in a word, the first in its lower half, to nearest, ties to even.
__device__ __forceinline__ u32 narrow2_bf16(float x, float y) {
#ifdef EMULATED
  return u32(narrow_bf16(x)) | u32(narrow_bf16(y)) << 16;
#else
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
  return pair;
#endif
}
__device__ __forceinline__ u32 narrow2_f16(float x, float y) { return u32(narrow_f16(x)) | u32(narrow_f16(y)) << 16; }

/// W floats that are loaded and stored as one.
template <int W>
struct Floats {
  float v[W];
};

/// W elements from `index` on, widened. With W = 4 their address is a multiple of what they take.
template <int W>
__device__ __forceinline__ Floats<W> load(const float* from, i64 index) {
  static_assert(W == 1 || W == 4, "one or four");
  Floats<W> to;
  if constexpr (W == 4) {
    const float4 x = *reinterpret_cast<const float4*>(from + index);
    to.v[0] = x.x, to.v[1] = x.y, to.v[2] = x.z, to.v[3] = x.w;
  } else {
    to.v[0] = from[index];
  }
  return to;
}
template <int W>
__device__ __forceinline__ void store(float* to, i64 index, const Floats<W>& x) {
  if constexpr (W == 4) {
    *reinterpret_cast<float4*>(to + index) = make_float4(x.v[0], x.v[1], x.v[2], x.v[3]);
  } else {
    to[index] = x.v[0];
  }
}

/// The same of a stored type. The type is the same for all threads, so that asking for it costs next to nothing.
template <int W>
__device__ __forceinline__ Floats<W> load_stored(const void* from, i64 index, u32 type) {
  if (type == F32) return load<W>(static_cast<const float*>(from), index);
  const u16* const at = static_cast<const u16*>(from) + index;
  u16 bits[W];
  if constexpr (W == 4) {
    const uint2 x = *reinterpret_cast<const uint2*>(at);
    bits[0] = u16(x.x), bits[1] = u16(x.x >> 16), bits[2] = u16(x.y), bits[3] = u16(x.y >> 16);
  } else {
    bits[0] = *at;
  }
  Floats<W> to;
  for (int i = 0; i < W; ++i) to.v[i] = type == BF16 ? widen_bf16(bits[i]) : widen_f16(bits[i]);
  return to;
}
template <int W>
__device__ __forceinline__ void store_stored(void* to, i64 index, u32 type, const Floats<W>& x) {
  if (type == F32) return store<W>(static_cast<float*>(to), index, x);
  u16* const at = static_cast<u16*>(to) + index;
  u16 bits[W];
  for (int i = 0; i < W; ++i) bits[i] = type == BF16 ? narrow_bf16(x.v[i]) : narrow_f16(x.v[i]);
  if constexpr (W == 4) {
    *reinterpret_cast<uint2*>(at) = make_uint2(u32(bits[0]) | u32(bits[1]) << 16, u32(bits[2]) | u32(bits[3]) << 16);
  } else {
    *at = bits[0];
  }
}

/// Valid positions of batch row `b`.
__device__ __forceinline__ i64 valid_length(const int* lens, i64 b, i64 l) {
  if (!lens) return l;
  const i64 length = lens[b];
  return length < 0 ? 0 : length < l ? length : l;
}
/// Whether row b · l + t, by that number, is valid. A division in 64 bits is six times as long as one in 32.
__device__ __forceinline__ bool is_valid(const int* lens, i64 row, i64 l) {
  if (!lens) return true;
  if ((row | l) >> 32 != 0) return row % l < lens[row / l];
  return int(u32(row) % u32(l)) < lens[u32(row) / u32(l)];
}

/// The sum over the lanes of a full warp, in one order, for all of them.
__device__ __forceinline__ float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xFFFFFFFFu, x, step);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, step));
  return x;
}

/// The sum over a one-dimensional block of full warps, in one order, for all threads. `parts` holds 32 floats; between two uses of it lies a
/// barrier.
__device__ __forceinline__ float block_sum(float x, float* parts) {
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  x = warp_sum(x);
  if (warps == 1) return x;
  if (lane == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_sum(lane < warps ? parts[lane] : 0.0f);
}

/// Where an id that is not in the vocabulary is reported: by its node's number + 1, so that 0 is none. The first report stays.
struct Fault {
  u32 node;
  int id;
};
__device__ __forceinline__ void report(Fault* fault, u32 node, int id) {
  if (atomicCAS(&fault->node, 0u, node + 1) == 0u) fault->id = id;
}

/// Sums of COUNT values each over the lanes of a warp, in COUNT − 1 shuffles and a few, not 5·COUNT: halves of the values are exchanged for
/// halves of the lanes. Lane i ends with the sum of value i / (32 / COUNT).
template <int COUNT, int BIT = 16>
__device__ __forceinline__ float sum_lanes(float* values, u32 lane) {
  if constexpr (COUNT > 1) {
    constexpr int HALF = COUNT / 2;
    const bool upper = lane & BIT;
#pragma unroll
    for (int i = 0; i < HALF; ++i) {
      const float keep = upper ? values[i + HALF] : values[i], send = upper ? values[i] : values[i + HALF];
      values[i] = keep + __shfl_xor_sync(0xFFFFFFFFu, send, BIT);
    }
    return sum_lanes<HALF, BIT / 2>(values, lane);
  } else {
    float sum = values[0];
    for (int bit = BIT; bit > 0; bit /= 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, bit);
    return sum;
  }
}

__device__ __forceinline__ float round_bf16(float x) { return widen_bf16(narrow_bf16(x)); }

/// How W is stored. LANE: elements of the sixteen bytes that a lane loads at once.
struct WeightF32 {
  using T = float;
  static constexpr u32 LANE = 4;
  static __device__ __forceinline__ u32 word(const T* row, u32 at, u32 k) { return at < k ? __float_as_uint(row[at]) : 0; }
  static __device__ __forceinline__ void widen(u32 word, float* to, bool rounds) {
    *to = rounds ? round_bf16(__uint_as_float(word)) : __uint_as_float(word);
  }
};
template <class Widen>
struct WeightHalf {
  using T = u16;
  static constexpr u32 LANE = 8;
  static __device__ __forceinline__ u32 word(const T* row, u32 at, u32 k) {
    return (at < k ? row[at] : 0u) | (at + 1 < k ? u32(row[at + 1]) << 16 : 0u);
  }
  static __device__ __forceinline__ void widen(u32 word, float* to, bool) { Widen::pair(word, to); }
};
struct WidenBf16 {
  static __device__ __forceinline__ void pair(u32 word, float* to) {
    to[0] = __uint_as_float(word << 16), to[1] = __uint_as_float(word & 0xFFFF0000u);
  }
};
struct WidenF16 {
  static __device__ __forceinline__ void pair(u32 word, float* to) { to[0] = widen_f16(word & 0xFFFFu), to[1] = widen_f16(word >> 16); }
};
using WeightBf16 = WeightHalf<WidenBf16>;
using WeightF16 = WeightHalf<WidenF16>;

template <class W>
__device__ __forceinline__ void widen_piece(const uint4& piece, float (&to)[W::LANE], bool rounds) {
  constexpr u32 PART = W::LANE / 4;
  W::widen(piece.x, to, rounds), W::widen(piece.y, to + PART, rounds);
  W::widen(piece.z, to + 2 * PART, rounds), W::widen(piece.w, to + 3 * PART, rounds);
}

constexpr float LOG2E = 1.44269504f;

/// 2^p within 1.5 ulp, and exact but for rounding where p is small: errors of a decay add up over the steps that a state is remembered, and a
/// single step waits for its states, not for this.
__device__ __forceinline__ float precise_exp2(float p) {
  p = fminf(fmaxf(p, -126.0f), 126.0f);
  // Adding 1.5 · 2^23 rounds to an integer, which is then in the low bits.
  const float shifted = p + 12582912.0f, r = p - (shifted - 12582912.0f);
  float q = fmaf(0.00015594677f, r, 0.00134066438f);
  q = fmaf(q, r, 0.00961769298f);
  q = fmaf(q, r, 0.0555031055f);
  q = fmaf(q, r, 0.240226528f);
  q = fmaf(q, r, 0.693147215f);
  return __int_as_float(__float_as_int(fmaf(q, r, 1.0f)) + int(__float_as_uint(shifted) << 23));
}
/// ln(1 + e^s) without the loss of either end.
__device__ __forceinline__ float precise_softplus(float s) { return fmaxf(s, 0.0f) + log1pf(expf(-fabsf(s))); }
/// SiLU to within a few ulp.
__device__ __forceinline__ float fast_silu(float x) { return __fdividef(x, 1.0f + ex2(-LOG2E * x)); }
