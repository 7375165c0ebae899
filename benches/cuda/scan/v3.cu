// v3: time runs along the vectors. Prepared tiles hold a channel's steps side by side, so one 16-byte read brings four steps of dt, of dt
// u, or of B[n]; the recurrence then runs over groups of steps with everything but the chain h = e h + x independent of it. That makes
// instruction-level parallelism out of time, and lets 8 or 16 lanes share a channel (few states each) without starving: small batches need
// no second pass. Helper warps take blocks of 4 channels x 4 steps (about 20 instructions an element against v2's 49), wait on mbarriers,
// and the softplus costs one special-function slot. PIPELINED computes a group's exponentials while the group before it runs.
//
// sweep: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=184 HELPER_REGISTERS=72
// sweep: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 PIPELINED=1 WALKER_REGISTERS=184 HELPER_REGISTERS=72
// sweep: LANES=4 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2
// sweep: LANES=8 CHANNELS=16 STEPS=64 GROUP=16 HELPERS=4 BLOCKS=1 WIDTH=2 PIPELINED=1 UNROLL=2
// also 8x512x2048 8x2048x2048: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=184 HELPER_REGISTERS=72
// also 8x8192x2048 8x65536x2048: LANES=2 CHANNELS=64 STEPS=32 GROUP=8 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=184 HELPER_REGISTERS=72
#include "tiles.cuh"

#ifndef LANES
#define LANES 2
#define CHANNELS 64
#define STEPS 32
#define GROUP 8
#define HELPERS 4
#define BLOCKS 2
#endif
#ifndef PIPELINED
#define PIPELINED 0
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

constexpr int WALKERS = CHANNELS * LANES / 32, THREADS = 32 * (WALKERS + HELPERS), NS = N / LANES, ROW = STEPS + 4, unrolled = UNROLL;
static_assert(STEPS % 32 == 0 && STEPS % GROUP == 0 && GROUP % LANES == 0 && GROUP % 4 == 0 && N % LANES == 0);

struct Tile {  // as loaded
  alignas(16) T u[STEPS * CHANNELS], dt[STEPS * CHANNELS], z[STEPS * CHANNELS], B[STEPS * N], C[STEPS * N];
};
struct Prepared {  // rows of steps; four floats of padding spread the rows over the banks. y takes the place of x = d u.
  alignas(16) float d[CHANNELS][ROW], x[CHANNELS][ROW], B[N][ROW], C[N][ROW];
};
struct Shared {
  Tile tile[STAGES];
  Prepared prepared[2];
  uint64_t full[2], done[2];
};

/// A helper warp's task is 32 steps x 4 WIDE columns; a lane takes 4 steps x WIDE columns of it.
template <int WIDE>
__device__ __forceinline__ int2 block_of(int task) {
  const int lane = threadIdx.x & 31;
  return {task % (STEPS / 32) * 32 + (lane & 7) * 4, task / (STEPS / 32) * 4 * WIDE + (lane >> 3) * WIDE};
}

/// Loads tiles, prepares what the walkers read, and finishes what they leave.
struct Helper {
  static constexpr int COUNT = 32 * HELPERS;
  static constexpr int TASKS = STEPS / 32 * CHANNELS / (4 * WIDTH), ROUNDS = (TASKS + HELPERS - 1) / HELPERS;
  static constexpr int CHUNKS = CHANNELS / CHUNK, LOADS = STEPS * CHUNKS / COUNT, BC_CHUNKS = N / CHUNK, BC_TASKS = STEPS / 32 * N / 8;
  static_assert(STEPS * CHUNKS % COUNT == 0 && COUNT % CHUNKS == 0 && TASKS % HELPERS == 0);
  const Scan& s;
  Shared& shared;
  const int warp, thread, valid, tiles, columns;
  const T *u, *dt, *z, *B, *C;  // the block's first row of the next tile to load
  T* y;                         // the lane's first element of the next tile to finish
  float bias[ROUNDS][WIDTH], skip[ROUNDS][WIDTH];

  __device__ Helper(const Scan& s, Shared& shared)
      : s(s), shared(shared), warp(threadIdx.x / 32 - WALKERS), thread(threadIdx.x - 32 * WALKERS), valid(s.valid(blockIdx.y)),
        tiles((valid + STEPS - 1) / STEPS), columns(s.channels - blockIdx.x * CHANNELS) {
    const int first = blockIdx.x * CHANNELS;
    const size_t row = size_t(blockIdx.y) * s.length;
    u = s.u + row * s.ld_u + first;
    dt = s.dt + row * s.ld_dt + first;
    z = s.z + row * s.ld_z + first;
    B = s.B + row * s.ld_B;
    C = s.C + row * s.ld_C;
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
    const T* at = from + row * ld + column;
#pragma unroll
    for (int r = 0; r < LOADS; ++r, at += COUNT / CHUNKS * ld) {
      const int t = row + r * (COUNT / CHUNKS);
      const bool in = FULL || (t < left && column < columns);
      copy16(tile + tile_index<CHANNELS>(t, column), in ? at : from, in ? 16 : 0);
    }
  }
  template <bool FULL>
  __device__ __forceinline__ void load_tile(Tile& tile, int left) const {
    load_channels<FULL>(tile.dt, dt, s.ld_dt, left);
    load_channels<FULL>(tile.u, u, s.ld_u, left);
    load_channels<FULL>(tile.z, z, s.ld_z, left);
    constexpr int BC_LOADS = 2 * STEPS * BC_CHUNKS;
#pragma unroll
    for (int r = 0; r < (BC_LOADS + COUNT - 1) / COUNT; ++r) {
      const int i = thread + r * COUNT;
      if (BC_LOADS % COUNT && i >= BC_LOADS) break;
      const bool is_C = i >= STEPS * BC_CHUNKS;
      const int chunk = is_C ? i - STEPS * BC_CHUNKS : i, t = chunk / BC_CHUNKS, column = chunk % BC_CHUNKS * CHUNK;
      const T* from = is_C ? C : B;
      const bool in = FULL || t < left;
      copy16((is_C ? tile.C : tile.B) + tile_index<N>(t, column), in ? from + t * (is_C ? s.ld_C : s.ld_B) + column : from, in ? 16 : 0);
    }
  }
  __device__ __forceinline__ void load(int k) {
    if (k < tiles) {
      Tile& tile = shared.tile[k % STAGES];
      const int left = valid - k * STEPS;
      if (left >= STEPS && columns >= CHANNELS) {
        load_tile<true>(tile, left);
      } else {
        load_tile<false>(tile, left);
      }
      u += STEPS * s.ld_u, dt += STEPS * s.ld_dt, z += STEPS * s.ld_z, B += STEPS * s.ld_B, C += STEPS * s.ld_C;
    }
    copies_commit();
  }

  /// d = softplus(dt + bias) / ln 2 and x = d u; B brings the ln 2 back. Steps past the end get d = 0: they leave the state alone.
  __device__ __forceinline__ void prepare(int k) const {
    const Tile& tile = shared.tile[k % STAGES];
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
      read_block<N>(is_C ? tile.C : tile.B, at.x, at.y, v);
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
    for (int k = 0; k < STAGES; ++k) load(k);
    copies_wait<STAGES - 1>();
    named_barrier(1, COUNT);
    if (tiles > 0) prepare(0);
    copies_wait<STAGES - 2>();
    named_barrier(1, COUNT);
    if (tiles > 1) prepare(1);
    for (int k = 0; k < tiles; ++k) {
      const int left = valid - k * STEPS;
      barrier_wait(&shared.done[k & 1], k >> 1 & 1);
      if (left >= STEPS && columns >= CHANNELS) {
        finish<true>(shared.tile[k % STAGES], shared.prepared[k & 1], left);
      } else {
        finish<false>(shared.tile[k % STAGES], shared.prepared[k & 1], left);
      }
      y += STEPS * s.ld_y;
      copies_wait<STAGES - 3>();
      named_barrier(1, COUNT);  // tile k+2 has come, and nobody needs tile k any more
      load(k + STAGES);
      if (k + 2 < tiles) prepare(k + 2);
    }
  }
};

/// Walks the recurrence: lane p of a channel holds states p, p + LANES, ... (neighboring rows of B and C fall into different banks).
struct Walker {
  const Scan& s;
  Shared& shared;
  const Place place;
  float a[NS], h[NS], e[NS][GROUP], d[GROUP], x[GROUP], y[GROUP];

  __device__ __forceinline__ void read_steps(const Prepared& tile, int t) {
    read_floats(&tile.d[place.channel][t], d);
    read_floats(&tile.x[place.channel][t], x);
  }
  __device__ __forceinline__ void exponentials(int i) {
#pragma unroll
    for (int j = 0; j < GROUP; ++j) e[i][j] = ex2(d[j] * a[i]);
  }
  __device__ __forceinline__ void write_sums(Prepared& tile, int t) const {
    write_floats<GROUP / LANES>(&tile.x[place.channel][t + place.p * (GROUP / LANES)], y);
  }
  /// One group. Pipelined: its exponentials are here already; the next group's are computed beside it, and the group before it is summed up
  /// beside it (PENDING). All reads stand before the write, which the compiler could not move them across.
  template <bool PENDING>
  __device__ __forceinline__ void group(Prepared& tile, int t, const Prepared& next_tile, int next) {
    float now[GROUP], sums[GROUP] = {};
    if (!PIPELINED) read_steps(tile, t);
#pragma unroll
    for (int j = 0; j < GROUP; ++j) now[j] = x[j];
    if (PIPELINED) read_steps(next_tile, next);
    if (PENDING) sum_over_lanes<LANES>(y, place.p);
#pragma unroll
    for (int i = 0; i < NS; ++i) {
      float B[GROUP], C[GROUP];
      read_floats(&tile.B[i * LANES + place.p][t], B);
      read_floats(&tile.C[i * LANES + place.p][t], C);
      if (!PIPELINED) exponentials(i);
#pragma unroll
      for (int j = 0; j < GROUP; ++j) {
        h[i] = fmaf(e[i][j], h[i], now[j] * B[j]);
        sums[j] = fmaf(h[i], C[j], sums[j]);
      }
      if (PIPELINED) exponentials(i);
    }
    if (PENDING) write_sums(tile, t - GROUP);
#pragma unroll
    for (int j = 0; j < GROUP; ++j) y[j] = sums[j];
    if (!PIPELINED) leave(tile, t);
  }
  __device__ __forceinline__ void leave(Prepared& tile, int t) {
    sum_over_lanes<LANES>(y, place.p);
    write_sums(tile, t);
  }

  __device__ void run() {
    const int b = blockIdx.y, column = blockIdx.x * CHANNELS + place.channel, tiles = (s.valid(b) + STEPS - 1) / STEPS;
    const bool in = column < s.channels;
    float* state = s.state + (size_t(b) * N + place.p) * s.channels + column;
#pragma unroll
    for (int i = 0; i < NS; ++i) {
      a[i] = in ? s.A[size_t(i * LANES + place.p) * s.channels + column] : 0;
      h[i] = in ? state[size_t(i) * LANES * s.channels] : 0;
    }
    if (tiles > 0) barrier_wait(&shared.full[0], 0);
    if (PIPELINED && tiles > 0) {
      read_steps(shared.prepared[0], 0);
#pragma unroll
      for (int i = 0; i < NS; ++i) exponentials(i);
    }
    for (int k = 0; k < tiles; ++k) {
      Prepared& tile = shared.prepared[k & 1];
      group<false>(tile, 0, tile, GROUP);
#pragma unroll unrolled
      for (int t = GROUP; t < STEPS - GROUP; t += GROUP) group<PIPELINED>(tile, t, tile, t + GROUP);
      const bool more = k + 1 < tiles;
      if (more) barrier_wait(&shared.full[(k + 1) & 1], (k + 1) >> 1 & 1);
      group<PIPELINED>(tile, STEPS - GROUP, shared.prepared[(k + more) & 1], 0);
      if (PIPELINED) leave(tile, STEPS - GROUP);
      __syncwarp();
      if ((threadIdx.x & 31) == 0) barrier_arrive(&shared.done[k & 1]);
    }
#pragma unroll
    for (int i = 0; i < NS; ++i) {
      if (in) state[size_t(i) * LANES * s.channels] = h[i];
    }
  }
};

__global__ __launch_bounds__(THREADS, BLOCKS) void scan_v3(__grid_constant__ const Scan s) {
  extern __shared__ __align__(128) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  if (threadIdx.x < 2) {
    barrier_init(&shared.full[threadIdx.x], HELPERS);
    barrier_init(&shared.done[threadIdx.x], WALKERS);
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
    scan_v3<<<dim3((s.channels + CHANNELS - 1) / CHANNELS, s.batch), THREADS, sizeof(Shared)>>>(s);
  };
  return scan_main(count, arguments, {"v3", launch, (const void*)scan_v3, THREADS, int(sizeof(Shared))});
}
