// Selective scan: see mod.rs for the equations. Two ways through a sequence:
//
//   walk    states in registers, tile by tile: walk.cuh, which is before this
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

constexpr int COLUMNS = 32;  // of a block that steps


template <typename Io>
__device__ __forceinline__ float read(const void* from, i64 index) {
  return Io::widen(static_cast<const typename Io::Raw*>(from)[index]);
}

/// All steps with the states in memory, shared out over the threads in y.
template <typename Io>
__device__ __forceinline__ void step(const ScanParams& p) {
  constexpr int TOGETHER = 4;  // loads on their way at once
  SHARED(float, sums, [16][COLUMNS]);
  const Place at = place(p, COLUMNS);
  const int column = threadIdx.x, share = threadIdx.y, shares = blockDim.y;
  const i64 c = at.first + column, valid = valid_length(p.lens, at.b, p.l);
  const bool in = column < at.width;
  for (i64 t = 0; t < valid; ++t) {
    const i64 row = at.b * p.l + t;
    float sum = 0.0f, u = 0.0f;
    if (in) {
      u = read<Io>(p.u, row * p.ld_u + c);
      float delta = read<Io>(p.dt, row * p.ld_dt + c) + (p.dt_bias ? p.dt_bias[c] : 0.0f);
      // ln(1 + e^s) without the loss of either end.
      if (p.softplus) delta = fmaxf(delta, 0.0f) + log1pf(expf(-fabsf(delta)));
      const float delta_u = delta * u;
      delta *= LOG2E;
      for (i64 n = share; n < p.n; n += TOGETHER * shares) {
        float A[TOGETHER], h[TOGETHER], B[TOGETHER], C[TOGETHER];
#pragma unroll
        for (int i = 0; i < TOGETHER; ++i) {
          const i64 own = n + i * shares, of_group = at.group * p.n + own;
          const bool more = own < p.n;
          A[i] = more ? p.A[own * p.e + c] : 0.0f;
          h[i] = more ? p.state[(at.b * p.n + own) * p.e + c] : 0.0f;
          B[i] = more ? read<Io>(p.B, row * p.ld_B + of_group) : 0.0f;
          C[i] = more ? read<Io>(p.C, row * p.ld_C + of_group) : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < TOGETHER; ++i) {
          const i64 own = n + i * shares;
          h[i] = fmaf(precise_exp2(delta * A[i]), h[i], delta_u * B[i]);
          sum = fmaf(C[i], h[i], sum);
          if (own < p.n) p.state[(at.b * p.n + own) * p.e + c] = h[i];
        }
      }
    }
    sums[share][column] = sum;
    __syncthreads();
    if (in && share == 0) {
      for (int i = 1; i < shares; ++i) sum += sums[i][column];
      const float gate = p.z ? silu<Single>(read<Io>(p.z, row * p.ld_z + c)) : 1.0f;
      store_stored<1>(p.y, row * p.e + c, p.y_type, {{(p.D ? fmaf(p.D[c], u, sum) : sum) * gate}});
    }
    __syncthreads();
  }
}

}  // namespace

// Grid as there, of 32 channels; up to 16 shares of the states.
KERNEL_BOUNDS(scan_step_f32, ScanParams, 16 * COLUMNS) { step<Single>(p); }
KERNEL_BOUNDS(scan_step_bf16, ScanParams, 16 * COLUMNS) { step<Brain>(p); }
KERNEL_BOUNDS(scan_step_f16, ScanParams, 16 * COLUMNS) { step<Half>(p); }
