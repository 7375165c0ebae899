// v6: v4 with PAIR channels a thread, so that a read of B or C serves both, and POLY of a group's exponentials of each first state by a
// polynomial on the multiplier pipe; softplus as precise as f32 wants it.
//
// sweep: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=168 HELPER_REGISTERS=88
// sweep: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=168 HELPER_REGISTERS=88 POLY=4
// sweep: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=168 HELPER_REGISTERS=88 POLY=8
// sweep: LANES=4 PAIR=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=168 HELPER_REGISTERS=88
// sweep: LANES=4 PAIR=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=184 HELPER_REGISTERS=72
// sweep: LANES=4 PAIR=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2
// sweep: LANES=4 PAIR=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=2 BLOCKS=2
// sweep: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=2 BLOCKS=2
// sweep: LANES=4 PAIR=2 CHANNELS=64 STEPS=32 GROUP=4 HELPERS=4 BLOCKS=2
// sweep: LANES=2 CHANNELS=64 STEPS=32 GROUP=4 HELPERS=4 BLOCKS=2
// sweep: LANES=2 PAIR=2 CHANNELS=64 STEPS=32 GROUP=4 HELPERS=4 BLOCKS=2
// sweep: LANES=4 CHANNELS=64 STEPS=32 GROUP=4 HELPERS=4 BLOCKS=2
// sweep: LANES=4 PAIR=2 CHANNELS=32 STEPS=32 GROUP=8 HELPERS=2 BLOCKS=4
// sweep: LANES=2 CHANNELS=64 STEPS=64 GROUP=8 HELPERS=4 BLOCKS=1
// sweep: LANES=8 CHANNELS=16 STEPS=64 GROUP=16 HELPERS=4 BLOCKS=1 WIDTH=2 UNROLL=2
// sweep: LANES=8 PAIR=2 CHANNELS=16 STEPS=64 GROUP=16 HELPERS=4 BLOCKS=1 WIDTH=2 UNROLL=2
// sweep: LANES=16 PAIR=2 CHANNELS=16 STEPS=64 GROUP=16 HELPERS=4 BLOCKS=1 WIDTH=2 UNROLL=2
// sweep: LANES=8 CHANNELS=16 STEPS=64 GROUP=8 HELPERS=4 BLOCKS=1 WIDTH=2 UNROLL=2
// also 2x300x256 2x2000x256: DTYPE=float LANES=4 CHANNELS=32 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WIDTH=2 BIAS_LOW=-10 BIAS_HIGH=-6
// also 2x300x256 2x2000x256: DTYPE=float LANES=4 CHANNELS=32 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WIDTH=2
#define SHIFTED
#define PRECISE 1
#include "tiles.cuh"

#ifndef LANES
#define LANES 2
#define CHANNELS 64
#define STEPS 32
#define GROUP 8
#define HELPERS 4
#define BLOCKS 2
#endif
#ifndef PAIR
#define PAIR 1
#endif
#ifndef POLY
#define POLY 0
#endif
#ifndef STAGES
#define STAGES 3
#endif
#ifndef WALKER_REGISTERS  // 0: as the compiler divides them
#define WALKER_REGISTERS 0
#define HELPER_REGISTERS 0
#endif
#ifndef UNROLL
#define UNROLL 1
#endif
#ifndef WIDTH
#define WIDTH 4
#endif

constexpr int WALKERS = CHANNELS * LANES / PAIR / 32, THREADS = 32 * (WALKERS + HELPERS), NS = N / LANES, ROW = STEPS + 4, unrolled = UNROLL;
static_assert(STEPS % 32 == 0 && STEPS % GROUP == 0 && GROUP % LANES == 0 && GROUP % 4 == 0 && N % LANES == 0);

struct Tile {  // as loaded
  alignas(16) T u[tile_size<CHANNELS>(STEPS)], dt[tile_size<CHANNELS>(STEPS)], z[tile_size<CHANNELS>(STEPS)];
  T BC[2 * tile_size<N>(STEPS)];  // B, then C
};
struct Prepared {  // rows of steps; four floats of padding spread the rows over the banks. y takes the place of x = d u.
  alignas(16) float d[CHANNELS][ROW], x[CHANNELS][ROW], B[N][ROW], C[N][ROW];
};
struct Shared {
  Tile tile[STAGES];
  Prepared prepared[2];
  uint64_t full[2];
};

/// A helper warp's task is 32 steps x 4 WIDE columns; a lane takes 4 steps x WIDE columns of it.
template <int WIDE>
__device__ __forceinline__ int2 block_of(int task) {
  const int lane = threadIdx.x & 31;
  return {task % (STEPS / 32) * 32 + (lane & 7) * 4, task / (STEPS / 32) * 4 * WIDE + (lane >> 3) * WIDE};
}

/// Loads tiles, prepares what the walkers read, and finishes what they leave.
struct Helper {
  static constexpr int COUNT = 32 * HELPERS, ALL = COUNT + 32 * WALKERS;
  static constexpr int TASKS = STEPS / 32 * CHANNELS / (4 * WIDTH), ROUNDS = (TASKS + HELPERS - 1) / HELPERS;
  static constexpr int CHUNKS = CHANNELS / CHUNK, LOADS = STEPS * CHUNKS / COUNT, LOAD_ROWS = COUNT / CHUNKS;
  static constexpr int BC_CHUNKS = N / CHUNK, BC_COPIES = 2 * STEPS * BC_CHUNKS, BC_LOADS = (BC_COPIES + COUNT - 1) / COUNT;
  static constexpr int BC_TASKS = STEPS / 32 * N / 8;
  static_assert(STEPS * CHUNKS % COUNT == 0 && COUNT % CHUNKS == 0 && LOAD_ROWS % 4 == 0 && TASKS % HELPERS == 0);
  const Scan& s;
  Shared& shared;
  const int warp, thread, valid, tiles, columns;
  const T *u, *dt, *z, *BC[BC_LOADS];  // what the thread copies first of the next tile
  int BC_to[BC_LOADS];                 // where its copies of B and C go
  T* y;                                // the block's first element of the next tile to finish
  float bias[ROUNDS][WIDTH], skip[ROUNDS][WIDTH];

  __device__ Helper(const Scan& s, Shared& shared)
      : s(s), shared(shared), warp(threadIdx.x / 32 - WALKERS), thread(threadIdx.x - 32 * WALKERS), valid(s.valid(blockIdx.y)),
        tiles((valid + STEPS - 1) / STEPS), columns(s.channels - blockIdx.x * CHANNELS) {
    const int first = blockIdx.x * CHANNELS;
    const size_t row = size_t(blockIdx.y) * s.length;
    const int load_row = thread / CHUNKS, load_column = thread % CHUNKS * CHUNK;
    u = s.u + (row + load_row) * s.ld_u + first + load_column;
    dt = s.dt + (row + load_row) * s.ld_dt + first + load_column;
    z = s.z + (row + load_row) * s.ld_z + first + load_column;
#pragma unroll
    for (int r = 0; r < BC_LOADS; ++r) {
      const int i = thread + r * COUNT, is_C = i >= BC_COPIES / 2, chunk = i - is_C * (BC_COPIES / 2);
      const int t = chunk / BC_CHUNKS, column = chunk % BC_CHUNKS * CHUNK;
      BC[r] = (is_C ? s.C + (row + t) * s.ld_C : s.B + (row + t) * s.ld_B) + column;
      BC_to[r] = is_C * tile_size<N>(STEPS) + tile_index<N>(t, column);
    }
    y = s.y + row * s.ld_y + first;
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
      const int column = block_of<WIDTH>(warp + r * HELPERS).y;
#pragma unroll
      for (int c = 0; c < WIDTH; ++c) {
        const bool in = column + c < columns;
        bias[r][c] = in ? s.dt_bias[first + column + c] * LOG2E : 0;
        skip[r][c] = in ? s.D[first + column + c] : 0;
      }
    }
  }

  template <bool FULL>
  __device__ __forceinline__ void load_channels(T* tile, const T* from, int64_t ld, int left) const {
    const int row = thread / CHUNKS, column = thread % CHUNKS * CHUNK;
    T* to = tile + tile_index<CHANNELS>(row, column);
#pragma unroll
    for (int r = 0; r < LOADS; ++r) {
      const bool in = FULL || (row + r * LOAD_ROWS < left && column < columns);
      copy16(to + tile_index<CHANNELS>(r * LOAD_ROWS, 0), in ? from + r * LOAD_ROWS * ld : s.u, in ? 16 : 0);
    }
  }
  template <bool FULL>
  __device__ __forceinline__ void load_tile(Tile& tile, int left) const {
    load_channels<FULL>(tile.dt, dt, s.ld_dt, left);
    load_channels<FULL>(tile.u, u, s.ld_u, left);
#pragma unroll
    for (int r = 0; r < BC_LOADS; ++r) {
      const int i = thread + r * COUNT;
      if (BC_COPIES % COUNT && i >= BC_COPIES) break;
      const bool in = FULL || i % (BC_COPIES / 2) / BC_CHUNKS < left;
      copy16(tile.BC + BC_to[r], in ? BC[r] : s.u, in ? 16 : 0);
    }
    load_channels<FULL>(tile.z, z, s.ld_z, left);
  }
  __device__ __forceinline__ void load(int k, int stage) {
    if (k < tiles) {
      const int left = valid - k * STEPS;
      if (left >= STEPS && columns >= CHANNELS) {
        load_tile<true>(shared.tile[stage], left);
      } else {
        load_tile<false>(shared.tile[stage], left);
      }
      u += STEPS * s.ld_u, dt += STEPS * s.ld_dt, z += STEPS * s.ld_z;
#pragma unroll
      for (int r = 0; r < BC_LOADS; ++r) BC[r] += STEPS * (thread + r * COUNT >= BC_COPIES / 2 ? s.ld_C : s.ld_B);
    }
    copies_commit();
  }

  /// d = softplus(dt + bias) / ln 2 and x = d u; B brings the ln 2 back. Steps past the end get d = 0: they leave the state alone.
  __device__ __forceinline__ void prepare(int k, int stage) const {
    const Tile& tile = shared.tile[stage];
    Prepared& out = shared.prepared[k & 1];
    const int left = valid - k * STEPS;
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
      const int2 at = block_of<WIDTH>(warp + r * HELPERS);
      float raw[4][WIDTH], u[4][WIDTH], d[4];
      read_block<CHANNELS>(tile.dt, at.x, at.y, raw);
      read_block<CHANNELS>(tile.u, at.x, at.y, u);
#pragma unroll
      for (int c = 0; c < WIDTH; ++c) {
#pragma unroll
        for (int j = 0; j < 4; ++j) d[j] = softplus2(fmaf(raw[j][c], LOG2E, bias[r][c]));
        if (left < STEPS) {
#pragma unroll
          for (int j = 0; j < 4; ++j) d[j] = at.x + j < left ? d[j] : 0;
        }
        *reinterpret_cast<float4*>(&out.d[at.y + c][at.x]) = make_float4(d[0], d[1], d[2], d[3]);
        *reinterpret_cast<float4*>(&out.x[at.y + c][at.x]) = make_float4(d[0] * u[0][c], d[1] * u[1][c], d[2] * u[2][c], d[3] * u[3][c]);
      }
    }
#pragma unroll
    for (int r = 0; r < (2 * BC_TASKS + HELPERS - 1) / HELPERS; ++r) {
      const int task = warp + r * HELPERS;
      if (2 * BC_TASKS % HELPERS && task >= 2 * BC_TASKS) break;
      const bool is_C = task >= BC_TASKS;
      const int2 at = block_of<2>(is_C ? task - BC_TASKS : task);
      const float scale = is_C ? 1.f : LN2;
      float v[4][2];
      read_block<N>(tile.BC + is_C * tile_size<N>(STEPS), at.x, at.y, v);
      auto& rows = is_C ? out.C : out.B;
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        *reinterpret_cast<float4*>(&rows[at.y + n][at.x]) = make_float4(v[0][n] * scale, v[1][n] * scale, v[2][n] * scale, v[3][n] * scale);
      }
    }
    __syncwarp();
    if ((threadIdx.x & 31) == 0) barrier_arrive(&shared.full[k & 1]);
  }

  template <bool FULL>
  __device__ __forceinline__ void finish(const Tile& tile, const Prepared& in, int left) const {
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
      const int2 at = block_of<WIDTH>(warp + r * HELPERS);
      float u[4][WIDTH], z[4][WIDTH], sums[WIDTH][4];
      read_block<CHANNELS>(tile.u, at.x, at.y, u);
      read_block<CHANNELS>(tile.z, at.x, at.y, z);
#pragma unroll
      for (int c = 0; c < WIDTH; ++c) read_floats(&in.x[at.y + c][at.x], sums[c]);
      T* to = y + at.x * s.ld_y + at.y;
#pragma unroll
      for (int j = 0; j < 4; ++j, to += s.ld_y) {
        Pack<WIDTH> pack;
#pragma unroll
        for (int c = 0; c < WIDTH; ++c) pack.at[c] = from_float<T>(fmaf(skip[r][c], u[j][c], sums[c][j]) * silu(z[j][c]));
        if (FULL || (at.x + j < left && at.y < columns)) *reinterpret_cast<Pack<WIDTH>*>(to) = pack;
      }
    }
  }

  __device__ void run() {
#pragma unroll
    for (int k = 0; k < STAGES; ++k) load(k, k);
    copies_wait<STAGES - 1>();
    named_barrier(1, COUNT);
    if (tiles > 0) prepare(0, 0);
    copies_wait<STAGES - 2>();
    named_barrier(1, COUNT);
    if (tiles > 1) prepare(1, 1);
    for (int k = 0, stage = 0, ahead = 2 % STAGES; k < tiles; ++k) {
      const int left = valid - k * STEPS;
      named_barrier(2 + (k & 1), ALL);  // the walkers are done with tile k
      if (left >= STEPS && columns >= CHANNELS) {
        finish<true>(shared.tile[stage], shared.prepared[k & 1], left);
      } else {
        finish<false>(shared.tile[stage], shared.prepared[k & 1], left);
      }
      y += STEPS * s.ld_y;
      copies_wait<STAGES - 3>();
      named_barrier(1, COUNT);  // tile k+2 has come, and nobody needs tile k any more
      load(k + STAGES, stage);
      if (k + 2 < tiles) prepare(k + 2, ahead);
      stage = stage + 1 == STAGES ? 0 : stage + 1;
      ahead = ahead + 1 == STAGES ? 0 : ahead + 1;
    }
  }
};

/// 2^(d a) without the special-function unit.
__device__ __forceinline__ float ex2_poly(float d, float a) {
  const float p = fmaxf(d * a, -126.f), t = p + 12582912.f, r = p - (t - 12582912.f);
  float q = fmaf(.00133952f, r, .00961884f);
  q = fmaf(q, r, .05550348f);
  q = fmaf(q, r, .24022651f);
  q = fmaf(q, r, .69314718f);
  return __int_as_float(__float_as_int(fmaf(q, r, 1.f)) + (__float_as_int(t) << 23));
}

/// Walks the recurrence: lane p of a channel holds states p, p + LANES, ... (neighboring rows of B and C fall into different banks).
struct Walker {
  static constexpr int APART = CHANNELS / PAIR;
  const Scan& s;
  Shared& shared;
  const Place place;
  float a[PAIR][NS], h[PAIR][NS], d[PAIR][GROUP], x[PAIR][GROUP];  // d and x: the next group's
  float y[PAIR][GROUP];                                            // the last group's sums, each lane's share

  __device__ __forceinline__ void read_steps(const Prepared& tile, int t) {
#pragma unroll
    for (int c = 0; c < PAIR; ++c) {
      read_floats(&tile.d[place.channel + c * APART][t], d[c]);
      read_floats(&tile.x[place.channel + c * APART][t], x[c]);
    }
  }
  template <bool PENDING>
  __device__ __forceinline__ void group(Prepared& tile, int t, const Prepared& next_tile, int next) {
    float now[PAIR][GROUP], sums[PAIR][GROUP] = {};
#pragma unroll
    for (int c = 0; c < PAIR; ++c) {
#pragma unroll
      for (int j = 0; j < GROUP; ++j) now[c][j] = x[c][j];
      if (PENDING) sum_over_lanes<LANES>(y[c], place.p);
    }
#pragma unroll
    for (int i = 0; i < NS; ++i) {
      float B[GROUP], C[GROUP];
      read_floats(&tile.B[i * LANES + place.p][t], B);
      read_floats(&tile.C[i * LANES + place.p][t], C);
#pragma unroll
      for (int c = 0; c < PAIR; ++c) {
#pragma unroll
        for (int j = 0; j < GROUP; ++j) {
          const float e = i == 0 && j < POLY ? ex2_poly(d[c][j], a[c][i]) : ex2(d[c][j] * a[c][i]);
          h[c][i] = fmaf(e, h[c][i], now[c][j] * B[j]);
          sums[c][j] = fmaf(h[c][i], C[j], sums[c][j]);
        }
      }
    }
    read_steps(next_tile, next);
    if (PENDING) write_sums(tile, t - GROUP);
#pragma unroll
    for (int c = 0; c < PAIR; ++c) {
#pragma unroll
      for (int j = 0; j < GROUP; ++j) y[c][j] = sums[c][j];
    }
  }
  __device__ __forceinline__ void write_sums(Prepared& tile, int t) const {
#pragma unroll
    for (int c = 0; c < PAIR; ++c) {
      write_floats<GROUP / LANES>(&tile.x[place.channel + c * APART][t + place.p * (GROUP / LANES)], y[c]);
    }
  }

  __device__ void run() {
    const int b = blockIdx.y, tiles = (s.valid(b) + STEPS - 1) / STEPS;
#pragma unroll
    for (int c = 0; c < PAIR; ++c) {
      const int column = blockIdx.x * CHANNELS + place.channel + c * APART;
      const bool in = column < s.channels;
      const float* state = s.state + (size_t(b) * N + place.p) * s.channels + column;
#pragma unroll
      for (int i = 0; i < NS; ++i) {
        a[c][i] = in ? s.A[size_t(i * LANES + place.p) * s.channels + column] : 0;
        h[c][i] = in ? state[size_t(i) * LANES * s.channels] : 0;
      }
    }
    if (tiles > 0) {
      barrier_wait(&shared.full[0], 0);
      read_steps(shared.prepared[0], 0);
    }
    for (int k = 0; k < tiles; ++k) {
      Prepared& tile = shared.prepared[k & 1];
      group<false>(tile, 0, tile, GROUP);
#pragma unroll unrolled
      for (int t = GROUP; t < STEPS - GROUP; t += GROUP) group<true>(tile, t, tile, t + GROUP);
      const bool more = k + 1 < tiles;
      if (more) barrier_wait(&shared.full[(k + 1) & 1], (k + 1) >> 1 & 1);
      group<true>(tile, STEPS - GROUP, shared.prepared[(k + more) & 1], 0);
#pragma unroll
      for (int c = 0; c < PAIR; ++c) sum_over_lanes<LANES>(y[c], place.p);
      write_sums(tile, STEPS - GROUP);
      named_barrier_arrive(2 + (k & 1), Helper::ALL);
    }
#pragma unroll
    for (int c = 0; c < PAIR; ++c) {
      const int column = blockIdx.x * CHANNELS + place.channel + c * APART;
      float* state = s.state + (size_t(b) * N + place.p) * s.channels + column;
#pragma unroll
      for (int i = 0; i < NS; ++i) {
        if (column < s.channels) state[size_t(i) * LANES * s.channels] = h[c][i];
      }
    }
  }
};

__global__ __launch_bounds__(THREADS, BLOCKS) void scan_v6(__grid_constant__ const Scan s) {
  extern __shared__ __align__(128) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) barrier_init(&shared.full[i], HELPERS);
  }
  __syncthreads();
  if (threadIdx.x < 32 * WALKERS) {
    if constexpr (WALKER_REGISTERS) registers_more<WALKER_REGISTERS>();
    Walker{s, shared, lane_of<LANES>(threadIdx.x)}.run();
  } else {
    if constexpr (WALKER_REGISTERS) registers_fewer<HELPER_REGISTERS>();
    Helper(s, shared).run();
  }
}

int main(int count, char** arguments) {
  const auto launch = [](const Scan& s) {
    scan_v6<<<dim3((s.channels + CHANNELS - 1) / CHANNELS, s.batch), THREADS, sizeof(Shared)>>>(s);
  };
  return scan_main(count, arguments, {"v6", launch, (const void*)scan_v6, THREADS, int(sizeof(Shared))});
}
