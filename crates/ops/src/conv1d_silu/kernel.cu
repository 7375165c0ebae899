// Causal depthwise convolution, then SiLU: see mod.rs. A thread takes one channel, or four neighbors, through a tile of steps, so that neighboring
// threads read neighboring channels; the last taps' samples stay in registers.

namespace {

constexpr int THREADS = 128;

struct Conv1dSiluParams {
  const void* x;
  const float *weight, *bias;
  float* state;
  const int* lens;
  void* y;
  i64 ld_x, b, l, e, w;
  u32 tile, tiles;     // steps of a tile
  u32 channel_blocks;  // blocks side by side
  u32 x_type, y_type, unused;
};

/// A channel, or some, of a batch row.
template <int W>
struct Channel {
  const Conv1dSiluParams& p;
  const u32 x_type, y_type;
  const i64 b, c;

  __device__ __forceinline__ Floats<W> input(i64 t) const { return load_stored<W>(p.x, (b * p.l + t) * p.ld_x + c, x_type); }
  /// Sample `at` of its past, counted from the oldest in the state.
  __device__ __forceinline__ Floats<W> sample(i64 at) const {
    const i64 kept = p.w - 1;
    return at < kept ? load<W>(p.state, (b * kept + at) * p.e + c) : input(at - kept);
  }
  __device__ __forceinline__ void keep(i64 j, const Floats<W>& sample) const { store<W>(p.state, (b * (p.w - 1) + j) * p.e + c, sample); }
  /// Leaves the last w − 1 of `valid` samples in the state. Ascending, so that each is read before its place is written.
  __device__ __forceinline__ void shift(i64 valid) const {
    for (i64 j = 0; j < p.w - 1; ++j) keep(j, sample(valid + j));
  }
  __device__ __forceinline__ Floats<W> bias() const {
    if (p.bias) return load<W>(p.bias, c);
    return {};
  }
  __device__ __forceinline__ void put(i64 t, Floats<W> sum) const {
    // Memory is to bound this: a division to the last bit takes as long as all the rest.
    for (int i = 0; i < W; ++i) sum.v[i] = fast_silu(sum.v[i]);
    store_stored<W>(p.y, (b * p.l + t) * p.e + c, y_type, sum);
  }
};

template <int W>
__device__ __forceinline__ void add(Floats<W>& sum, const Floats<W>& tap, const Floats<W>& sample) {
#pragma unroll
  for (int i = 0; i < W; ++i) sum.v[i] = fmaf(tap.v[i], sample.v[i], sum.v[i]);
}

/// WIDTH taps.
template <int WIDTH, int W>
__device__ __forceinline__ void convolve(const Channel<W>& channel, i64 start, i64 end, bool whole) {
  constexpr int TOGETHER = 8;  // loads on their way at once
  const Conv1dSiluParams& p = channel.p;
  const Floats<W> bias = channel.bias();
  Floats<W> taps[WIDTH], past[WIDTH - 1 + TOGETHER];
#pragma unroll
  for (int j = 0; j < WIDTH; ++j) taps[j] = load<W>(p.weight, j * p.e + channel.c);
#pragma unroll
  for (int j = 0; j < WIDTH - 1; ++j) past[j] = channel.sample(start + j);
  i64 t = start;
  for (; t + TOGETHER <= end; t += TOGETHER) {
#pragma unroll
    for (int i = 0; i < TOGETHER; ++i) past[WIDTH - 1 + i] = channel.input(t + i);
#pragma unroll
    for (int i = 0; i < TOGETHER; ++i) {
      Floats<W> sum = bias;
#pragma unroll
      for (int j = 0; j < WIDTH; ++j) add(sum, taps[j], past[i + j]);
      channel.put(t + i, sum);
    }
#pragma unroll
    for (int j = 0; j < WIDTH - 1; ++j) past[j] = past[TOGETHER + j];
  }
  for (; t < end; ++t) {
    past[WIDTH - 1] = channel.input(t);
    Floats<W> sum = bias;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) add(sum, taps[j], past[j]);
    channel.put(t, sum);
#pragma unroll
    for (int j = 0; j < WIDTH - 1; ++j) past[j] = past[j + 1];
  }
  if (!whole) return;
#pragma unroll
  for (int j = 0; j < WIDTH - 1; ++j) channel.keep(j, past[j]);
}

/// As many taps as there are.
__device__ __forceinline__ void convolve_any(const Channel<1>& channel, i64 start, i64 end, bool whole) {
  const Conv1dSiluParams& p = channel.p;
  for (i64 t = start; t < end; ++t) {
    Floats<1> sum = channel.bias();
    for (i64 j = 0; j < p.w; ++j) add(sum, load<1>(p.weight, j * p.e + channel.c), channel.sample(t + j));
    channel.put(t, sum);
  }
  if (whole) channel.shift(end);
}

/// Grid: channel_blocks for each tile and batch row. The state is updated here where one tile is the whole sequence, else by
/// conv1d_silu_shift behind this, since other blocks may still read it.
template <int WIDTH, int W>
__device__ __forceinline__ void conv1d_silu(const Conv1dSiluParams& p, u32 x_type, u32 y_type) {
  const u32 column = blockIdx.x % p.channel_blocks, row = blockIdx.x / p.channel_blocks;
  const i64 c = (i64(column) * THREADS + threadIdx.x) * W, b = row / p.tiles, start = i64(row % p.tiles) * p.tile;
  const i64 valid = valid_length(p.lens, b, p.l);
  if (c >= p.e || start >= valid) return;
  const i64 end = start + p.tile < valid ? start + p.tile : valid;
  const Channel<W> channel{p, x_type, y_type, b, c};
  if constexpr (WIDTH > 0) {
    convolve<WIDTH, W>(channel, start, end, p.tiles == 1);
  } else {
    convolve_any(channel, start, end, p.tiles == 1);
  }
}

}  // namespace

// The width of every released model, then any. What is asked for a type that is known when this is compiled costs nothing.
KERNEL_BOUNDS(conv1d_silu_w4_f32, Conv1dSiluParams, THREADS) { conv1d_silu<4, 4>(p, F32, F32); }
KERNEL_BOUNDS(conv1d_silu_w4_bf16, Conv1dSiluParams, THREADS) { conv1d_silu<4, 4>(p, BF16, BF16); }
KERNEL_BOUNDS(conv1d_silu_w4, Conv1dSiluParams, THREADS) { conv1d_silu<4, 1>(p, p.x_type, p.y_type); }
KERNEL_BOUNDS(conv1d_silu_any, Conv1dSiluParams, THREADS) { conv1d_silu<0, 1>(p, p.x_type, p.y_type); }

/// Grid: channel_blocks for each batch row.
KERNEL_BOUNDS(conv1d_silu_shift, Conv1dSiluParams, THREADS) {
  const i64 c = i64(blockIdx.x % p.channel_blocks) * THREADS + threadIdx.x, b = blockIdx.x / p.channel_blocks;
  if (c < p.e) Channel<1>{p, p.x_type, p.y_type, b, c}.shift(valid_length(p.lens, b, p.l));
}
