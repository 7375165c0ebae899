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

// Each kernel.cu has its own: the emulator links them all.
namespace {

constexpr u32 THREADS = 256, WARPS = THREADS / 32;
constexpr u32 STATES = 16, CHANNELS = 128, ROWS = WARPS;
/// Columns that a lane loads of a row at once, and four lanes of a row.
constexpr u32 LANE = 8, PIECE = 4 * LANE;

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
    mma_bf16(sums, w.x, w8.x, w.y, w8.y, x.x, x.y);
    mma_bf16(sums, w.z, w8.z, w.w, w8.w, x.z, x.w);
  }
#pragma unroll
  for (u32 i = 0; i < 4; ++i) {
    const u32 at = first + i / 2 * 8, own = min(channel + at, p.e - 1);
    const float s = sums[i] + (p.bias ? p.bias[own] : 0.0f) + (p.dt_bias ? p.dt_bias[own] : 0.0f);
    delta[place * 2 + i % 2][at] = p.softplus ? precise_softplus(s) : s;
  }
}

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
  float4* const state = reinterpret_cast<float4*>(p.state + u64(own) * STATES * p.e + c);
  const u32 pitch = p.e / 4;
  float4 loaded[STATES];
#pragma unroll
  for (u32 n = 0; n < STATES; ++n) loaded[n] = __ldcs(state + n * pitch);
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
    float h[4] = {loaded[n].x, loaded[n].y, loaded[n].z, loaded[n].w};
#pragma unroll
    for (u32 j = 0; j < 4; ++j) {
      h[j] = fmaf(precise_exp2(d.v[j] * a.v[j]), h[j], delta_u.v[j] * b);
      sum.v[j] = fmaf(out, h[j], sum.v[j]);
    }
    __stcs(state + n * pitch, make_float4(h[0], h[1], h[2], h[3]));
  }
#pragma unroll
  for (u32 j = 0; j < 4; ++j) sum.v[j] = fmaf(D.v[j], u.v[j], sum.v[j]) * (p.z ? fast_silu(z.v[j]) : 1.0f);
  store_stored<4>(p.y, i64(own) * p.e + c, p.y_type, sum);
}
