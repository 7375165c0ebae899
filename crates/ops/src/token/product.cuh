// y = x·Wᵀ + bias + residual, x behind an RMSNorm or not, y before a causal convolution with SiLU or not.
namespace {

/// x as it is published in bf16, to shared memory: two words, four values, at once.
__device__ __forceinline__ void take_narrow(const Vector& from, u32 k, uint2* x, u32 token) {
  constexpr u32 ABREAST = 4;
#pragma unroll 1
  for (u32 base = threadIdx.x; base < k / 4; base += ABREAST * THREADS) {
    Flagged2 looks[ABREAST];
#pragma unroll
    for (u32 i = 0; i < ABREAST; ++i) {
      if (base + i * THREADS < k / 4) looks[i] = peek2(static_cast<const u64*>(from.at) + 2 * (base + i * THREADS));
    }
#pragma unroll
    for (u32 i = 0; i < ABREAST; ++i) {
      const u32 at = base + i * THREADS;
      if (at >= k / 4) break;
      x[at] = settle(looks[i], from, 2 * at, token);
    }
  }
}

/// x and the norm's weight, to shared memory in bf16: the norm's scale is known later, and multiplies sums. Gives the thread's part of the sum of
/// squares.
__device__ __forceinline__ float take_normed(const Vector& from, const float* norm, u32 k, u32* x, u32 token) {
  constexpr u32 MOST = MOST_NORMED / 2 / THREADS;
  float2 gain[MOST];
  Flagged2 looks[MOST];
#pragma unroll
  for (u32 i = 0; i < MOST; ++i) {
    const u32 at = threadIdx.x + i * THREADS;
    if (at >= k / 2) break;
    gain[i] = norm ? *reinterpret_cast<const float2*>(norm + 2 * at) : make_float2(1.0f, 1.0f);
    looks[i] = look2(from, 2 * at, token);
  }
  float square = 0.0f;
#pragma unroll
  for (u32 i = 0; i < MOST; ++i) {
    const u32 at = threadIdx.x + i * THREADS;
    if (at >= k / 2) break;
    const uint2 two = settle(looks[i], from, 2 * at, token);
    const float a = __uint_as_float(two.x), b = __uint_as_float(two.y);
    square = fmaf(a, a, fmaf(b, b, square));
    x[at] = narrow2_bf16(a * gain[i].x, b * gain[i].y);
  }
  return square;
}

/// Rows of W are A of the tensor cores' multiplication. x is all columns of B, or with halvings each of these a segment of x and rows of A segments
/// of a row of W: what matters of the product is then where a row and a column of one segment meet.
__device__ __forceinline__ void product(const TokenParams& params, const TokenPhase& phase, Shared& shared, const unsigned char* ring, Place& place,
                                        u32 number, u32 token, bool valid) {
  const TokenPhase p = phase;
  const u32 thread = threadIdx.x, warp = thread / 32, lane = thread % 32, g = lane / 4, t = lane % 4;
  const u32 start = blockIdx.x * p.rows, count = min(p.rows, p.m - start), row = start + thread, channel = row - p.first;
  const bool finishes = thread < count, convolves = finishes && channel < p.channels;
  u64 residual = 0;
  float bias = 0.0f, taps[TAPS], past[TAPS - 1], conv_bias = 0.0f;
  if (finishes) {
    if (p.bias) bias = p.bias[row];
    if (p.residual.at) residual = look(p.residual, row, token);
  }
  if (convolves) {
    for (u32 j = 0; j < TAPS; ++j) taps[j] = p.taps[j * p.channels + channel];
    for (u32 j = 0; j + 1 < TAPS; ++j) past[j] = p.state[j * p.channels + channel];
    if (p.conv_bias) conv_bias = p.conv_bias[channel];
  }
  const u32 rows = TILE >> p.halvings, segments = 1u << p.halvings, width = params.base / WARPS, units = width / STEP;
  const u32 pitch = (params.base << p.halvings) * 2 + PAD, stage = stage_bytes(params.base), own = warp << p.halvings;
  // The segments of rows g and g + 8 of A, and where they lie in a chunk.
  const u32 upper = g >> (4 - p.halvings), lower = (g + 8) >> (4 - p.halvings);
  const u32 one = (g & (rows - 1)) * pitch + ((own + upper) * width + t * 8) * 2;
  const u32 other = ((g + 8) & (rows - 1)) * pitch + ((own + lower) * width + t * 8) * 2;
  const uint4* const x = shared.x + ((own + (g & (segments - 1))) * width + t * 8) / 8;
  uint4 w[UNITS], v[UNITS];
  const auto take = [&] {
    const unsigned char* const here = ring + place.slot * stage;
    meeting_wait(&shared.full[place.slot], place.turn);
#pragma unroll
    for (u32 i = 0; i < UNITS; ++i) {
      if (i >= units) break;
      w[i] = *reinterpret_cast<const uint4*>(here + one + i * STEP * 2), v[i] = *reinterpret_cast<const uint4*>(here + other + i * STEP * 2);
    }
  };
  // Weights are there before x is.
  take();

  if (p.normed) {
    const float square = warp_sum(take_normed(p.x, p.norm, p.k, reinterpret_cast<u32*>(shared.x), token));
    if (lane == 0) shared.squares[number % 2][warp] = square;
  } else {
    take_narrow(p.x, p.k, reinterpret_cast<uint2*>(shared.x), token);
  }
  copies_wait<0>();
  gather();
  const float scale = p.normed ? rsqrtf(total(shared.squares[number % 2]) * p.per_k + p.eps) : 1.0f;
#pragma unroll 1
  for (u32 tile = 0; tile < count; tile += rows) {
    float sums[2][4] = {};
#pragma unroll 1
    for (u32 column = 0; column < p.k; column += params.base << p.halvings) {
#pragma unroll
      for (u32 i = 0; i < UNITS; ++i) {
        if (i >= units) break;
        const uint4 b = x[(column + i * STEP) / 8];
        mma_bf16(sums[0], {w[i].x, v[i].x, w[i].y, v[i].y}, {b.x, b.y});
        mma_bf16(sums[1], {w[i].z, v[i].z, w[i].w, v[i].w}, {b.z, b.w});
      }
      __syncwarp();
      if (lane == 0) meeting_arrive(&shared.empty[place.slot]);
      place.next(params.stages);
      if (tile + rows < count || column + (params.base << p.halvings) < p.k) take();
    }
    if (p.halvings == 0) {
      if (t == 0) {
        shared.parts[warp][tile + g] = sums[0][0] + sums[1][0];
        shared.parts[warp][tile + g + 8] = sums[0][2] + sums[1][2];
      }
    } else {
      float sum = t != upper / 2 ? 0.0f : upper % 2 ? sums[0][1] + sums[1][1] : sums[0][0] + sums[1][0];
      sum += t != lower / 2 ? 0.0f : lower % 2 ? sums[0][3] + sums[1][3] : sums[0][2] + sums[1][2];
      sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
      sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
      if (p.halvings > 1) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 16);
      if (p.halvings > 2) sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 8);
      if (t == 0 && g < rows) shared.parts[warp][tile + g] = sum;
    }
  }
  gather();

  float made = 0.0f, value = 0.0f;
  if (finishes) {
    float part[WARPS];
#pragma unroll
    for (u32 i = 0; i < WARPS; ++i) part[i] = shared.parts[i][thread];
    made = fmaf(total(part), scale, bias), value = made;
    if (convolves) {
      value = conv_bias;
#pragma unroll
      for (u32 j = 0; j + 1 < TAPS; ++j) value = fmaf(taps[j], past[j], value);
      value = fast_silu(fmaf(taps[TAPS - 1], made, value));
    } else if (p.residual.at) {
      value += settle(residual, p.residual, row, token);
    }
  }
  // What others wait for goes first.
  const u32 flag = token + number + 1;
  if (p.pairs && warp * 32 < count) {
    const float next = __shfl_xor_sync(0xFFFFFFFFu, value, 1);
    if (finishes && thread % 2 == 0 && (convolves || p.channels == 0)) {
      publish(p.pairs + (p.channels > 0 ? channel : row) / 2, __uint_as_float(narrow2_bf16(value, next)), flag);
    }
  }
  if (!finishes) return;
  if (p.flags) publish(p.flags + row, value, flag);
  if (!valid) return;
  if (p.y) p.y[row] = value;
  if (convolves) {
#pragma unroll
    for (u32 j = 0; j + 2 < TAPS; ++j) p.state[j * p.channels + channel] = past[j + 1];
    p.state[(TAPS - 2) * p.channels + channel] = made;
  }
}

}  // namespace
