// `y = x·Wᵀ + bias + residual`; cuda.rs says which way is taken when.
//
// - few: W is streamed once, sixteen bytes a lane; memory bounds it.
// - tile: blocks of 64 rows × 128 columns by f32 FMA, for products that the tensor cores do not take.
// - around cuBLASLt: round (x, and an f32 W, to 16 bits) before it, finish (scale, bias, residual, valid rows alone) behind it.
//
// Every output is one sum in one order: results have the same bits in each run.

struct LinearParams {
  const float* x;
  const void* weight;
  const float* bias;      // or null
  const float* residual;  // or null; may be y
  float* y;
  const int* lens;  // or null
  u64 ldx, ldr, ldy;
  u32 rows, l, k, m;
  u32 rounds;   // x and an f32 W are rounded to bf16
  u32 split;    // few: warps that share the columns of a row of W; 1, 2, 4 or 8
  u32 chunk;    // few: columns of x in shared memory at once
  u32 aligned;  // tile: 1 for x, 2 for W: sixteen bytes may be loaded at once
};

struct LinearRoundParams {
  const float* x;
  u16* to;          // dense
  float* scale;     // f16: what a row's product is to be multiplied by
  const int* lens;  // or null; rows that are not valid become zeros
  u64 ldx;
  u32 l, k;  // k is a multiple of 8
  u32 aligned;  // sixteen bytes of x may be loaded at once
  u32 unused;
};

struct LinearFinishParams {
  const float* part;      // products
  const float* scale;     // of each row, or null
  const float* bias;      // or null
  const float* residual;  // or null; may be y
  void* y;
  const int* lens;  // or null
  u64 ldp, ldr, ldy;
  u32 l, m;
  u32 type;  // of y
  u32 unused;
};

// Each kernel.cu has its own: the emulator links them all.
namespace {

__device__ __forceinline__ void load4(const float* from, float* to) {
  const float4 x = *reinterpret_cast<const float4*>(from);
  to[0] = x.x, to[1] = x.y, to[2] = x.z, to[3] = x.w;
}
/// The sixteen bytes of a row of W that begin at column `at`; zeros behind its end.
template <class W, bool VECTOR>
__device__ uint4 load_piece(const typename W::T* row, u32 at, u32 k) {
  constexpr u32 PART = W::LANE / 4;
  if (at >= k) return make_uint4(0, 0, 0, 0);
  if constexpr (VECTOR) return __ldg(reinterpret_cast<const uint4*>(row + at));
  return make_uint4(W::word(row, at, k), W::word(row, at + PART, k), W::word(row, at + 2 * PART, k), W::word(row, at + 3 * PART, k));
}

/// Whether row b · l + t, by that number, is valid; is_valid of common.cuh in 32 bits, where a division is a sixth as long.
__device__ bool takes_part(const int* lens, u32 row, u32 l) { return !lens || int(row % l) < lens[row / l]; }
__device__ bool takes_part(const LinearParams& p, u32 row) { return row < p.rows && takes_part(p.lens, row, p.l); }

__device__ void write(const LinearParams& p, u32 row, u32 column, float sum) {
  if (p.bias) sum += p.bias[column];
  if (p.residual) sum += p.residual[row * p.ldr + column];
  p.y[row * p.ldy + column] = sum;
}

constexpr u32 THREADS = 256, WARPS = THREADS / 32;

/// Rows of W of a warp. Each piece of x that is read from shared memory serves all four: with one, eight rows of x would ask for 16 bytes of
/// shared memory a byte of W, which is more than there are.
constexpr u32 GROUP = 4;

/// Columns `base` … `base + chunk` of ROWS rows of x into shared memory, rounded if need be; zeros for what is not there or not valid.
template <u32 LANE, int ROWS>
__device__ __forceinline__ void stage_x(const LinearParams& p, u32 start, u32 valid, u32 base, float* xs) {
  for (u32 at = threadIdx.x * 4; at < p.chunk; at += THREADS * 4) {
    // All rows are under way before the first is stored.
    float values[ROWS][4] = {};
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const float* x = p.x + (start + r) * p.ldx;
      const u32 k = valid >> r & 1 ? p.k : 0, from = base + at;
      if (p.aligned & 1) {
        if (from < k) load4(x + from, values[r]);
      } else {
#pragma unroll
        for (u32 i = 0; i < 4; ++i) values[r][i] = from + i < k ? x[from + i] : 0.0f;
      }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      float4 x = make_float4(values[r][0], values[r][1], values[r][2], values[r][3]);
      if (p.rounds) x = make_float4(round_bf16(x.x), round_bf16(x.y), round_bf16(x.z), round_bf16(x.w));
      // A lane takes eight columns by two loads: the first fours and the last fours lie apart, so that neighbors' are neighbors.
      const u32 place = LANE == 8 ? at / 4 % 2 * (p.chunk / 2) + at / 8 * 4 : at;
      *reinterpret_cast<float4*>(xs + r * p.chunk + place) = x;
    }
  }
}

/// Few rows of x: a warp (or `split` warps) has GROUP rows of W and ROWS rows of x.
///
/// An H100 has 2.3 MB on their way to hide 0.7 µs at 3.35 TB/s: 18 kB a multiprocessor. A warp has its current and its next GROUP × 512 bytes
/// under way, so that 9 warps would do and 16 to 24 are there. Small matrices have too few rows for that: their columns are shared by `split`
/// warps. The first pieces of W are asked for before x, so that both take one latency. A block stays and goes on to other rows of W, since
/// eight rows of x from the L2 cache are more than the 32 rows of W that they meet.
template <class W, int ROWS, bool VECTOR>
__device__ __forceinline__ void few(const LinearParams& p) {
  constexpr u32 LANE = W::LANE, STEP = 32 * LANE, SUMS = GROUP * ROWS, COPIES = 32 / SUMS;
  SHARED(float, partial, [2][WARPS][SUMS]);
  DYNAMIC_SHARED(float, xs);
  const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = warp % p.split, stride = p.split * STEP;
  const u32 units = WARPS / p.split, groups = (p.m + GROUP * units - 1) / (GROUP * units);
  // Blocks with the same rows of W are neighbors: all but one find them in the L2 cache.
  const u32 passes = (p.rows + ROWS - 1) / ROWS, start = blockIdx.x % passes * ROWS, others = gridDim.x / passes;
  u32 group = blockIdx.x / passes;

  const typename W::T* weight[GROUP];
  uint4 now[GROUP], next[GROUP];
  const auto load = [&](uint4(&pieces)[GROUP], u32 at) {
#pragma unroll
    for (u32 j = 0; j < GROUP; ++j) pieces[j] = load_piece<W, VECTOR>(weight[j], at + lane * LANE, p.k);
  };
  const auto begin = [&] {
#pragma unroll
    for (u32 j = 0; j < GROUP; ++j) {
      // Behind the last row: the last once more, not written.
      const u32 column = min((group * units + warp / p.split) * GROUP + j, p.m - 1);
      weight[j] = static_cast<const typename W::T*>(p.weight) + u64(column) * p.k;
    }
    load(now, part * STEP);
  };
  begin();
  u32 valid = 0;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) valid |= u32(takes_part(p, start + r)) << r;

  float sums[SUMS];
  const auto multiply = [&](const uint4(&pieces)[GROUP], u32 at) {
    float x[ROWS][LANE];
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const float* from = xs + r * p.chunk + (at / LANE + lane) * 4;
      load4(from, &x[r][0]);
      if constexpr (LANE == 8) load4(from + p.chunk / 2, &x[r][4]);
    }
#pragma unroll
    for (u32 j = 0; j < GROUP; ++j) {
      float w[LANE];
      widen_piece<W>(pieces[j], w, p.rounds);
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
#pragma unroll
        for (u32 i = 0; i < LANE; ++i) sums[j * ROWS + r] += w[i] * x[r][i];
      }
    }
  };
  for (u32 half = 0, staged = 0; group < groups; half ^= 1) {
#pragma unroll
    for (u32 i = 0; i < SUMS; ++i) sums[i] = 0.0f;
    u32 at = part * STEP;
    for (u32 base = 0; base < p.k; base += p.chunk) {
      if (!staged || p.chunk < p.k) {
        __syncthreads();
        stage_x<LANE, ROWS>(p, start, valid, base, xs);
        __syncthreads();
        staged = 1;
      }
      const u32 end = min(base + p.chunk, p.k);
      // Two pieces by turns: copied from one to the other they would share registers, and the next could not be asked for early.
      while (at < end) {
        load(next, at + stride);
        multiply(now, at - base);
        at += stride;
        if (at >= end) {
#pragma unroll
          for (u32 j = 0; j < GROUP; ++j) now[j] = next[j];
          break;
        }
        load(now, at + stride);
        multiply(next, at - base);
        at += stride;
      }
    }
    const u32 first = (group * units + warp / p.split) * GROUP;
    group += others;
    if (group < groups) begin();

    float sum = sum_lanes<SUMS>(sums, lane);
    const u32 index = lane / COPIES, column = first + index / ROWS, row = start + index % ROWS;
    if (p.split > 1) {
      if (lane % COPIES == 0) partial[half][warp][index] = sum;
      __syncthreads();
      if (part == 0) sum = partial[half][warp][index];
#pragma unroll 1
      for (u32 other = 1; part == 0 && other < p.split; ++other) sum += partial[half][warp + other][index];
    }
    if (part == 0 && lane % COPIES == 0 && column < p.m && valid >> index % ROWS & 1) write(p, row, column, sum);
  }
}

/// Many rows: a block has 64 rows of x × 128 rows of W, a thread 4 × 8 of the sums. The next DEPTH columns are loaded into registers while the
/// current ones are multiplied, and stored into the other half of shared memory.
constexpr u32 TILE_ROWS = 64, TILE_COLUMNS = 128, DEPTH = 16;

template <class W>
__device__ void tile(const LinearParams& p) {
  constexpr u32 PIECES = 8 / W::LANE;
  // Four more than needed: rows of the tiles begin at other banks, and sixteen bytes stay aligned.
  SHARED(float, xs, [2][DEPTH][TILE_ROWS + 4]);
  SHARED(float, ws, [2][DEPTH][TILE_COLUMNS + 4]);
  SHARED(int, any);
  const u32 thread = threadIdx.x, blocks = (p.rows + TILE_ROWS - 1) / TILE_ROWS;
  const u32 start = blockIdx.x % blocks * TILE_ROWS, first = blockIdx.x / blocks * TILE_COLUMNS;

  // Loading: a thread has four columns of a row of x, eight of a row of W.
  const u32 x_row = thread / 4, x_at = thread % 4 * 4, w_row = thread / 2, w_at = thread % 2 * 8;
  const bool x_valid = takes_part(p, start + x_row), w_valid = first + w_row < p.m;
  if (thread == 0) any = 0;
  __syncthreads();
  if (x_valid) any = 1;
  __syncthreads();
  if (!any) return;
  const float* x = p.x + (start + x_row) * p.ldx;
  const typename W::T* weight = static_cast<const typename W::T*>(p.weight) + (u64)(first + w_row) * p.k;
  float x_next[4];
  uint4 w_next[PIECES];
  const auto fetch = [&](u32 at) {
    const u32 k = x_valid ? p.k : 0, from = at + x_at;
    if ((p.aligned & 1) && from < k) {
      load4(x + from, x_next);
    } else {
#pragma unroll
      for (u32 i = 0; i < 4; ++i) x_next[i] = from + i < k ? x[from + i] : 0.0f;
    }
#pragma unroll
    for (u32 i = 0; i < PIECES; ++i) {
      const u32 k = w_valid ? p.k : 0, from = at + w_at + i * W::LANE;
      w_next[i] = p.aligned & 2 ? load_piece<W, true>(weight, from, k) : load_piece<W, false>(weight, from, k);
    }
  };
  const auto stage = [&](u32 half) {
#pragma unroll
    for (u32 i = 0; i < 4; ++i) xs[half][x_at + i][x_row] = p.rounds ? round_bf16(x_next[i]) : x_next[i];
#pragma unroll
    for (u32 i = 0; i < PIECES; ++i) {
      float w[W::LANE];
      widen_piece<W>(w_next[i], w, p.rounds);
#pragma unroll
      for (u32 n = 0; n < W::LANE; ++n) ws[half][w_at + i * W::LANE + n][w_row] = w[n];
    }
  };

  // Multiplying: a thread's columns are two runs of four, so that the loads of neighbors are neighbors.
  const u32 row = thread / 16 * 4, column = thread % 16 * 4;
  float sums[4][8] = {};
  fetch(0);
  stage(0);
  __syncthreads();
  for (u32 at = 0, half = 0; at < p.k; at += DEPTH, half ^= 1) {
    if (at + DEPTH < p.k) fetch(at + DEPTH);
#pragma unroll
    for (u32 i = 0; i < DEPTH; ++i) {
      float a[4], b[8];
      load4(&xs[half][i][row], a);
      load4(&ws[half][i][column], b);
      load4(&ws[half][i][column + TILE_COLUMNS / 2], b + 4);
#pragma unroll
      for (int r = 0; r < 4; ++r) {
#pragma unroll
        for (int c = 0; c < 8; ++c) sums[r][c] += a[r] * b[c];
      }
    }
    if (at + DEPTH < p.k) stage(half ^ 1);
    __syncthreads();
  }
#pragma unroll
  for (u32 r = 0; r < 4; ++r) {
    if (!takes_part(p, start + row + r)) continue;
#pragma unroll
    for (u32 c = 0; c < 8; ++c) {
      const u32 j = first + column + c % 4 + c / 4 * (TILE_COLUMNS / 2);
      if (j < p.m) write(p, start + row + r, j, sums[r][c]);
    }
  }
}

/// A block has a row: `to` = narrow(x), four elements a thread.
template <class Narrow>
__device__ void narrow_row(const LinearRoundParams& p, bool valid, const Narrow& narrow) {
  const float* x = p.x + blockIdx.x * p.ldx;
  u16* to = p.to + u64(blockIdx.x) * p.k;
  for (u32 at = threadIdx.x * 4; at < p.k; at += THREADS * 4) {
    float value[4] = {};
    if (valid && p.aligned) {
      load4(x + at, value);
    } else if (valid) {
#pragma unroll
      for (u32 i = 0; i < 4; ++i) value[i] = x[at + i];
    }
    const u32 low = narrow(value[0]) | u32(narrow(value[1])) << 16, high = narrow(value[2]) | u32(narrow(value[3])) << 16;
    *reinterpret_cast<uint2*>(to + at) = make_uint2(low, high);
  }
}

}  // namespace

#define KERNELS(type, Weight)                                                                             \
  KERNEL_BOUNDS(linear_few4_##type, LinearParams, THREADS) { few<Weight, 4, true>(p); }                   \
  KERNEL_BOUNDS(linear_few8_##type, LinearParams, THREADS, 2){ few<Weight, 8, true>(p); }                   \
  KERNEL_BOUNDS(linear_ragged_##type, LinearParams, THREADS, 2){ few<Weight, 8, false>(p); }                \
  KERNEL_BOUNDS(linear_tile_##type, LinearParams, THREADS) { tile<Weight>(p); }
KERNELS(f32, WeightF32)
KERNELS(bf16, WeightBf16)
KERNELS(f16, WeightF16)

KERNEL_BOUNDS(linear_round_bf16, LinearRoundParams, THREADS) {
  narrow_row(p, takes_part(p.lens, blockIdx.x, p.l), [](float value) { return narrow_bf16(value); });
}

/// For an f16 W: x is rounded to bf16 as always, then scaled by a power of two that brings the row's largest below 2¹⁵, so that f16 takes it.
/// That loses nothing of elements down to 2⁻²⁸ of the largest, and of smaller ones less than 2⁻³⁹ of it, which f32 sums do not hold.
KERNEL_BOUNDS(linear_round_f16, LinearRoundParams, THREADS) {
  SHARED(u32, largest, [WARPS]);
  const bool valid = takes_part(p.lens, blockIdx.x, p.l);
  const float* x = p.x + blockIdx.x * p.ldx;
  u32 most = 0;
  for (u32 i = threadIdx.x; valid && i < p.k; i += THREADS) {
    // Magnitudes have the order of their bits.
    most = max(most, __float_as_uint(round_bf16(x[i])) & 0x7FFFFFFFu);
  }
  for (int bit = 16; bit > 0; bit /= 2) most = max(most, __shfl_xor_sync(0xFFFFFFFFu, most, bit));
  if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = most;
  __syncthreads();
  for (u32 i = 0; i < WARPS; ++i) most = max(most, largest[i]);
  // Its exponent e, biased; 2^(14 − e) and its inverse stay normal numbers.
  const u32 exponent = max(most >> 23, 15u);
  const float scale = __uint_as_float((268 - exponent) << 23);
  if (threadIdx.x == 0) p.scale[blockIdx.x] = __uint_as_float((exponent - 14) << 23);
  narrow_row(p, valid, [scale](float value) { return narrow_f16(round_bf16(value) * scale); });
}

/// y = part · scale + bias + residual for the valid rows; a block has 1024 columns of a row.
KERNEL_BOUNDS(linear_finish, LinearFinishParams, THREADS) {
  const u32 blocks = (p.m + 1023) / 1024, row = blockIdx.x / blocks, end = blockIdx.x % blocks * 1024 + 1024;
  if (!takes_part(p.lens, row, p.l)) return;
  const float scale = p.scale ? p.scale[row] : 1.0f;
#pragma unroll
  for (u32 i = 0; i < 4; ++i) {
    const u32 column = end - 1024 + i * THREADS + threadIdx.x;
    if (column >= p.m) continue;
    float sum = p.part[row * p.ldp + column] * scale;
    if (p.bias) sum += p.bias[column];
    if (p.residual) sum += p.residual[row * p.ldr + column];
    store_stored<1>(p.y, i64(row * p.ldy) + column, p.type, {{sum}});
  }
}
