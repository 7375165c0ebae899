// Selective scan: see mod.rs for the equations. Three ways through a sequence:
//
//   step    states stay in memory: for a single step, where each is touched once, and for any number of states
//   walk    a block takes 32 channels, LANES threads a channel, each with N / LANES states in registers, through tiles of STEPS steps. What
//           is computed once a step and channel (softplus, gate) is computed by the thread that loads it; B and C of a tile lie in shared
//           memory and are read as broadcasts
//   carry, combine, walk
//           where batch x channels leaves multiprocessors idle, the sequence is cut into chunks. A chunk maps the state h before it to
//           exp(A sum of delta) h + carry; carry finds each chunk's numbers from h = 0, combine the h before each, and walk goes through
//           all chunks at once
//
// Channels of a block lie in one group, so that they share B and C. Steps behind the last valid one get delta = 0, which leaves h alone.

namespace {

constexpr int CHANNELS = 32;
constexpr int STEPS = 16;
constexpr float LOG2E = 1.44269504f;

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
  float* carries;  // (b, chunks, n, e): h after a chunk from 0, then h before it
  float* deltas;   // (b, chunks, e): sum of delta log2(e)
  i64 ld_u, ld_dt, ld_B, ld_C, ld_z;
  i64 b, l, e, n;
  i64 per_group;        // channels of a group
  i64 tiles;            // of a group's channels
  i64 groups;
  i64 chunk, chunks;    // steps of a chunk
  u32 softplus, y_type;
};

/// Activations as f32. 2^p within 1.5 ulp, and exact but for rounding where p is small: errors of a decay add up over the steps that a state
/// is remembered, and those of ex2.approx would show in 24 bits.
struct Single {
  using Raw = float;
  static __device__ __forceinline__ float widen(float x) { return x; }
  static __device__ __forceinline__ float exp2(float p) {
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
};

/// A channel's numbers at a step.
struct Step {
  float delta;  // times log2(e)
  float x;      // delta u
};

template <typename Io>
__device__ __forceinline__ float read(const void* from, i64 index) {
  return Io::widen(static_cast<const typename Io::Raw*>(from)[index]);
}
__device__ __forceinline__ void write(const ScanParams& p, i64 index, float x) { store_stored<1>(p.y, index, p.y_type, {{x}}); }

/// ln(1 + e^s) without the loss of either end; above 20 it is s.
__device__ __forceinline__ Step discretize(const ScanParams& p, float s, float u) {
  const float delta = p.softplus ? fmaxf(s, 0.0f) + log1pf(expf(-fabsf(s))) : s;
  return {delta * LOG2E, delta * u};
}
__device__ __forceinline__ float silu(float z) { return z / (1.0f + expf(-z)); }

/// What a block works on: 32 channels of a group, a batch row, a chunk.
struct Place {
  i64 b, chunk, group, first, width;
};
__device__ __forceinline__ Place place(const ScanParams& p) {
  i64 at = blockIdx.x;
  const i64 tile = at % p.tiles;
  at /= p.tiles;
  const i64 group = at % p.groups;
  at /= p.groups;
  const i64 left = p.per_group - tile * CHANNELS;
  return {at / p.chunks, at % p.chunks, group, group * p.per_group + tile * CHANNELS, left < CHANNELS ? left : CHANNELS};
}

/// Of `SPAN` values, one a step, each of SPAN lanes gives its share; returns the sum of step `lane`. Lanes of a channel are 2 apart.
template <int SPAN>
__device__ __forceinline__ float sum_over_lanes(float (&v)[SPAN], int lane) {
#pragma unroll
  for (int bit = 1; bit < SPAN; bit *= 2) {
    const bool odd = lane & bit;
#pragma unroll
    for (int i = 0; i < SPAN / 2 / bit; ++i) {
      const float keep = odd ? v[2 * i + 1] : v[2 * i], give = odd ? v[2 * i] : v[2 * i + 1];
      v[i] = keep + __shfl_xor_sync(0xFFFFFFFFu, give, 2 * bit);
    }
  }
  return v[0];
}

template <typename Io, int N, int LANES, bool CARRY>
struct Walk {
  static constexpr int THREADS = CHANNELS * LANES, OWN = N / LANES, ROWS = STEPS / LANES, SHARED_BC = STEPS * N, BC = SHARED_BC / THREADS;
  // Rows of sums that the lanes of a channel write at once begin in different banks.
  static constexpr int SUMS = CHANNELS + 32 / LANES;
  static_assert(OWN % 4 == 0 && STEPS % LANES == 0 && SHARED_BC % THREADS == 0 && 2 * LANES <= 32, "shares are equal");

  const ScanParams& p;
  const Place at;
  const i64 row, end;
  // As one that loads and finishes: this column of every LANES-th step.
  const int column, first_row;
  // As one that walks: a channel, and states lane · OWN …. Neighboring threads have neighboring channels, so that they read the same B.
  const int channel, lane;
  float u[ROWS], dt[ROWS], z[ROWS], B[BC], C[BC];

  __device__ __forceinline__ Walk(const ScanParams& p, const Place& at, i64 end)
      : p(p), at(at), row(at.b * p.l), end(end), column(threadIdx.x % CHANNELS), first_row(threadIdx.x / CHANNELS),
        channel((threadIdx.x & 1) | threadIdx.x / (2 * LANES) * 2), lane(threadIdx.x / 2 % LANES) {}

  __device__ __forceinline__ void load(i64 start) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const i64 t = start + first_row + r * LANES, c = at.first + column;
      const bool in = t < end && column < at.width;
      u[r] = in ? read<Io>(p.u, (row + t) * p.ld_u + c) : 0.0f;
      dt[r] = in ? read<Io>(p.dt, (row + t) * p.ld_dt + c) : 0.0f;
      if (!CARRY) z[r] = in && p.z ? read<Io>(p.z, (row + t) * p.ld_z + c) : 0.0f;
    }
#pragma unroll
    for (int r = 0; r < BC; ++r) {
      const int i = threadIdx.x + r * THREADS, n = i % N;
      const i64 t = start + i / N, c = at.group * p.n + n;
      const bool in = t < end && n < p.n;
      B[r] = in ? read<Io>(p.B, (row + t) * p.ld_B + c) : 0.0f;
      if (!CARRY) C[r] = in ? read<Io>(p.C, (row + t) * p.ld_C + c) : 0.0f;
    }
  }

  __device__ __forceinline__ void run(i64 start) {
    SHARED(Step, steps, [STEPS][CHANNELS]);
    SHARED(float4, tile_B, [SHARED_BC / 4]);
    SHARED(float4, tile_C, [CARRY ? 1 : SHARED_BC / 4]);
    SHARED(float, sums, [CARRY ? 1 : STEPS][SUMS]);

    const bool in_row = column < at.width;
    const float bias = in_row && p.dt_bias ? p.dt_bias[at.first + column] : 0.0f, D = in_row && p.D ? p.D[at.first + column] : 0.0f;
    float A[OWN], h[OWN], total = 0.0f;
    begin(A, h);
    load(start);
    for (; start < end; start += STEPS) {
      float skip[ROWS], gate[ROWS];
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int t = first_row + r * LANES;
        const bool in = start + t < end;
        const Step step = discretize(p, dt[r] + bias, u[r]);
        steps[t][column] = {in ? step.delta : 0.0f, in ? step.x : 0.0f};
        if (!CARRY) {
          skip[r] = D * u[r];
          gate[r] = p.z ? silu(z[r]) : 1.0f;
        }
      }
#pragma unroll
      for (int r = 0; r < BC; ++r) {
        const int i = threadIdx.x + r * THREADS;
        reinterpret_cast<float*>(tile_B)[i] = B[r];
        if (!CARRY) reinterpret_cast<float*>(tile_C)[i] = C[r];
      }
      __syncthreads();
      // On their way while this tile is walked.
      if (start + STEPS < end) load(start + STEPS);
      const int count = end - start < STEPS ? int(end - start) : STEPS;
#pragma unroll(LANES < 8 ? 8 / LANES : 1)
      for (int t = 0; t < count; t += LANES) {
        float v[LANES];
#pragma unroll
        for (int j = 0; j < LANES; ++j) {
          const Step step = steps[t + j][channel];
          v[j] = 0.0f;
          if (CARRY) total += step.delta;
#pragma unroll
          for (int i = 0; i < OWN; i += 4) {
            const int from = ((t + j) * N + lane * OWN + i) / 4;
            const float4 b = tile_B[from];
            advance(step, A + i, h + i, b);
            if (!CARRY) {
              const float4 c = tile_C[from];
              v[j] = fmaf(h[i], c.x, fmaf(h[i + 1], c.y, fmaf(h[i + 2], c.z, fmaf(h[i + 3], c.w, v[j]))));
            }
          }
        }
        if (!CARRY) {
          const float sum = sum_over_lanes<LANES>(v, lane);
          sums[t + lane][channel] = sum;
        }
      }
      __syncthreads();
      if (!CARRY && in_row) {
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
          const int t = first_row + r * LANES;
          if (start + t < end) write(p, (row + start + t) * p.e + at.first + column, (sums[t][column] + skip[r]) * gate[r]);
        }
      }
    }
    finish(h, total);
  }

  static __device__ __forceinline__ void advance(const Step& step, const float* A, float* h, const float4& b) {
    h[0] = fmaf(Io::exp2(step.delta * A[0]), h[0], step.x * b.x);
    h[1] = fmaf(Io::exp2(step.delta * A[1]), h[1], step.x * b.y);
    h[2] = fmaf(Io::exp2(step.delta * A[2]), h[2], step.x * b.z);
    h[3] = fmaf(Io::exp2(step.delta * A[3]), h[3], step.x * b.w);
  }

  /// Where state n of this thread's channel lies: in `state`, or among the carries.
  __device__ __forceinline__ i64 carried(i64 n) const { return ((at.b * p.chunks + at.chunk) * p.n + n) * p.e + at.first + channel; }
  __device__ __forceinline__ i64 kept(i64 n) const { return (at.b * p.n + n) * p.e + at.first + channel; }

  __device__ __forceinline__ void begin(float (&A)[OWN], float (&h)[OWN]) const {
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      const i64 n = lane * OWN + i;
      const bool in = n < p.n && channel < at.width;
      A[i] = in ? p.A[n * p.e + at.first + channel] : 0.0f;
      h[i] = CARRY || !in ? 0.0f : p.chunks > 1 ? p.carries[carried(n)] : p.state[kept(n)];
    }
  }

  __device__ __forceinline__ void finish(const float (&h)[OWN], float total) const {
    const bool last = end == valid_length(p.lens, at.b, p.l);
    if (channel >= at.width || (!CARRY && !last)) return;
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      const i64 n = lane * OWN + i;
      if (n < p.n) (CARRY ? p.carries : p.state)[CARRY ? carried(n) : kept(n)] = h[i];
    }
    if (CARRY && lane == 0) p.deltas[(at.b * p.chunks + at.chunk) * p.e + at.first + channel] = total;
  }
};

template <typename Io, int N, int LANES, bool CARRY>
__device__ __forceinline__ void walk(const ScanParams& p) {
  const Place at = place(p);
  const i64 valid = valid_length(p.lens, at.b, p.l), start = at.chunk * p.chunk, end = start + p.chunk;
  // Nothing is carried out of the last chunk.
  if (CARRY ? end >= valid : start >= valid) return;
  Walk<Io, N, LANES, CARRY>(p, at, end < valid ? end : valid).run(start);
}

/// All steps with the states in memory, shared out over the threads in y.
template <typename Io>
__device__ __forceinline__ void step(const ScanParams& p) {
  constexpr int TOGETHER = 4;  // loads on their way at once
  SHARED(float, sums, [16][CHANNELS]);
  const Place at = place(p);
  const int column = threadIdx.x, share = threadIdx.y, shares = blockDim.y;
  const i64 c = at.first + column, valid = valid_length(p.lens, at.b, p.l);
  const bool in = column < at.width;
  for (i64 t = 0; t < valid; ++t) {
    const i64 row = at.b * p.l + t;
    float sum = 0.0f, u = 0.0f;
    if (in) {
      u = read<Io>(p.u, row * p.ld_u + c);
      const Step step = discretize(p, read<Io>(p.dt, row * p.ld_dt + c) + (p.dt_bias ? p.dt_bias[c] : 0.0f), u);
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
          h[i] = fmaf(Io::exp2(step.delta * A[i]), h[i], step.x * B[i]);
          sum = fmaf(C[i], h[i], sum);
          if (own < p.n) p.state[(at.b * p.n + own) * p.e + c] = h[i];
        }
      }
    }
    sums[share][column] = sum;
    __syncthreads();
    if (in && share == 0) {
      for (int i = 1; i < shares; ++i) sum += sums[i][column];
      const float gate = p.z ? silu(read<Io>(p.z, row * p.ld_z + c)) : 1.0f;
      write(p, row * p.e + c, (p.D ? fmaf(p.D[c], u, sum) : sum) * gate);
    }
    __syncthreads();
  }
}

}  // namespace

/// Grid: one block for 32 channels, each chunk and batch row.
#define WALK(name, Io, N, LANES)                                                                                            \
  KERNEL_BOUNDS(scan_walk_##name, ScanParams, CHANNELS * LANES, 16 / LANES) { walk<Io, N, LANES, false>(p); }                \
  KERNEL_BOUNDS(scan_carry_##name, ScanParams, CHANNELS * LANES, 16 / LANES) { walk<Io, N, LANES, true>(p); }

WALK(f32_n8, Single, 8, 2)
WALK(f32_n16, Single, 16, 4)
WALK(f32_n32, Single, 32, 8)
WALK(f32_n64, Single, 64, 8)
WALK(f32_n128, Single, 128, 16)

/// Puts h before each chunk in the place of what the chunk made of 0. A thread a state.
KERNEL_BOUNDS(scan_combine, ScanParams, 256) {
  const i64 at = blockIdx.x * i64(blockDim.x) + threadIdx.x, c = at % p.e, n = at / p.e % p.n, b = at / p.e / p.n;
  if (b >= p.b) return;
  const i64 used = (valid_length(p.lens, b, p.l) + p.chunk - 1) / p.chunk;
  const float A = p.A[n * p.e + c];
  float h = p.state[(b * p.n + n) * p.e + c];
#pragma unroll 4
  for (i64 k = 0; k < used; ++k) {
    float* const carry = p.carries + ((b * p.chunks + k) * p.n + n) * p.e + c;
    const float before = h;
    if (k + 1 < used) h = fmaf(Single::exp2(p.deltas[(b * p.chunks + k) * p.e + c] * A), h, *carry);
    *carry = before;
  }
}

/// Grid as there, without chunks; up to 16 shares of the states.
KERNEL_BOUNDS(scan_step_f32, ScanParams, 16 * CHANNELS) { step<Single>(p); }
