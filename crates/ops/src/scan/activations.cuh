// What a scan's kernels share: parameters, stored types, what is due once a step and channel.

namespace {

constexpr float LN2 = 0.693147181f;

struct ScanParams {
  const void *u, *dt;
  const float* A;
  const void *B, *C;
  const float* D;
  const void* z;
  const float* dt_bias;
  float* state;
  const int* lens;
  void* y;
  i64 ld_u, ld_dt, ld_B, ld_C, ld_z;
  i64 b, l, e, n;
  i64 per_group;  // channels of a group
  i64 tiles;      // of a group's channels
  i64 groups;
  u32 softplus, y_type;
  u32 vectors;  // rows of all operands begin at a multiple of 16 bytes, and blocks with them
  u32 unused;
};

/// Activations in their stored width.
struct Single {
  using Raw = float;
  static constexpr u32 TYPE = F32;
  static constexpr bool TANH = false;
  static __device__ __forceinline__ float widen(Raw x) { return x; }
};
struct Half {
  using Raw = u16;
  static constexpr u32 TYPE = F16;
  static constexpr bool TANH = false;
  static __device__ __forceinline__ float widen(Raw x) { return widen_f16(x); }
};
struct Brain {
  using Raw = u16;
  static constexpr u32 TYPE = BF16;
  // Its error is a quarter of what rounding to this type is off.
  static constexpr bool TANH = true;
  static __device__ __forceinline__ float widen(Raw x) { return widen_bf16(x); }
};

template <typename Io, int SIZE>
__device__ __forceinline__ void unpack(const typename Io::Raw (&raw)[SIZE], float (&out)[SIZE]) {
  if constexpr (Io::TYPE == BF16 && SIZE % 2 == 0) {
    // Two of them are a word: a shift and a mask.
    const u32* const words = reinterpret_cast<const u32*>(raw);
#pragma unroll
    for (int i = 0; i < SIZE; i += 2) {
      out[i] = __uint_as_float(words[i / 2] << 16);
      out[i + 1] = __uint_as_float(words[i / 2] & 0xFFFF0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < SIZE; ++i) out[i] = Io::widen(raw[i]);
  }
}

/// What a block works on: channels of a group, a batch row.
struct Place {
  i64 b, group, first, width;
};
__device__ __forceinline__ Place place(const ScanParams& p, int channels) {
  i64 at = blockIdx.x;
  const i64 tile = at % p.tiles;
  at /= p.tiles;
  const i64 group = at % p.groups, left = p.per_group - tile * channels;
  return {at / p.groups, group, group * p.per_group + tile * channels, left < channels ? left : channels};
}

/// log2(1 + w) / w on [0, 1] within 1.3e-6 (2e-7 for f32). Unlike a logarithm it keeps its precision for small steps, and the multipliers have
/// room where special functions have not.
template <typename Io>
__device__ __forceinline__ float log2_1p_over(float w) {
  if constexpr (sizeof(typename Io::Raw) == 2) {
    const float q = fmaf(fmaf(0.0204011815f, w, -0.0957975373f), w, 0.215284532f);
    return fmaf(fmaf(fmaf(fmaf(q, w, -0.339089022f), w, 0.477668377f), w, -0.721159474f), w, 1.44269321f);
  } else {
    const float q = fmaf(fmaf(fmaf(-0.0123194755f, w, 0.0636078985f), w, -0.15535188f), w, 0.256009722f);
    return fmaf(fmaf(fmaf(fmaf(q, w, -0.353394828f), w, 0.480063697f), w, -0.721310088f), w, 1.44269476f);
  }
}
/// log2(1 + 2^s): softplus where both sides are times log2(e).
template <typename Io>
__device__ __forceinline__ float softplus2(float s) {
  const float w = ex2(-fabsf(s));
  return fmaf(log2_1p_over<Io>(w), w, fmaxf(s, 0.0f));
}
template <typename Io>
__device__ __forceinline__ float silu(float z) {
  if constexpr (Io::TANH) {
    const float half = 0.5f * z;
    return fmaf(half, tanh_approx(half), half);
  } else {
    return fast_silu(z);
  }
}

}  // namespace
