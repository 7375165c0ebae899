// One token of one sequence through all layers of a model, in one launch whose blocks stay, each with its share of every matrix.
//
// What one block makes and others read travels in words that hold a flag beside the value, so that no barrier of all blocks is needed: who needs a
// value looks until its flag is that of this token and phase. Weights are brought by a warp of their own, in the order in which they are
// taken, whatever the others wait for. Every output is one sum in one order.

/// Values, f32: plain ones that the launch finds there, or words of an earlier phase.
struct Vector {
  const void* at;
  u64 flagged;  // 0, or the number of the phase that makes them, from 1
};

/// One phase: a matrix product with what is before and behind it, or Δ's product with the step of the scan.
struct TokenPhase {
  const u16* weight;  // bf16: (m, k), or dt_proj's (m, k)
  const float* bias;  // or null
  Vector x;           // (k)
  Vector residual;    // (m), or none; of a scan z
  Vector u, B, C;     // of a scan: (m), (N), (N)
  u64* flags;         // what it makes, (m) words, or null; the convolution's in place of what that is made of
  u64* pairs;         // the same (of a convolution that alone) in bf16, two a word, or null
  float* y;           // and plain, (m), or null
  float* state;       // the convolution's (TAPS - 1, channels), or the scan's (N, m)
  const float* norm;  // the RMSNorm's weight, or null
  const float *taps, *conv_bias;  // (TAPS, channels), (channels) or null
  const float *A, *D, *dt_bias;   // (N, m), (m) or null, (m) or null
  u32 kind, k, m;
  u32 rows;             // of W, a block's; even where there are pairs
  u32 first, channels;  // of y's columns, those that are convolved
  u32 normed, softplus;
  float eps, per_k;  // 1 / k
  u32 halvings;      // a tile has TILE rows, halved so often, and chunks as many times doubled
  u32 unused;
};

/// A matrix to be brought.
struct TokenProduct {
  const u16* weight;
  u32 m;
  u16 rows;
  unsigned char chunks, halvings;
};

struct TokenParams {
  const TokenPhase* phases;
  const TokenProduct* products;
  u64* done;        // blocks that have ended, of all tokens
  const int* lens;  // or null
  u32 count, product_count;
  u32 base;    // columns of a chunk of TILE rows
  u32 stages;  // chunks that the ring holds
  u32 flight;  // chunks that are on their way at once
  u32 unused;
};

namespace {

enum Kind : u32 { PRODUCT = 0, SCAN = 1 };
/// Threads that compute, beside the warp that brings weights.
constexpr u32 THREADS = 256, WARPS = THREADS / 32;
/// Rows of W of a tile, and columns that a warp takes at once: two of the tensor cores' multiplications.
constexpr u32 TILE = 16, STEP = 32;
/// STEPs of a warp in a chunk, at most.
constexpr u32 UNITS = 3;
/// Bytes between the rows of a chunk, so that eight lanes read from different banks.
constexpr u32 PAD = 64;
constexpr u32 TAPS = 4, N = 16;
constexpr u32 MOST_K = 8192, MOST_NORMED = 2560, MOST_RANK = 160, MOST_PRODUCTS = 256, MOST_STAGES = 32;

struct Shared {
  TokenPhase phases[4];
  u64 full[MOST_STAGES], empty[MOST_STAGES];
  TokenProduct products[MOST_PRODUCTS];
  float parts[WARPS][THREADS];  // of the rows' sums, a warp's
  float squares[2][WARPS];
  float low[MOST_RANK + 2 * N];
  uint4 x[MOST_K / 8];
};

/// A place in the ring, and the parity of how often it has come round.
struct Place {
  u32 slot = 0, turn = 0;
  __device__ __forceinline__ void next(u32 stages) {
    if (++slot == stages) slot = 0, turn ^= 1;
  }
};

/// Bytes of a chunk.
__host__ __device__ __forceinline__ u32 stage_bytes(u32 base) { return TILE * (base * 2 + PAD); }

/// A barrier of the threads that compute, whose lanes may come to it one by one.
__device__ __forceinline__ void gather() {
  __syncwarp();
  barrier_sync(1, THREADS);
}

/// Values are looked at before they are needed; settle waits until they are those of this token, whose flags follow `token`.
__device__ __forceinline__ u64 look(const Vector& from, u32 i, u32 token) {
  if (!from.flagged) return u64(token) << 32 | __float_as_uint(static_cast<const float*>(from.at)[i]);
  return peek(static_cast<const u64*>(from.at) + i);
}
__device__ __forceinline__ float settle(u64 word, const Vector& from, u32 i, u32 token) {
  const u32 flag = token + u32(from.flagged);
  while (u32(word >> 32) != flag) relax(), word = peek(static_cast<const u64*>(from.at) + i);
  return __uint_as_float(u32(word));
}
__device__ __forceinline__ Flagged2 look2(const Vector& from, u32 i, u32 token) {
  if (!from.flagged) {
    const float2 two = *reinterpret_cast<const float2*>(static_cast<const float*>(from.at) + i);
    return {u64(token) << 32 | __float_as_uint(two.x), u64(token) << 32 | __float_as_uint(two.y)};
  }
  return peek2(static_cast<const u64*>(from.at) + i);
}
/// Two words, of values i and i + 1 or of four in bf16.
__device__ __forceinline__ uint2 settle(Flagged2 words, const Vector& from, u32 i, u32 token) {
  const u32 flag = token + u32(from.flagged);
  while (u32(words.a >> 32) != flag || u32(words.b >> 32) != flag) relax(), words = peek2(static_cast<const u64*>(from.at) + i);
  return make_uint2(u32(words.a), u32(words.b));
}

__device__ __forceinline__ float total(const float (&part)[WARPS]) {
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}

}  // namespace
