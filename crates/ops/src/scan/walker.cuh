// Those that walk a tile, and the walk: behind helper.cuh, which tells of both.

namespace {

/// Sums `v` over the LANES lanes of a channel, which are 2 apart, so that lane p ends with those of steps p COUNT / LANES … in v[0 …]: each
/// exchange moves half of the values.
template <int LANES, int COUNT>
__device__ __forceinline__ void sum_over_lanes(float (&v)[COUNT], int p) {
  int count = COUNT;
#pragma unroll
  for (int mask = LANES / 2; mask > 0; mask /= 2) {
    count /= 2;
#pragma unroll
    for (int j = 0; j < COUNT / 2; ++j) {
      if (j < count) {
        const bool upper = p & mask;
        const float keep = upper ? v[count + j] : v[j], give = upper ? v[j] : v[count + j];
        v[j] = keep + __shfl_xor_sync(0xFFFFFFFFu, give, 2 * mask);
      }
    }
  }
}

/// Walks the recurrence. A 16-byte read of shared memory takes half as long where lanes i and i ^ 1, or i and i ^ 2, read one address: bit 0 of
/// a lane is its channel's lowest, its share follows, the channel's other bits are last.
template <typename S>
struct Walker {
  using Prepared = typename S::Prepared;
  static constexpr int LANES = S::LANES, OWN = S::OWN, GROUP = S::GROUP, STEPS = S::STEPS;
  /// With few states a lane, what leads into a group and out of it would wait alone: the next group's steps are read, and the last one's sums
  /// gathered from the lanes, beside a group. With many it only costs registers.
  static constexpr bool BESIDE = OWN < 8;

  const ScanParams& p;
  typename S::Shared& shared;
  const int channel, share;
  float A[OWN], h[OWN], d[GROUP], x[GROUP];  // d and x: the next group's
  float sums[GROUP];                         // the last group's, each lane's share

  __device__ __forceinline__ Walker(const ScanParams& p, typename S::Shared& shared)
      : p(p), shared(shared), channel(int(threadIdx.x) / (2 * LANES) * 2 + int(threadIdx.x & 1)), share(int(threadIdx.x >> 1) % LANES) {}

  __device__ __forceinline__ void read_steps(const Prepared& tile, int t) {
    read_floats(&tile.d[channel][t], d);
    read_floats(&tile.x[channel][t], x);
  }
  __device__ __forceinline__ void write_sums(Prepared& tile, int t) const {
    float* const to = &tile.x[channel][t + share * (GROUP / LANES)];
    if constexpr (GROUP / LANES == 4) {
      *reinterpret_cast<float4*>(to) = make_float4(sums[0], sums[1], sums[2], sums[3]);
    } else if constexpr (GROUP / LANES == 2) {
      *reinterpret_cast<float2*>(to) = make_float2(sums[0], sums[1]);
    } else {
      static_assert(GROUP == LANES, "a lane finishes one, two or four steps");
      *to = sums[0];
    }
  }

  /// One group of steps, whose d and x are there. PENDING: the group before it waits for its sums. States are dealt out in turn: neighboring
  /// rows of B and C lie in different banks. Reads stand before the write, which the compiler cannot move them across.
  template <bool PENDING>
  __device__ __forceinline__ void group(Prepared& tile, int t, const Prepared& next_tile, int next) {
    float now[GROUP], own[GROUP] = {};
#pragma unroll
    for (int j = 0; j < GROUP; ++j) now[j] = x[j];
    if (PENDING) sum_over_lanes<LANES>(sums, share);
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      float B[GROUP], C[GROUP];
      read_floats(&tile.BC[0][i * LANES + share][t], B);
      read_floats(&tile.BC[1][i * LANES + share][t], C);
#pragma unroll
      for (int j = 0; j < GROUP; ++j) {
        h[i] = fmaf(ex2(d[j] * A[i]), h[i], now[j] * B[j]);
        own[j] = fmaf(h[i], C[j], own[j]);
      }
    }
    if (BESIDE) read_steps(next_tile, next);
    if (PENDING) write_sums(tile, t - GROUP);
#pragma unroll
    for (int j = 0; j < GROUP; ++j) sums[j] = own[j];
  }
  __device__ __forceinline__ void gather(Prepared& tile, int t) {
    sum_over_lanes<LANES>(sums, share);
    write_sums(tile, t);
  }

  __device__ __forceinline__ void tile_beside(int k, int tiles) {
    Prepared& tile = shared.prepared[k & 1];
    group<false>(tile, 0, tile, GROUP);
#pragma unroll(STEPS / GROUP > 2 ? 2 : 1)
    for (int t = GROUP; t < STEPS - GROUP; t += GROUP) group<true>(tile, t, tile, t + GROUP);
    const bool more = k + 1 < tiles;
    if (more) barrier_sync(PREPARED + ((k + 1) & 1), S::THREADS);
    group<true>(tile, STEPS - GROUP, shared.prepared[(k + more) & 1], 0);
    gather(tile, STEPS - GROUP);
  }
  __device__ __forceinline__ void tile_apart(int k) {
    Prepared& tile = shared.prepared[k & 1];
    barrier_sync(PREPARED + (k & 1), S::THREADS);
#pragma unroll 1
    for (int t = 0; t < STEPS; t += GROUP) {
      read_steps(tile, t);
      group<false>(tile, t, tile, t);
      gather(tile, t);
    }
  }

  __device__ __forceinline__ void run(const Place& at, i64 valid) {
    const bool in = channel < at.width;
    const int tiles = int((valid + STEPS - 1) / STEPS);
    float* const state = p.state + at.b * p.n * p.e + at.first + channel;
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      const i64 n = i * LANES + share;
      A[i] = in && n < p.n ? p.A[n * p.e + at.first + channel] : 0.0f;
      h[i] = in && n < p.n ? state[n * p.e] : 0.0f;
    }
    if (BESIDE && tiles > 0) {
      barrier_sync(PREPARED, S::THREADS);
      read_steps(shared.prepared[0], 0);
    }
    for (int k = 0; k < tiles; ++k) {
      if constexpr (BESIDE) {
        tile_beside(k, tiles);
      } else {
        tile_apart(k);
      }
      barrier_arrive(WALKED + (k & 1), S::THREADS);
    }
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      const i64 n = i * LANES + share;
      if (in && n < p.n) state[n * p.e] = h[i];
    }
  }
};

/// WALKING registers for a walker, HELPING for a helper, where the GPU can move them from one to the other.
template <typename S, int WALKING, int HELPING>
__device__ __forceinline__ void walk(const ScanParams& p) {
  DYNAMIC_SHARED(typename S::Shared, shared);
  const Place at = place(p, S::CHANNELS);
  const i64 valid = valid_length(p.lens, at.b, p.l);
  if (threadIdx.x < 32 * S::WALKERS) {
    if constexpr (WALKING > 0) registers_more<WALKING>();
    Walker<S>(p, *shared).run(at, valid);
  } else {
    if constexpr (HELPING > 0) registers_fewer<HELPING>();
    Helper<S>(p, *shared, at, valid).run();
  }
}

}  // namespace
