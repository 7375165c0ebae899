// Δ's matrix product and the step of the scan that alone reads it.
namespace {

/// ln(1 + eˢ) to within a few ulp; the polynomial where the sum would lose e⁻|s|.
__device__ __forceinline__ float quick_softplus(float s) {
  const float w = ex2(-LOG2E * fabsf(s));
  const float small = w * fmaf(w, fmaf(w, fmaf(w, -0.25f, 0.333333333f), -0.5f), 1.0f);
  return fmaxf(s, 0.0f) + (w < 0.015625f ? small : __logf(1.0f + w));
}

/// N lanes a channel, one for each of its states; a block's channels in ROUNDS that are taken together.
template <u32 ROUNDS>
__device__ __forceinline__ void scan(const TokenPhase& phase, Shared& shared, u32 number, u32 token, bool valid) {
  const TokenPhase p = phase;
  const u32 thread = threadIdx.x, n = thread % N, start = blockIdx.x * p.rows, count = min(p.rows, p.m - start), pairs = p.k / 2;
  constexpr u32 MOST = MOST_RANK / 2 / N, CHANNELS = THREADS / N;
  u32 weights[ROUNDS][MOST];
  u64 u[ROUNDS], z[ROUNDS];
  float A[ROUNDS], h[ROUNDS], D[ROUNDS], bias[ROUNDS], gate[ROUNDS], input[ROUNDS];
#pragma unroll
  for (u32 r = 0; r < ROUNDS; ++r) {
    // Lanes past the last channel go along with it, for the shuffles.
    const u32 channel = start + min(r * CHANNELS + thread / N, count - 1);
    const u32* const row = reinterpret_cast<const u32*>(p.weight + u64(channel) * p.k);
#pragma unroll
    for (u32 i = 0; i < MOST; ++i) weights[r][i] = n + i * N < pairs ? row[n + i * N] : 0;
    A[r] = p.A[n * p.m + channel] * LOG2E, h[r] = p.state[n * p.m + channel], D[r] = p.D ? p.D[channel] : 0.0f;
    bias[r] = (p.bias ? p.bias[channel] : 0.0f) + (p.dt_bias ? p.dt_bias[channel] : 0.0f);
    u[r] = look(p.u, channel, token), z[r] = p.residual.at ? look(p.residual, channel, token) : 0;
  }
#pragma unroll
  for (u32 r = 0; r < ROUNDS; ++r) {
    const u32 channel = start + min(r * CHANNELS + thread / N, count - 1);
    input[r] = settle(u[r], p.u, channel, token), D[r] *= input[r];
    gate[r] = p.residual.at ? fast_silu(settle(z[r], p.residual, channel, token)) : 1.0f;
  }
#pragma unroll 1
  for (u32 at = thread; at < p.k + 2 * N; at += THREADS) {
    const bool low = at < p.k, b = at < p.k + N;
    const Vector from = {low ? p.x.at : b ? p.B.at : p.C.at, low ? p.x.flagged : b ? p.B.flagged : p.C.flagged};
    const u32 i = low ? at : (at - p.k) % N;
    const float value = settle(look(from, i, token), from, i, token);
    shared.low[at] = low ? round_bf16(value) : value;
  }
  copies_wait<0>();
  gather();

  const float2* const low = reinterpret_cast<const float2*>(shared.low);
  const float B = shared.low[p.k + n], C = shared.low[p.k + N + n];
  float sum[ROUNDS] = {}, y[ROUNDS];
#pragma unroll
  for (u32 i = 0; i < MOST; ++i) {
    if (i * N >= pairs) break;
    const float2 x = n + i * N < pairs ? low[n + i * N] : make_float2(0.0f, 0.0f);
#pragma unroll
    for (u32 r = 0; r < ROUNDS; ++r) {
      float w[2];
      WidenBf16::pair(weights[r][i], w);
      sum[r] = fmaf(w[0], x.x, fmaf(w[1], x.y, sum[r]));
    }
  }
#pragma unroll
  for (u32 bit = N / 2; bit > 0; bit /= 2) {
#pragma unroll
    for (u32 r = 0; r < ROUNDS; ++r) sum[r] += __shfl_xor_sync(0xFFFFFFFFu, sum[r], bit);
  }
#pragma unroll
  for (u32 r = 0; r < ROUNDS; ++r) {
    const float s = sum[r] + bias[r], delta = p.softplus ? quick_softplus(s) : s;
    h[r] = fmaf(precise_exp2(delta * A[r]), h[r], delta * input[r] * B);
    y[r] = h[r] * C;
  }
#pragma unroll
  for (u32 bit = N / 2; bit > 0; bit /= 2) {
#pragma unroll
    for (u32 r = 0; r < ROUNDS; ++r) y[r] += __shfl_xor_sync(0xFFFFFFFFu, y[r], bit);
  }
  const u32 flag = token + number + 1;
#pragma unroll
  for (u32 r = 0; r < ROUNDS; ++r) {
    const u32 c = r * CHANNELS + thread / N, channel = start + c;
    const float value = (y[r] + D[r]) * gate[r], next = __shfl_xor_sync(0xFFFFFFFFu, value, N);
    if (c >= count) continue;
    if (p.pairs && thread % 32 == 0) publish(p.pairs + channel / 2, __uint_as_float(narrow2_bf16(value, next)), flag);
    if (p.flags && n == 0) publish(p.flags + channel, value, flag);
    if (!valid) continue;
    if (p.y && n == 0) p.y[channel] = value;
    p.state[n * p.m + channel] = h[r];
  }
}

}  // namespace
