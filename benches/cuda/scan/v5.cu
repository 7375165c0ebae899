// v5: the tensor cores take the two products around the recurrence. A warp walks 16 channels x 16 states; h lies in registers as the
// accumulators of m16n8k8 multiplications lie. A step is h = e h (multiplier pipe), then h += x B^T (one multiplication for 8 states: x as
// a sum of two bf16, which keeps 16 bits of it, times B, which is bf16 already), then y += h C^T (tf32: h is cut to 11 bits for the sum
// alone, the state stays fp32). One operand holds eight steps at a time, the other is masked to the step at hand, so the y of 16 channels x
// 8 steps gathers in one accumulator: no shuffles, and no broadcast reads of B and C, which in v4 keep shared memory two thirds busy. The
// recurrence's chain grows from 4 cycles a step to about 40, so this is for large batches (two walkers a scheduler at B D = 16384); bf16
// alone.
//
// sweep: CHANNELS=64 HELPERS=4 BLOCKS=2 WALKER_REGISTERS=152 HELPER_REGISTERS=104
#define SHIFTED
#include "tiles.cuh"

#ifndef CHANNELS
#define CHANNELS 64
#define HELPERS 4
#define BLOCKS 2
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

constexpr int STEPS = 32, GROUP = 8, ROW = STEPS + 4, NB = N / 8, unrolled = UNROLL;
constexpr int WALKERS = CHANNELS / 16, THREADS = 32 * (WALKERS + HELPERS);
static_assert(std::is_same_v<T, __nv_bfloat16> && CHANNELS % 16 == 0 && N % 8 == 0);

struct Tile {  // as loaded
  alignas(16) T u[tile_size<CHANNELS>(STEPS)], dt[tile_size<CHANNELS>(STEPS)], z[tile_size<CHANNELS>(STEPS)];
  T BC[2 * tile_size<N>(STEPS)];  // B, then C
};
struct Prepared {  // rows of steps; four words of padding spread the rows over the banks
  alignas(16) float d[CHANNELS][ROW];
  uint32_t x[CHANNELS][ROW];  // d u ln 2 as two bf16 whose sum it is; y takes its place
  uint32_t B[N][ROW];         // the bf16 twice
  float C[N][ROW];
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

/// x as two bf16 in one word, the upper bits and the rest: 16 bits of precision.
__device__ __forceinline__ uint32_t split(float x) {
  const float upper = __uint_as_float(__float_as_uint(x) & 0xffff0000u);
  const __nv_bfloat162 pair = __floats2bfloat162_rn(upper, x - upper);
  return *reinterpret_cast<const uint32_t*>(&pair);
}
/// A float that is a bf16, as that bf16 in both halves.
__device__ __forceinline__ uint32_t twice(uint32_t bits) { return __byte_perm(bits, bits, 0x3232); }

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

  /// d = softplus(dt + bias) / ln 2 and x = d u ln 2. Steps past the end get d = 0: they leave the state alone.
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
        uint4 x;
        x.x = split(d[0] * (u[0][c] * LN2)), x.y = split(d[1] * (u[1][c] * LN2));
        x.z = split(d[2] * (u[2][c] * LN2)), x.w = split(d[3] * (u[3][c] * LN2));
        *reinterpret_cast<uint4*>(&out.x[at.y + c][at.x]) = x;
      }
    }
#pragma unroll
    for (int r = 0; r < (2 * BC_TASKS + HELPERS - 1) / HELPERS; ++r) {
      const int task = warp + r * HELPERS;
      if (2 * BC_TASKS % HELPERS && task >= 2 * BC_TASKS) break;
      const bool is_C = task >= BC_TASKS;
      const int2 at = block_of<2>(is_C ? task - BC_TASKS : task);
      float f[4][2];
      read_block<N>(tile.BC + is_C * tile_size<N>(STEPS), at.x, at.y, f);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        uint4 words = {__float_as_uint(f[0][n]), __float_as_uint(f[1][n]), __float_as_uint(f[2][n]), __float_as_uint(f[3][n])};
        if (!is_C) words = {twice(words.x), twice(words.y), twice(words.z), twice(words.w)};
        uint32_t* to = is_C ? reinterpret_cast<uint32_t*>(&out.C[at.y + n][at.x]) : &out.B[at.y + n][at.x];
        *reinterpret_cast<uint4*>(to) = words;
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
      for (int c = 0; c < WIDTH; ++c) read_floats(reinterpret_cast<const float*>(&in.x[at.y + c][at.x]), sums[c]);
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

/// Walks 16 channels. Lane 4 g + q holds, of state block i, h[i] = (channel g, state 2q), (g, 2q+1), (g+8, 2q), (g+8, 2q+1).
struct Walker {
  struct Steps {  // what a lane needs of a group of eight steps
    float d[2][GROUP];           // of channels g and g+8
    uint32_t x[2][2], B[NB][2];  // of steps q and q+4: x of channels g, g+8; B of state g of the block
    float C[NB][2];              // of step g: states 2q and 2q+1
  };
  const Scan& s;
  Shared& shared;
  const int channel, g, q;
  float a[NB][4], h[NB][4];
  Steps steps;

  __device__ __forceinline__ void read(const Prepared& tile, int t) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      read_floats(&tile.d[channel + g + 8 * r][t], steps.d[r]);
#pragma unroll
      for (int half = 0; half < 2; ++half) steps.x[half][r] = tile.x[channel + g + 8 * r][t + q + 4 * half];
    }
#pragma unroll
    for (int i = 0; i < NB; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        steps.B[i][r] = tile.B[8 * i + g][t + q + 4 * r];
        steps.C[i][r] = tile.C[8 * i + 2 * q + r][t + g];
      }
    }
  }
  /// One group, and the reads for the next before the write, which the compiler could not move them across.
  __device__ __forceinline__ void group(Prepared& tile, int t, const Prepared& next_tile, int next) {
    const Steps now = steps;
    float y[2][4] = {};  // (channel g, step 2q), (g, 2q+1), (g+8, 2q), (g+8, 2q+1); two sums, for a shorter chain
    read(next_tile, next);
#pragma unroll
    for (int j = 0; j < GROUP; ++j) {
#pragma unroll
      for (int i = 0; i < NB; ++i) {
#pragma unroll
        for (int r = 0; r < 4; ++r) h[i][r] *= ex2(now.d[r / 2][j] * a[i][r]);
        multiply_bf16(h[i], now.x[j / 4], q == j % 4 ? now.B[i][j / 4] : 0u);
        multiply_tf32(y[i & 1], h[i][0], h[i][2], h[i][1], h[i][3], g == j ? now.C[i][0] : 0.f, g == j ? now.C[i][1] : 0.f);
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      *reinterpret_cast<float2*>(&tile.x[channel + g + 8 * r][t + 2 * q]) =
          make_float2(y[0][2 * r] + y[1][2 * r], y[0][2 * r + 1] + y[1][2 * r + 1]);
    }
  }

  __device__ void run() {
    const int b = blockIdx.y, first = blockIdx.x * CHANNELS + channel + g, tiles = (s.valid(b) + STEPS - 1) / STEPS;
    float* state = s.state + size_t(b) * N * s.channels;
#pragma unroll
    for (int i = 0; i < NB; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int column = first + r / 2 * 8;
        const size_t at = size_t(8 * i + 2 * q + r % 2) * s.channels + column;
        a[i][r] = column < s.channels ? s.A[at] : 0;
        h[i][r] = column < s.channels ? state[at] : 0;
      }
    }
    if (tiles > 0) {
      barrier_wait(&shared.full[0], 0);
      read(shared.prepared[0], 0);
    }
    for (int k = 0; k < tiles; ++k) {
      Prepared& tile = shared.prepared[k & 1];
#pragma unroll unrolled
      for (int t = 0; t < STEPS - GROUP; t += GROUP) group(tile, t, tile, t + GROUP);
      const bool more = k + 1 < tiles;
      if (more) barrier_wait(&shared.full[(k + 1) & 1], (k + 1) >> 1 & 1);
      group(tile, STEPS - GROUP, shared.prepared[(k + more) & 1], 0);
      named_barrier_arrive(2 + (k & 1), Helper::ALL);
    }
#pragma unroll
    for (int i = 0; i < NB; ++i) {
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int column = first + r / 2 * 8;
        if (column < s.channels) state[size_t(8 * i + 2 * q + r % 2) * s.channels + column] = h[i][r];
      }
    }
  }
};

__global__ __launch_bounds__(THREADS, BLOCKS) void scan_v5(__grid_constant__ const Scan s) {
  extern __shared__ __align__(128) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) barrier_init(&shared.full[i], HELPERS);
  }
  __syncthreads();
  if (threadIdx.x < 32 * WALKERS) {
    if constexpr (WALKER_REGISTERS) registers_more<WALKER_REGISTERS>();
    Walker{s, shared, int(threadIdx.x / 32 * 16), int(threadIdx.x % 32 / 4), int(threadIdx.x % 4)}.run();
  } else {
    if constexpr (WALKER_REGISTERS) registers_fewer<HELPER_REGISTERS>();
    Helper(s, shared).run();
  }
}

int main(int count, char** arguments) {
  const auto launch = [](const Scan& s) {
    scan_v5<<<dim3((s.channels + CHANNELS - 1) / CHANNELS, s.batch), THREADS, sizeof(Shared)>>>(s);
  };
  return scan_main(count, arguments, {"v5", launch, (const void*)scan_v5, THREADS, int(sizeof(Shared))});
}
