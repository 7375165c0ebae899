// Tiles of 16-bit or f32 values in shared memory, and small vectors of them: shared by the versions from v3 on.
#pragma once
#include "scan.cuh"

#ifndef PRECISE
#define PRECISE 0
#endif

/// Elements of a 16-byte copy.
constexpr int CHUNK = 16 / sizeof(T);

template <int SIZE>
struct alignas(sizeof(T) * SIZE) Pack {
  T at[SIZE];
};

/// Where (step, column) lies in a tile of COLUMNS columns. A lane takes four steps, so a warp reads rows t, t+4, t+8, ... together, and
/// they must fall into different banks. SWIZZLED: the chunk's index is exclusive-ored with t/4. SHIFTED: every fourth row is moved on by
/// one chunk, which leaves the offsets of later rows constant.
#ifdef SHIFTED
template <int COLUMNS>
__host__ __device__ constexpr int tile_size(int steps) { return steps * COLUMNS + steps / 4 * CHUNK; }
template <int COLUMNS>
__device__ __forceinline__ int tile_index(int step, int column) { return step * COLUMNS + step / 4 * CHUNK + column; }
#else
template <int COLUMNS>
__device__ __forceinline__ int tile_index(int step, int column) {
  constexpr int CHUNKS = COLUMNS / CHUNK;
  const int chunk = column / CHUNK, mix = step >> 2 & 7;
  if constexpr (CHUNKS % 8 == 0) return (step * CHUNKS + (chunk ^ mix)) * CHUNK + column % CHUNK;
  return ((step * CHUNKS + chunk) ^ mix) * CHUNK + column % CHUNK;
}
#endif

/// As floats. A bf16 is the upper half of its float: one shift or mask each, where the intrinsic takes two operations for the odd elements.
template <int SIZE>
__device__ __forceinline__ void unpack(const Pack<SIZE>& pack, float (&out)[SIZE]) {
  if constexpr (std::is_same_v<T, __nv_bfloat16> && SIZE % 2 == 0) {
    const uint32_t* words = reinterpret_cast<const uint32_t*>(&pack);
#pragma unroll
    for (int c = 0; c < SIZE; c += 2) {
      out[c] = __uint_as_float(words[c / 2] << 16);
      out[c + 1] = __uint_as_float(words[c / 2] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int c = 0; c < SIZE; ++c) out[c] = to_float(pack.at[c]);
  }
}

/// Four steps of SIZE neighboring columns.
template <int COLUMNS, int SIZE>
__device__ __forceinline__ void read_block(const T* tile, int step, int column, float (&out)[4][SIZE]) {
#pragma unroll
  for (int j = 0; j < 4; ++j) {  // step is a multiple of 4
#ifdef SHIFTED
    const T* from = tile + tile_index<COLUMNS>(step, column) + j * COLUMNS;
#else
    const T* from = tile + tile_index<COLUMNS>(step + j, column);
#endif
    unpack<SIZE>(*reinterpret_cast<const Pack<SIZE>*>(from), out[j]);
  }
}

/// `COUNT` (a multiple of 4) neighboring floats.
template <int COUNT>
__device__ __forceinline__ void read_floats(const float* from, float (&out)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + i);
    out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
  }
}

/// log2(1 + w) / w on [0, 1], relative error 6e-5 (16-bit types) or 2e-7: the multiplier pipe has room, the special-function unit has not,
/// and unlike lg2(1 + w) it keeps its relative precision for small steps.
__device__ __forceinline__ float log2_1p_over(float w) {
  if constexpr (sizeof(T) == 2 && !PRECISE) {
    return fmaf(fmaf(fmaf(fmaf(.0586649397f, w, -.225103025f), w, .440599033f), w, -.716714663f), w, 1.44260389f);
  }
  const float q = fmaf(fmaf(fmaf(-.0120770203f, w, .0627484336f), w, -.154152006f), w, .255176349f);
  return fmaf(fmaf(fmaf(fmaf(q, w, -.353096353f), w, .480012461f), w, -.721306757f), w, 1.44269472f);
}

/// softplus in base 2: log2(1 + 2^s), so that exp(d A) is one ex2 of this times A.
__device__ __forceinline__ float softplus2(float s) {
  const float w = ex2(-fabsf(s));
  return fmaf(log2_1p_over(w), w, fmaxf(s, 0.f));
}

__device__ __forceinline__ float silu(float z) {
  if constexpr (sizeof(T) == 4) return z * rcp(1.f + ex2(-LOG2E * z));
  const float half = .5f * z;
  return fmaf(half, tanh_approx(half), half);
}

/// A lane's place when SHARE lanes share a channel: bit 0 is the channel's lowest bit, the share p comes next, the channel's other bits
/// last. A 16-byte read of shared memory takes four wavefronts, two if lanes i and i^1, or i and i^2, agree on the address. In this order
/// both kinds of broadcast do: B and C (same p) by i^1, a channel's dt and x by i^2.
struct Place {
  int channel, p;
};
template <int SHARE>
__device__ __forceinline__ Place lane_of(int thread) {
  if constexpr (SHARE == 1) return {thread, 0};
  return {thread / (2 * SHARE) * 2 + (thread & 1), (thread >> 1) % SHARE};
}

/// Sums `v` over the SHARE lanes of a channel so that lane p ends with the sums of steps p*COUNT/SHARE ... in v[0 ...]: half the values
/// travel at each of log2(SHARE) exchanges, against all of them in a plain reduction. p is in the lane's bits from 1 up (see `lane_of`).
template <int SHARE, int COUNT>
__device__ __forceinline__ void sum_over_lanes(float (&v)[COUNT], int p) {
  int count = COUNT;
#pragma unroll
  for (int mask = SHARE / 2; mask; mask /= 2) {
    count /= 2;
#pragma unroll
    for (int j = 0; j < COUNT / 2; ++j) {
      if (j < count) {
        const bool upper = p & mask;
        const float keep = upper ? v[count + j] : v[j], give = upper ? v[j] : v[count + j];
        v[j] = keep + __shfl_xor_sync(~0u, give, 2 * mask);
      }
    }
  }
}

/// The first COUNT values, as wide a store as they allow.
template <int COUNT>
__device__ __forceinline__ void write_floats(float* to, const float* v) {
  if constexpr (COUNT % 4 == 0) {
#pragma unroll
    for (int i = 0; i < COUNT; i += 4) *reinterpret_cast<float4*>(to + i) = make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]);
  } else if constexpr (COUNT == 2) {
    *reinterpret_cast<float2*>(to) = make_float2(v[0], v[1]);
  } else {
    *to = v[0];
  }
}
