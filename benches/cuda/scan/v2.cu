// v2: warp specialization. Helper warps load tiles, prepare (d, d u) and finish (D, gate, store); walkers only walk the recurrence, so that
// both kinds of work overlap. Two prepared tiles and four loaded ones are in flight; named barriers hand them over. Prepared tiles are
// step-major: a walker reads (d, d u) of one step and four states of B and C at a time. Nsight, of a version with hand-packed helpers: 49
// of 145 instructions a step of 32 channels are the helpers', and a broadcast of B and C to lanes in this order takes four wavefronts of
// shared memory (see v3).
//
// sweep: LANES=2 CHANNELS=64 STEPS=32 HELPERS=4 UNROLL=2
// sweep: LANES=4 CHANNELS=32 STEPS=32 HELPERS=2 UNROLL=2
#include "scan.cuh"

#ifndef LANES
#define LANES 2
#define CHANNELS 64
#define STEPS 32
#define HELPERS 2
#define UNROLL 2
#endif

constexpr int WALK = CHANNELS * LANES, HELP = HELPERS * 32, ALL = WALK + HELP, NS = N / LANES, CHUNK = 16 / sizeof(T), unrolled = UNROLL;

struct Shared {
  alignas(16) T u[4][STEPS * CHANNELS], dt[4][STEPS * CHANNELS], z[4][STEPS * CHANNELS], B[4][STEPS * N], C[4][STEPS * N];
  alignas(16) float2 prepared[2][STEPS * CHANNELS];  // (d, d u); the walk puts y in the place of d
  alignas(16) float Bf[2][STEPS * N], Cf[2][STEPS * N];
};

__device__ float softplus(float x) { return x > 20 ? x : __logf(1 + __expf(x)); }

__device__ void help(const Scan& s, Shared& shared) {
  const int thread = threadIdx.x - WALK, b = blockIdx.y, first = blockIdx.x * CHANNELS, columns = min(CHANNELS, s.channels - first);
  const int valid = s.valid(b), tiles = (valid + STEPS - 1) / STEPS, x = thread % (CHANNELS / 2) * 2, row = thread / (CHANNELS / 2);
  constexpr int ROWS = HELP / (CHANNELS / 2);
  const size_t row0 = size_t(b) * s.length;
  float bias[2], skip[2];
  for (int c = 0; c < 2; ++c) {
    bias[c] = x + c < columns ? s.dt_bias[first + x + c] : 0;
    skip[c] = x + c < columns ? s.D[first + x + c] : 0;
  }
  auto copy = [&](T* tile, const T* from, int64_t ld, int width, int limit, int left) {
    for (int i = thread; i < STEPS * width / CHUNK; i += HELP) {
      const int t = i / (width / CHUNK), c = i % (width / CHUNK) * CHUNK;
      const bool in = t < left && c < limit;
      copy16(tile + t * width + c, in ? from + t * ld + c : s.u, in ? 16 : 0);
    }
  };
  auto load = [&](int k) {
    if (k < tiles) {
      const int left = valid - k * STEPS, q = k & 3;
      const size_t from = row0 + size_t(k) * STEPS;
      copy(shared.u[q], s.u + from * s.ld_u + first, s.ld_u, CHANNELS, columns, left);
      copy(shared.dt[q], s.dt + from * s.ld_dt + first, s.ld_dt, CHANNELS, columns, left);
      copy(shared.z[q], s.z + from * s.ld_z + first, s.ld_z, CHANNELS, columns, left);
      copy(shared.B[q], s.B + from * s.ld_B, s.ld_B, N, N, left);
      copy(shared.C[q], s.C + from * s.ld_C, s.ld_C, N, N, left);
    }
    copies_commit();
  };
  auto prepare = [&](int k) {
    const int q = k & 3, w = k & 1, left = valid - k * STEPS;
#pragma unroll 4
    for (int t = row; t < STEPS; t += ROWS) {
      float4 out;
      out.x = t < left ? softplus(to_float(shared.dt[q][t * CHANNELS + x]) + bias[0]) : 0;
      out.z = t < left ? softplus(to_float(shared.dt[q][t * CHANNELS + x + 1]) + bias[1]) : 0;
      out.y = out.x * to_float(shared.u[q][t * CHANNELS + x]);
      out.w = out.z * to_float(shared.u[q][t * CHANNELS + x + 1]);
      *reinterpret_cast<float4*>(&shared.prepared[w][t * CHANNELS + x]) = out;
    }
    for (int i = thread; i < STEPS * N; i += HELP) {
      shared.Bf[w][i] = to_float(shared.B[q][i]);
      shared.Cf[w][i] = to_float(shared.C[q][i]);
    }
    named_barrier_arrive(1 + w, ALL);
  };
  for (int k = 0; k < 3; ++k) load(k);
  copies_wait<2>();
  named_barrier(5, HELP);
  if (tiles > 0) prepare(0);
  copies_wait<1>();
  named_barrier(5, HELP);
  if (tiles > 1) prepare(1);
  for (int k = 0; k < tiles; ++k) {
    const int q = k & 3, w = k & 1, left = valid - k * STEPS;
    load(k + 3);
    named_barrier(3 + w, ALL);
#pragma unroll 4
    for (int t = row; t < STEPS; t += ROWS) {
      for (int c = 0; c < 2; ++c) {
        const int at = t * CHANNELS + x + c;
        const float z = to_float(shared.z[q][at]), y = fmaf(skip[c], to_float(shared.u[q][at]), shared.prepared[w][at].x);
        const size_t to = (row0 + size_t(k) * STEPS + t) * s.ld_y + first + x + c;
        if (t < left && x + c < columns) s.y[to] = from_float<T>(y * z / (1 + __expf(-z)));
      }
    }
    copies_wait<1>();
    named_barrier(5, HELP);
    if (k + 2 < tiles) prepare(k + 2);
  }
}

__device__ void walk(const Scan& s, Shared& shared) {
  const int channel = threadIdx.x / LANES, p = threadIdx.x % LANES, b = blockIdx.y, column = blockIdx.x * CHANNELS + channel;
  const int tiles = (s.valid(b) + STEPS - 1) / STEPS;
  const bool in = column < s.channels;
  float* state = s.state + (size_t(b) * N + p * NS) * s.channels + column;
  float a[NS], h[NS];
#pragma unroll
  for (int i = 0; i < NS; ++i) {
    a[i] = in ? s.A[size_t(p * NS + i) * s.channels + column] * LOG2E : 0;
    h[i] = in ? state[size_t(i) * s.channels] : 0;
  }
  for (int k = 0; k < tiles; ++k) {
    const int w = k & 1;
    named_barrier(1 + w, ALL);
#pragma unroll unrolled
    for (int t = 0; t < STEPS; t += 4) {
      float y[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float2 step = shared.prepared[w][(t + j) * CHANNELS + channel];
        float sum = 0;
#pragma unroll
        for (int i = 0; i < NS; i += 4) {
          const float4 B = *reinterpret_cast<float4*>(&shared.Bf[w][(t + j) * N + p * NS + i]);
          const float4 C = *reinterpret_cast<float4*>(&shared.Cf[w][(t + j) * N + p * NS + i]);
          const float Bs[4] = {B.x, B.y, B.z, B.w}, Cs[4] = {C.x, C.y, C.z, C.w};
#pragma unroll
          for (int n = 0; n < 4; ++n) {
            h[i + n] = fmaf(ex2(step.x * a[i + n]), h[i + n], step.y * Bs[n]);
            sum = fmaf(h[i + n], Cs[n], sum);
          }
        }
        y[j] = sum;
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int mask = 1; mask < LANES; mask *= 2) y[j] += __shfl_xor_sync(~0u, y[j], mask);
        if (j % LANES == p) shared.prepared[w][(t + j) * CHANNELS + channel].x = y[j];
      }
    }
    named_barrier_arrive(3 + w, ALL);
  }
#pragma unroll
  for (int i = 0; i < NS; ++i) {
    if (in) state[size_t(i) * s.channels] = h[i];
  }
}

__global__ __launch_bounds__(ALL) void scan_v2(__grid_constant__ const Scan s) {
  extern __shared__ __align__(128) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  if (threadIdx.x < WALK) {
    walk(s, shared);
  } else {
    help(s, shared);
  }
}

int main(int count, char** arguments) {
  const auto launch = [](const Scan& s) { scan_v2<<<dim3((s.channels + CHANNELS - 1) / CHANNELS, s.batch), ALL, sizeof(Shared)>>>(s); };
  return scan_main(count, arguments, {"v2", launch, (const void*)scan_v2, ALL, int(sizeof(Shared))});
}
