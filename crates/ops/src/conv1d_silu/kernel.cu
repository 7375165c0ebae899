// Causal depthwise convolution, then SiLU: see mod.rs. A thread takes one channel through a tile of steps, so that neighboring threads read
// neighboring channels; the last taps' samples stay in registers.

namespace {

constexpr int THREADS = 128;

struct Conv1dSiluParams {
  const float *x, *weight, *bias;
  float* state;
  const int* lens;
  float* y;
  i64 ld_x, b, l, e, w;
  i64 tile, tiles;        // steps of a tile
  i64 channel_blocks;     // blocks side by side
};

/// One channel of a batch row.
struct Channel {
  const Conv1dSiluParams& p;
  const i64 b, c;

  /// Sample `at` of its past, counted from the oldest in the state.
  __device__ __forceinline__ float sample(i64 at) const {
    const i64 kept = p.w - 1;
    return at < kept ? p.state[(b * kept + at) * p.e + c] : p.x[(b * p.l + at - kept) * p.ld_x + c];
  }
  __device__ __forceinline__ void keep(i64 j, float sample) const { p.state[(b * (p.w - 1) + j) * p.e + c] = sample; }
  /// Leaves the last w − 1 of `valid` samples in the state. Ascending, so that each is read before its place is written.
  __device__ __forceinline__ void shift(i64 valid) const {
    for (i64 j = 0; j < p.w - 1; ++j) keep(j, sample(valid + j));
  }
  __device__ __forceinline__ void put(i64 t, float sum) const { p.y[(b * p.l + t) * p.e + c] = sum / (1.0f + expf(-sum)); }
};

/// WIDTH taps.
template <int WIDTH>
__device__ __forceinline__ void convolve(const Channel& channel, i64 start, i64 end, bool whole) {
  constexpr int TOGETHER = 8;  // loads on their way at once
  const Conv1dSiluParams& p = channel.p;
  const float bias = p.bias ? p.bias[channel.c] : 0.0f;
  float taps[WIDTH], past[WIDTH - 1 + TOGETHER];
#pragma unroll
  for (int j = 0; j < WIDTH; ++j) taps[j] = p.weight[j * p.e + channel.c];
#pragma unroll
  for (int j = 0; j < WIDTH - 1; ++j) past[j] = channel.sample(start + j);
  const float* x = p.x + (channel.b * p.l + start) * p.ld_x + channel.c;
  i64 t = start;
  for (; t + TOGETHER <= end; t += TOGETHER, x += TOGETHER * p.ld_x) {
#pragma unroll
    for (int i = 0; i < TOGETHER; ++i) past[WIDTH - 1 + i] = x[i * p.ld_x];
#pragma unroll
    for (int i = 0; i < TOGETHER; ++i) {
      float sum = bias;
#pragma unroll
      for (int j = 0; j < WIDTH; ++j) sum = fmaf(taps[j], past[i + j], sum);
      channel.put(t + i, sum);
    }
#pragma unroll
    for (int j = 0; j < WIDTH - 1; ++j) past[j] = past[TOGETHER + j];
  }
  for (; t < end; ++t, x += p.ld_x) {
    past[WIDTH - 1] = *x;
    float sum = bias;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) sum = fmaf(taps[j], past[j], sum);
    channel.put(t, sum);
#pragma unroll
    for (int j = 0; j < WIDTH - 1; ++j) past[j] = past[j + 1];
  }
  if (!whole) return;
#pragma unroll
  for (int j = 0; j < WIDTH - 1; ++j) channel.keep(j, past[j]);
}

/// As many taps as there are.
__device__ __forceinline__ void convolve_any(const Channel& channel, i64 start, i64 end, bool whole) {
  const Conv1dSiluParams& p = channel.p;
  for (i64 t = start; t < end; ++t) {
    float sum = p.bias ? p.bias[channel.c] : 0.0f;
    for (i64 j = 0; j < p.w; ++j) sum = fmaf(p.weight[j * p.e + channel.c], channel.sample(t + j), sum);
    channel.put(t, sum);
  }
  if (whole) channel.shift(end);
}

/// Grid: channel_blocks for each tile and batch row. The state is updated here where one tile is the whole sequence, else by
/// conv1d_silu_shift behind this, since other blocks may still read it.
template <int WIDTH>
__device__ __forceinline__ void conv1d_silu(const Conv1dSiluParams& p) {
  const i64 c = blockIdx.x % p.channel_blocks * THREADS + threadIdx.x, tile = blockIdx.x / p.channel_blocks % p.tiles;
  const i64 b = blockIdx.x / p.channel_blocks / p.tiles, start = tile * p.tile, valid = valid_length(p.lens, b, p.l);
  if (c >= p.e || start >= valid) return;
  const i64 end = start + p.tile < valid ? start + p.tile : valid;
  const Channel channel{p, b, c};
  if constexpr (WIDTH > 0) {
    convolve<WIDTH>(channel, start, end, p.tiles == 1);
  } else {
    convolve_any(channel, start, end, p.tiles == 1);
  }
}

}  // namespace

// The width of every released model, then any.
KERNEL_BOUNDS(conv1d_silu_w4, Conv1dSiluParams, THREADS) { conv1d_silu<4>(p); }
KERNEL_BOUNDS(conv1d_silu_any, Conv1dSiluParams, THREADS) { conv1d_silu<0>(p); }

/// Grid: channel_blocks for each batch row.
KERNEL_BOUNDS(conv1d_silu_shift, Conv1dSiluParams, THREADS) {
  const i64 c = blockIdx.x % p.channel_blocks * THREADS + threadIdx.x, b = blockIdx.x / p.channel_blocks;
  if (c < p.e) Channel{p, b, c}.shift(valid_length(p.lens, b, p.l));
}
