// One position of one sequence: what a token takes through a layer when text is generated. Two kernels take what a plan says in several nodes,
// cut where every block needs what all others made:
//
//   step_linear   (RMSNorm,) y = x·Wᵀ + bias + residual (, causal convolution and SiLU of some of the columns)
//   step_scan     Δ's matrix product, then one step of the selective scan
//
// Each is a chain of latencies more than work, so weights are on their way before the kernel in front has ended, and state has come nearer.
// Every output is one sum in one order.

struct StepLinearParams {
  const float* x;
  const void* weight;
  const float* bias;      // or null
  const float* residual;  // or null; may be y
  float* y;
  const int* lens;   // or null
  const float* norm; // the RMSNorm's weight, or null
  const float *taps, *conv_bias;  // (4, channels), (channels) or null
  float* state;                   // (3, channels): the convolution's, or null where there is none
  float* u;                       // (channels): what it makes
  u32 k, m;
  u32 rows;      // of W, a block's
  u32 lanes;     // threads that share a row of W
  u32 abreast;   // rows of W at once, lanes threads each
  u32 stages;    // how often several of them are taken
  u32 rounds;    // x (and an f32 W) are rounded to bf16
  u32 normed;    // whether there is an RMSNorm
  u32 first, channels;  // of y's columns, those that are convolved
  float eps;
  u32 unused;
};

struct StepScanParams {
  const float* low;
  const void* weight;
  const float* bias;  // or null
  const float *u, *A, *B, *C;
  const float *D, *z, *dt_bias;  // or null
  float* state;
  float* y;
  const int* lens;  // or null
  u32 k, e, n;
  u32 per_group;  // channels of a group
  u32 channels;   // of a block, a multiple of 8
  u32 stored;     // type of the weight
  u32 rounds, softplus;
};

namespace {

constexpr u32 MOST_THREADS = 512, MOST_WARPS = MOST_THREADS / 32;
/// Pieces of W (sixteen bytes) that a thread takes at once.
constexpr u32 TOGETHER = 4;
/// How often so many are on their way.
constexpr u32 STAGES = 4;
/// Rows of W a thread whose sums are added up at once.
constexpr u32 BATCH = 16;
constexpr u32 TAPS = 4;

__device__ __forceinline__ float silu(float x) { return x / (1.0f + expf(-x)); }

/// A row of W has p.lanes threads with PIECES pieces each, and these the same columns of x for all rows, in registers. What a thread copies to
/// shared memory it alone reads. Rows are taken several at once, so that a product does not wait for the one before it.
template <class W, u32 PIECES>
__device__ __forceinline__ void linear(const StepLinearParams& p) {
  constexpr u32 LANE = W::LANE, ROWS = TOGETHER / PIECES;
  SHARED(float, squares, [MOST_WARPS]);
  SHARED(float, parts, [2][MOST_WARPS][BATCH]);
  DYNAMIC_SHARED(uint4, ring);
  const u32 thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
  const u32 abreast = p.abreast, warps = p.lanes / 32, start = blockIdx.x * p.rows, count = min(p.rows, p.m - start);
  // Divisions are long.
  u32 column = thread, own = 0;
#pragma unroll 1
  while (column >= p.lanes) column -= p.lanes, ++own;
  // Of the next stage to be copied: where this thread's first piece lies, and goes to, and the row that it is of.
  const typename W::T* from = static_cast<const typename W::T*>(p.weight) + u64(start + own) * p.k + column * LANE;
  const u64 pitch = u64(abreast) * p.k;
  u32 next = own, slot = 0;
  bool in[PIECES];  // whether it has that piece of a row
#pragma unroll
  for (u32 i = 0; i < PIECES; ++i) in[i] = (column + i * p.lanes) * LANE < p.k;
  const auto copy = [&] {
    uint4* to = ring + slot * TOGETHER * blockDim.x + thread;
    slot = slot + 1 == STAGES ? 0 : slot + 1;
#pragma unroll
    for (u32 r = 0; r < ROWS; ++r, from += pitch, next += abreast) {
#pragma unroll
      for (u32 i = 0; i < PIECES; ++i, to += blockDim.x) {
        if (next < count && in[i]) copy16(to, from + i * p.lanes * LANE);
      }
    }
    copies_commit();
  };
#pragma unroll 1
  for (u32 stage = 0; stage < STAGES; ++stage) copy();
  float gain[PIECES][LANE];
#pragma unroll
  for (u32 i = 0; i < PIECES; ++i) {
#pragma unroll
    for (u32 j = 0; j < LANE; j += 4) {
      const Floats<4> four = p.norm && in[i] ? load<4>(p.norm, (column + i * p.lanes) * LANE + j) : Floats<4>{1.0f, 1.0f, 1.0f, 1.0f};
      for (u32 c = 0; c < 4; ++c) gain[i][j + c] = four.v[c];
    }
  }
  // Of the rows that are added up at once, `turns` times in turn, the thread finishes one: this, and those a block's threads behind it.
  const u32 turns = p.lanes / BATCH;
  u32 turn = 0, beside = thread / BATCH;
#pragma unroll 1
  while (beside >= abreast) beside -= abreast, ++turn;
  u32 row = (turn * BATCH + thread % BATCH) * abreast + beside;
  const u32 finished = start + row, channel = finished - p.first;
  const bool finishes = row < count, convolves = p.state && finishes && channel < p.channels;
  const float bias = finishes && p.bias ? p.bias[finished] : 0.0f;
  float taps[TAPS], past[TAPS - 1], conv_bias = 0.0f;
  if (convolves) {
    for (u32 j = 0; j < TAPS; ++j) taps[j] = p.taps[j * p.channels + channel];
    for (u32 j = 0; j + 1 < TAPS; ++j) prefetch(p.state + j * p.channels + channel);
    if (p.conv_bias) conv_bias = p.conv_bias[channel];
  }

  inputs_ready();
  const bool valid = !p.lens || p.lens[0] > 0;
  const float residual = finishes && p.residual ? p.residual[finished] : 0.0f;
  if (convolves) {
    for (u32 j = 0; j + 1 < TAPS; ++j) past[j] = p.state[j * p.channels + channel];
  }
  float x[PIECES][LANE], square = 0.0f;
#pragma unroll
  for (u32 i = 0; i < PIECES; ++i) {
#pragma unroll
    for (u32 j = 0; j < LANE; j += 4) {
      const Floats<4> four = valid && in[i] ? load<4>(p.x, (column + i * p.lanes) * LANE + j) : Floats<4>{0.0f, 0.0f, 0.0f, 0.0f};
      for (u32 c = 0; c < 4; ++c) {
        x[i][j + c] = four.v[c];
        square = fmaf(four.v[c], four.v[c], square);
      }
    }
  }
  float scale = 1.0f;
  if (p.normed) {
    square = warp_sum(square);
    if (lane == 0) squares[warp] = square;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll 2
    for (u32 w = 0; w < warps; ++w) sum += squares[own * warps + w];
    scale = 1.0f / sqrtf(sum / float(p.k) + p.eps);
  }
#pragma unroll
  for (u32 i = 0; i < PIECES; ++i) {
#pragma unroll
    for (u32 j = 0; j < LANE; ++j) {
      const float value = x[i][j] * scale * gain[i][j];
      x[i][j] = p.rounds ? round_bf16(value) : value;
    }
  }

  constexpr u32 AT_ONCE = BATCH / ROWS;
  for (u32 base = 0, half = 0; base < p.stages; base += AT_ONCE, half ^= 1) {
    // Sums move up to make room for the next, so that the loop need not be unrolled: kernels by turns fetch their instructions anew each time,
    // and long ones wait for them longer than for their data.
    float sums[BATCH] = {};
#pragma unroll 1
    for (u32 stage = base; stage < base + AT_ONCE; ++stage) {
#pragma unroll
      for (u32 i = 0; i < BATCH; ++i) sums[i] = i + ROWS < BATCH ? sums[i + ROWS] : 0.0f;
      if (stage >= p.stages) continue;
      copies_wait<STAGES - 1>();
      const uint4* const here = ring + slot * TOGETHER * blockDim.x + thread;
      uint4 pieces[TOGETHER];
#pragma unroll
      for (u32 i = 0; i < TOGETHER; ++i) pieces[i] = here[i * blockDim.x];
      // Into the same place: a thread's loads from shared memory are done in order, before a copy that it starts behind them arrives.
      copy();
#pragma unroll
      for (u32 r = 0; r < ROWS; ++r) {
        float& sum = sums[BATCH - ROWS + r];
#pragma unroll
        for (u32 i = 0; i < PIECES; ++i) {
          // Where nothing was copied x is 0, or the row is none; what lies there may be anything.
          if (!in[i]) pieces[r * PIECES + i] = make_uint4(0, 0, 0, 0);
          float w[LANE];
          widen_piece<W>(pieces[r * PIECES + i], w, p.rounds);
#pragma unroll
          for (u32 j = 0; j < LANE; ++j) sum = fmaf(w[j], x[i][j], sum);
        }
      }
    }
    const float sum = sum_lanes<BATCH>(sums, lane);
    if (lane % (32 / BATCH) == 0) parts[half][warp][lane / (32 / BATCH)] = sum;
    __syncthreads();
    // The turn is another thread's, or it has come round to a later row.
    const bool mine = turn == 0, ahead = start + row == finished;
    turn = mine ? turns - 1 : turn - 1;
    if (!mine) continue;
    const u32 at = row;
    row += blockDim.x;
    if (at >= count || !valid) continue;
    float value = 0.0f;
#pragma unroll 2
    for (u32 w = 0; w < warps; ++w) value += parts[half][beside * warps + w][thread % BATCH];
    value += ahead ? bias : p.bias ? p.bias[start + at] : 0.0f;
    if (convolves) {
      float sum = conv_bias;
#pragma unroll
      for (u32 j = 0; j + 1 < TAPS; ++j) sum = fmaf(taps[j], past[j], sum);
      sum = fmaf(taps[TAPS - 1], value, sum);
#pragma unroll
      for (u32 j = 0; j + 2 < TAPS; ++j) p.state[j * p.channels + channel] = past[j + 1];
      p.state[(TAPS - 2) * p.channels + channel] = value;
      p.u[channel] = silu(sum);
    } else {
      p.y[start + at] = value + (ahead ? residual : p.residual ? p.residual[start + at] : 0.0f);
    }
  }
  copies_wait<0>();
}

/// Of a block's channels × n states a thread has PER, one every blockDim.x.
template <u32 PER>
__device__ __forceinline__ void scan(const StepScanParams& p) {
  constexpr u32 MOST = 64, LOW = 8;
  SHARED(float, deltas, [MOST]);
  SHARED(float, inputs, [MOST]);
  SHARED(float, products, [PER * 256]);
  DYNAMIC_SHARED(uint4, pieces);
  const u32 thread = threadIdx.x, warp = thread / 32, lane = thread % 32, warps = blockDim.x / 32;
  const u32 start = blockIdx.x * p.channels, channels = min(p.channels, p.e - start), count = channels * p.n;
  const u32 width = p.stored == F32 ? 4 : 2;
  const char* const weight = static_cast<const char*>(p.weight) + u64(start) * p.k * width;
  for (u32 at = thread; at < channels * p.k * width / 16; at += blockDim.x) copy16(pieces + at, weight + at * 16);
  copies_commit();
  float A[PER], h[PER], B[PER], C[PER];
#pragma unroll
  for (u32 i = 0; i < PER; ++i) {
    const u32 at = thread + i * blockDim.x, place = at / channels * p.e + start + at % channels;
    if (at >= count) continue;
    A[i] = p.A[place];
    prefetch(p.state + place);
  }
  // A thread of the first finishes this channel.
  const u32 own = start + thread;
  const bool finishes = thread < channels;
  const float bias = finishes ? (p.bias ? p.bias[own] : 0.0f) : 0.0f, dt_bias = finishes && p.dt_bias ? p.dt_bias[own] : 0.0f;
  const float D = finishes && p.D ? p.D[own] : 0.0f;

  inputs_ready();
  const bool valid = !p.lens || p.lens[0] > 0;
  if (!valid) {
    copies_wait<0>();
    return;
  }
  float low[LOW];
#pragma unroll
  for (u32 i = 0; i < LOW; ++i) {
    const u32 at = lane + i * 32;
    low[i] = at < p.k ? p.low[at] : 0.0f;
    if (p.rounds) low[i] = round_bf16(low[i]);
  }
#pragma unroll
  for (u32 i = 0; i < PER; ++i) {
    const u32 at = thread + i * blockDim.x, n = at / channels, c = start + at % channels;
    if (at >= count) continue;
    h[i] = p.state[n * p.e + c];
    B[i] = p.B[c / p.per_group * p.n + n];
    C[i] = p.C[c / p.per_group * p.n + n];
  }
  const float u = finishes ? p.u[own] : 0.0f, z = finishes && p.z ? p.z[own] : 0.0f;
  copies_wait<0>();
  __syncthreads();
  for (u32 c = warp; c < channels; c += warps) {
    float sum = 0.0f;
#pragma unroll
    for (u32 i = 0; i < LOW; ++i) {
      const u32 at = lane + i * 32;
      if (at >= p.k) break;
      float w = load_stored<1>(pieces, c * p.k + at, p.stored).v[0];
      if (p.rounds) w = round_bf16(w);
      sum = fmaf(w, low[i], sum);
    }
    sum = warp_sum(sum);
    if (lane == 0) deltas[c] = sum;
  }
  __syncthreads();
  if (finishes) {
    const float s = deltas[thread] + bias + dt_bias;
    const float delta = p.softplus ? precise_softplus(s) : s;
    deltas[thread] = delta * LOG2E;
    inputs[thread] = delta * u;
  }
  __syncthreads();
#pragma unroll
  for (u32 i = 0; i < PER; ++i) {
    const u32 at = thread + i * blockDim.x, c = at % channels;
    if (at >= count) continue;
    h[i] = fmaf(precise_exp2(deltas[c] * A[i]), h[i], inputs[c] * B[i]);
    p.state[at / channels * p.e + start + c] = h[i];
    products[at] = h[i] * C[i];
  }
  __syncthreads();
  if (!finishes) return;
  float sum = 0.0f;
  for (u32 n = 0; n < p.n; ++n) sum += products[n * channels + thread];
  sum += D * u;
  p.y[own] = p.z ? sum * silu(z) : sum;
}

}  // namespace

#define KERNELS(type, Weight)                                                              \
  KERNEL_EARLY(step_linear1_##type, StepLinearParams, MOST_THREADS, 2) { linear<Weight, 1>(p); } \
  KERNEL_EARLY(step_linear2_##type, StepLinearParams, MOST_THREADS) { linear<Weight, 2>(p); } \
  KERNEL_EARLY(step_linear4_##type, StepLinearParams, MOST_THREADS) { linear<Weight, 4>(p); }
KERNELS(f32, WeightF32)
KERNELS(bf16, WeightBf16)
KERNELS(f16, WeightF16)

KERNEL_EARLY(step_scan1, StepScanParams, 256) { scan<1>(p); }
KERNEL_EARLY(step_scan4, StepScanParams, 256) { scan<4>(p); }
KERNEL_EARLY(step_scan16, StepScanParams, 256) { scan<16>(p); }
