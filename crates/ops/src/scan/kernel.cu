// Selective scan: see mod.rs for the equations. Two ways through a sequence:
//
//   walk    states in registers, tile by tile: helper.cuh and walker.cuh, which are before this
//   step    states stay in memory: for a single step, where each is touched once, and for any number of states
//
// Channels of a block lie in one group, so that they share B and C.

// Where batch x channels fill the GPU, few lanes share a channel and blocks are wide; else the steps' parallelism is what there is, and many
// lanes take one. A wide block's registers go where they are needed.
#define WALK(name, Io, N, LANES, CHANNELS, STEPS, GROUP, WIDE, STAGES, BLOCKS, WALKING, HELPING)                                          \
  KERNEL_BOUNDS(scan_##name, ScanParams, 128 + CHANNELS * LANES, BLOCKS) {                                                               \
    walk<Shape<Io, N, LANES, CHANNELS, STEPS, GROUP, WIDE, STAGES>, WALKING, HELPING>(p);                                                \
  }
#define WALKS(type, Io, STAGES)                                         \
  WALK(wide_##type, Io, 16, 2, 64, 32, 8, 4, STAGES, 2, 160, 96)        \
  WALK(long_##type, Io, 16, 8, 16, 64, 16, 2, 3, 1, 0, 0)               \
  WALK(n8_##type, Io, 8, 4, 32, 32, 8, 2, 3, 2, 0, 0)                   \
  WALK(n32_##type, Io, 32, 8, 16, 32, 8, 1, 3, 2, 0, 0)                 \
  WALK(n64_##type, Io, 64, 8, 16, 32, 8, 1, 2, 1, 0, 0)                 \
  WALK(n128_##type, Io, 128, 16, 16, 32, 16, 1, 2, 1, 0, 0)

// Grid: one block for the channels that it takes, each batch row.
WALKS(f32, Single, 2)
WALKS(bf16, Brain, 3)
WALKS(f16, Half, 3)

namespace {

template <typename Io>
__device__ __forceinline__ float read(const void* from, i64 index) {
  return Io::widen(static_cast<const typename Io::Raw*>(from)[index]);
}

/// All steps with the states in memory. A thread has W neighboring channels, and of their states the share of its y.
template <typename Io, int W>
__device__ __forceinline__ void step(const ScanParams& p) {
  constexpr int TOGETHER = 4;  // loads on their way at once
  SHARED(Floats<W>, sums, [16][32]);
  const Place at = place(p, 32 * W);
  const int share = threadIdx.y, shares = blockDim.y;
  const i64 c = at.first + threadIdx.x * W, valid = valid_length(p.lens, at.b, p.l);
  const bool in = threadIdx.x * W < at.width;
  for (i64 t = 0; t < valid; ++t) {
    const i64 row = at.b * p.l + t;
    Floats<W> sum = {}, u = {};
    if (in) {
      u = load_stored<W>(p.u, row * p.ld_u + c, Io::TYPE);
      Floats<W> delta = load_stored<W>(p.dt, row * p.ld_dt + c, Io::TYPE), delta_u;
#pragma unroll
      for (int k = 0; k < W; ++k) {
        const float s = delta.v[k] + (p.dt_bias ? p.dt_bias[c + k] : 0.0f);
        const float d = p.softplus ? precise_softplus(s) : s;
        delta.v[k] = d * LOG2E, delta_u.v[k] = d * u.v[k];
      }
      for (i64 n = share; n < p.n; n += TOGETHER * shares) {
        Floats<W> A[TOGETHER], h[TOGETHER];
        float B[TOGETHER], C[TOGETHER];
#pragma unroll
        for (int i = 0; i < TOGETHER; ++i) {
          const i64 own = n + i * shares, of_group = at.group * p.n + own;
          const bool more = own < p.n;
          A[i] = more ? load<W>(p.A, own * p.e + c) : Floats<W>{};
          h[i] = more ? load<W>(p.state, (at.b * p.n + own) * p.e + c) : Floats<W>{};
          B[i] = more ? read<Io>(p.B, row * p.ld_B + of_group) : 0.0f;
          C[i] = more ? read<Io>(p.C, row * p.ld_C + of_group) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < TOGETHER; ++i) {
          const i64 own = n + i * shares;
#pragma unroll
          for (int k = 0; k < W; ++k) {
            h[i].v[k] = fmaf(precise_exp2(delta.v[k] * A[i].v[k]), h[i].v[k], delta_u.v[k] * B[i]);
            sum.v[k] = fmaf(C[i], h[i].v[k], sum.v[k]);
          }
          if (own < p.n) store<W>(p.state, (at.b * p.n + own) * p.e + c, h[i]);
        }
      }
    }
    sums[share][threadIdx.x] = sum;
    __syncthreads();
    if (in && share == 0) {
      for (int i = 1; i < shares; ++i) {
#pragma unroll
        for (int k = 0; k < W; ++k) sum.v[k] += sums[i][threadIdx.x].v[k];
      }
      const Floats<W> z = p.z ? load_stored<W>(p.z, row * p.ld_z + c, Io::TYPE) : Floats<W>{};
#pragma unroll
      for (int k = 0; k < W; ++k) {
        sum.v[k] = (p.D ? fmaf(p.D[c + k], u.v[k], sum.v[k]) : sum.v[k]) * (p.z ? silu<Single>(z.v[k]) : 1.0f);
      }
      store_stored<W>(p.y, row * p.e + c, p.y_type, sum);
    }
    __syncthreads();
  }
}

}  // namespace

// Grid as there, of 32 channels or of 128; up to 16 shares of the states.
#define STEPS(type, Io)                                                        \
  KERNEL_BOUNDS(scan_step_##type, ScanParams, 16 * 32) { step<Io, 1>(p); }     \
  KERNEL_BOUNDS(scan_step4_##type, ScanParams, 16 * 32) { step<Io, 4>(p); }
STEPS(f32, Single)
STEPS(bf16, Brain)
STEPS(f16, Half)
