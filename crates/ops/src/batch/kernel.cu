// One position of many sequences: what a step takes where so many rows are generated together that tensor cores multiply. Weights and states are
// more bytes than stay in any cache, so both are read once, and states written once, without a pause between.

struct BatchScanParams {
  const u16* low;               // x of the product that makes Δ, bf16
  const u16* weight;            // (e, k), bf16
  const float *bias, *dt_bias;  // of that product and of the scan, or null
  const u16 *u, *B, *C, *z;     // bf16; z or null
  const float *A, *D;           // (n, e); (e) or null
  float* state;                 // (rows, n, e)
  void* y;                      // may be u
  const int* lens;              // or null
  u64 ld_low, ld_u, ld_B, ld_C, ld_z;
  u32 rows, k, e;
  u32 softplus;
  u32 y_type;
  u32 unused;
};

struct BatchConvParams {
  const u16* x;                  // (rows, e) with a pitch, bf16
  const float *taps, *bias;      // (4, e); (e) or null
  float* state;                  // (rows, 3, e)
  const int* lens;               // or null
  u16* u;                        // (rows, e), what the convolution makes; may be x
  const u16* weight;             // (m, e), bf16: of the product that reads u
  float4* part;                  // that product by blocks of channels: (those, rows / 16, m / 8) tiles as a warp's lanes have them
  u64 ld_x;
  u32 rows, e, m;
  u32 unused;
};

struct BatchSumParams {
  const float4* part;  // (parts, rows / 16, m / 8) tiles
  void* y;
  const int* lens;  // or null
  u64 ld_y;
  u32 parts, rows, m;
  u32 y_type;
};

// Each kernel.cu has its own: the emulator links them all.
namespace {

constexpr u32 THREADS = 256, WARPS = THREADS / 32;
constexpr u32 STATES = 16, CHANNELS = 128, ROWS = WARPS;
/// Columns that a lane loads of a row at once, and four lanes of a row.
constexpr u32 LANE = 8, PIECE = 4 * LANE;
/// bf16 that a prefetch brings.
constexpr u32 LINE = 64;
constexpr u32 CONV_ROWS = 32, CONV_CHANNELS = 64, TAPS = 4;

/// Four floats that no cache is to keep: until they are wanted again, all others have passed.
__device__ __forceinline__ Floats<4> load_once(const float* from) {
  const float4 x = __ldcs(reinterpret_cast<const float4*>(from));
  return {x.x, x.y, x.z, x.w};
}
__device__ __forceinline__ void store_once(float* to, const Floats<4>& x) {
  __stcs(reinterpret_cast<float4*>(to), make_float4(x.v[0], x.v[1], x.v[2], x.v[3]));
}

/// Δ of a block's rows × channels by tensor cores, 16 channels a warp. Lanes load sixteen bytes, and which column stands where in a tile is the
/// same for both factors; the sum does not mind.
__device__ __forceinline__ void make_delta(const BatchScanParams& p, u32 row, u32 channel, float (*delta)[CHANNELS + 8]) {
  const u32 line = threadIdx.x % 32 / 4, place = threadIdx.x % 4, first = threadIdx.x / 32 * 16 + line;
  float sums[4] = {};
#pragma unroll 4
  for (u32 base = 0; base < p.k; base += PIECE) {
    const u32 at = base + place * LANE;
    const auto piece = [&](const u16* from, bool there) {
      return there && at < p.k ? *reinterpret_cast<const uint4*>(from + at) : make_uint4(0, 0, 0, 0);
    };
    const uint4 x = piece(p.low + (row + line) * p.ld_low, row + line < p.rows);
    const uint4 w = piece(p.weight + u64(channel + first) * p.k, channel + first < p.e);
    const uint4 w8 = piece(p.weight + u64(channel + first + 8) * p.k, channel + first + 8 < p.e);
    mma_bf16(sums, {w.x, w8.x, w.y, w8.y}, {x.x, x.y});
    mma_bf16(sums, {w.z, w8.z, w.w, w8.w}, {x.z, x.w});
  }
#pragma unroll
  for (u32 i = 0; i < 4; ++i) {
    const u32 at = first + i / 2 * 8, own = min(channel + at, p.e - 1);
    const float s = sums[i] + (p.bias ? p.bias[own] : 0.0f) + (p.dt_bias ? p.dt_bias[own] : 0.0f);
    delta[place * 2 + i % 2][at] = p.softplus ? precise_softplus(s) : s;
  }
}

/// Where piece `at` of sixteen bytes of a row of CONV_CHANNELS bf16 lies in shared memory: pairs of rows that are read together meet no bank twice.
__device__ __forceinline__ u32 piece_at(u32 row, u32 at) { return row * (CONV_CHANNELS / LANE) + (at ^ row % 2 * 4); }

}  // namespace

/// Δ's product, then a step of the scan, of 8 rows × 128 channels. A warp takes a row, a lane four neighboring channels with all their states, so
/// that nothing is added up over threads. States are not asked for ahead of that: blocks that come and go keep the memory busier than hints do.
KERNEL_EARLY(batch_scan, BatchScanParams, THREADS, 2) {
  SHARED(float, A, [STATES][CHANNELS]);
  SHARED(float, delta, [ROWS][CHANNELS + 8]);
  SHARED(float, BC, [2][ROWS][STATES]);
  const u32 thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const u32 tiles = (p.e + CHANNELS - 1) / CHANNELS, channel = blockIdx.x % tiles * CHANNELS, row = blockIdx.x / tiles * ROWS;
  for (u32 i = thread; i < STATES * CHANNELS / 4; i += THREADS) {
    const u32 n = i / (CHANNELS / 4), c = i % (CHANNELS / 4) * 4;
    copy16(&A[n][c], p.A + u64(n) * p.e + min(channel + c, p.e - 4));
  }
  copies_commit();
  // Δ's weights, a row two threads, so that they are near when x is there.
  for (u32 at = 0; channel + thread / 2 < p.e && thread % 2 * LINE + at < p.k; at += 2 * LINE) {
    prefetch(p.weight + u64(channel + thread / 2) * p.k + thread % 2 * LINE + at);
  }
  inputs_ready();
  make_delta(p, row, channel, delta);
  for (u32 i = thread; i < 2 * ROWS * STATES; i += THREADS) {
    const u32 is_C = i / (ROWS * STATES), r = i / STATES % ROWS, n = i % STATES, from = min(row + r, p.rows - 1);
    BC[is_C][r][n] = widen_bf16(is_C ? p.C[from * p.ld_C + n] : p.B[from * p.ld_B + n]);
  }
  copies_wait<0>();
  __syncthreads();
  const u32 c = channel + lane * 4;
  if (row + warp >= p.rows || c >= p.e || (p.lens && p.lens[row + warp] <= 0)) return;
  const u32 own = row + warp;
  float* const state = p.state + u64(own) * STATES * p.e + c;
  Floats<4> h[STATES];
#pragma unroll
  for (u32 n = 0; n < STATES; ++n) h[n] = load_once(state + n * p.e);
  const Floats<4> u = load_stored<4>(p.u, own * p.ld_u + c, BF16);
  const Floats<4> z = p.z ? load_stored<4>(p.z, own * p.ld_z + c, BF16) : Floats<4>{};
  const Floats<4> D = p.D ? load<4>(p.D, c) : Floats<4>{};
  Floats<4> d = load<4>(&delta[warp][lane * 4], 0), delta_u, sum = {};
#pragma unroll
  for (u32 j = 0; j < 4; ++j) delta_u.v[j] = d.v[j] * u.v[j], d.v[j] *= LOG2E;
#pragma unroll
  for (u32 n = 0; n < STATES; ++n) {
    const Floats<4> a = load<4>(&A[n][lane * 4], 0);
    const float b = BC[0][warp][n], out = BC[1][warp][n];
#pragma unroll
    for (u32 j = 0; j < 4; ++j) {
      h[n].v[j] = fmaf(precise_exp2(d.v[j] * a.v[j]), h[n].v[j], delta_u.v[j] * b);
      sum.v[j] = fmaf(out, h[n].v[j], sum.v[j]);
    }
    store_once(state + n * p.e, h[n]);
  }
#pragma unroll
  for (u32 j = 0; j < 4; ++j) sum.v[j] = fmaf(D.v[j], u.v[j], sum.v[j]) * (p.z ? fast_silu(z.v[j]) : 1.0f);
  store_stored<4>(p.y, i64(own) * p.e + c, p.y_type, sum);
}

/// A step of the convolution with SiLU, of 32 rows × 64 channels, and what those add to the product behind it: it needs all channels, so that each
/// block leaves its part.
KERNEL_EARLY(batch_conv, BatchConvParams, THREADS) {
  constexpr u32 PIECES = CONV_CHANNELS / LANE;
  SHARED(uint4, made, [CONV_ROWS * PIECES]);
  DYNAMIC_SHARED(uint4, weight);
  const u32 thread = threadIdx.x, warp = thread / 32, line = thread % 32 / 4, place = thread % 4;
  const u32 blocks = (p.e + CONV_CHANNELS - 1) / CONV_CHANNELS, block = blockIdx.x % blocks;
  const u32 row = blockIdx.x / blocks * CONV_ROWS, channel = block * CONV_CHANNELS;
  for (u32 i = thread; i < p.m * PIECES; i += THREADS) {
    const u32 j = i / PIECES, at = channel + i % PIECES * LANE;
    copy16(weight + piece_at(j, i % PIECES), p.weight + (at < p.e ? u64(j) * p.e + at : 0), at < p.e ? 16 : 0);
  }
  copies_commit();
  const u32 own = thread % (CONV_CHANNELS / 4) * 4, c = channel + own;
  Floats<4> taps[TAPS], bias = {};
  if (c < p.e) {
#pragma unroll
    for (u32 j = 0; j < TAPS; ++j) taps[j] = load<4>(p.taps, j * p.e + c);
    if (p.bias) bias = load<4>(p.bias, c);
  }
  inputs_ready();
  constexpr u32 AT_ONCE = THREADS / (CONV_CHANNELS / 4), TURNS = CONV_ROWS / AT_ONCE;
  Floats<4> samples[TURNS][TAPS];
  bool in[TURNS];
#pragma unroll
  for (u32 i = 0; i < TURNS; ++i) {
    const u32 r = row + thread / (CONV_CHANNELS / 4) + i * AT_ONCE;
    in[i] = c < p.e && r < p.rows && (!p.lens || p.lens[r] > 0);
    if (!in[i]) continue;
#pragma unroll
    for (u32 j = 0; j < TAPS - 1; ++j) samples[i][j] = load_once(p.state + (u64(r) * (TAPS - 1) + j) * p.e + c);
    samples[i][TAPS - 1] = load_stored<4>(p.x, r * p.ld_x + c, BF16);
  }
#pragma unroll
  for (u32 i = 0; i < TURNS; ++i) {
    const u32 at = thread / (CONV_CHANNELS / 4) + i * AT_ONCE, r = row + at;
    uint2 words = make_uint2(0, 0);
    if (in[i]) {
      Floats<4> sum = bias;
#pragma unroll
      for (u32 j = 0; j < TAPS; ++j) {
        for (u32 k = 0; k < 4; ++k) sum.v[k] = fmaf(taps[j].v[k], samples[i][j].v[k], sum.v[k]);
        if (j > 0) store_once(p.state + (u64(r) * (TAPS - 1) + j - 1) * p.e + c, samples[i][j]);
      }
      for (u32 k = 0; k < 4; ++k) sum.v[k] = fast_silu(sum.v[k]);
      words = make_uint2(narrow2_bf16(sum.v[0], sum.v[1]), narrow2_bf16(sum.v[2], sum.v[3]));
      *reinterpret_cast<uint2*>(p.u + u64(r) * p.e + c) = words;
    }
    reinterpret_cast<uint2*>(made + piece_at(at, own / LANE))[own / 4 % 2] = words;
  }
  copies_wait<0>();
  __syncthreads();
  // A warp has 16 of the rows, every fourth eight columns.
  const u32 first = warp % (CONV_ROWS / 16) * 16;
  uint4 a[2], b[2];
#pragma unroll
  for (u32 k = 0; k < 2; ++k) a[k] = made[piece_at(first + line, k * 4 + place)], b[k] = made[piece_at(first + line + 8, k * 4 + place)];
  const u32 tile = (row + first) / 16, tiles = (p.rows + 15) / 16, columns = (p.m + 7) / 8;
  if (tile >= tiles) return;
  for (u32 j = warp / (CONV_ROWS / 16); j < columns; j += WARPS / (CONV_ROWS / 16)) {
    float sums[4] = {};
#pragma unroll
    for (u32 k = 0; k < 2; ++k) {
      // Behind the last row of W: the last once more, which nobody reads.
      const uint4 w = weight[piece_at(min(j * 8 + line, p.m - 1), k * 4 + place)];
      mma_bf16(sums, {a[k].x, b[k].x, a[k].y, b[k].y}, {w.x, w.y});
      mma_bf16(sums, {a[k].z, b[k].z, a[k].w, b[k].w}, {w.z, w.w});
    }
    p.part[((u64(block) * tiles + tile) * columns + j) * 32 + thread % 32] = make_float4(sums[0], sums[1], sums[2], sums[3]);
  }
}

/// y = the sum of all parts; a block has a tile, its warps take turns with the parts.
KERNEL_BOUNDS(batch_sum, BatchSumParams, THREADS) {
  SHARED(float4, sums, [WARPS][32]);
  const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto add = [](float4& sum, const float4& x) { sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w; };
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 8
  for (u32 part = warp; part < p.parts; part += WARPS) add(sum, p.part[(u64(part) * gridDim.x + blockIdx.x) * 32 + lane]);
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0) return;
#pragma unroll
  for (u32 other = 1; other < WARPS; ++other) add(sum, sums[other][lane]);
  const u32 columns = (p.m + 7) / 8, row = blockIdx.x / columns * 16 + lane / 4, column = blockIdx.x % columns * 8 + lane % 4 * 2;
  const float values[4] = {sum.x, sum.y, sum.z, sum.w};
#pragma unroll
  for (u32 i = 0; i < 4; ++i) {
    const u32 r = row + i / 2 * 8, c = column + i % 2;
    if (r < p.rows && c < p.m && (!p.lens || p.lens[r] > 0)) store_stored<1>(p.y, r * p.ld_y + c, p.y_type, {{values[i]}});
  }
}
