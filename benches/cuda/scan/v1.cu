// v1: phases. A block owns CHANNELS channels, LANES neighboring threads share a channel (N / LANES states each in registers), and a tile of
// STEPS steps goes through three phases between barriers: prepare (softplus, d u) into shared memory, walk the recurrence, finish (D, gate,
// store). The next tile's rows come by asynchronous copies meanwhile. The block idles on one unit while a phase uses another.
//
// sweep: LANES=4 CHANNELS=32 STEPS=64
// sweep: LANES=8 CHANNELS=16 STEPS=64
#include "scan.cuh"

#ifndef LANES
#define LANES 2
#define CHANNELS 64
#define STEPS 64
#endif

constexpr int THREADS = CHANNELS * LANES, NS = N / LANES, CHUNK = 16 / sizeof(T), GROUP = LANES < 4 ? 4 : LANES;

struct Shared {
  alignas(16) T u[2][STEPS * CHANNELS], dt[2][STEPS * CHANNELS], z[2][STEPS * CHANNELS], B[2][STEPS * N], C[2][STEPS * N];
  alignas(16) float2 prepared[STEPS * CHANNELS];  // (d, d u); the walk puts y in the place of d
  alignas(16) float Bf[STEPS * N], Cf[STEPS * N];
};

__device__ float softplus(float x) { return x > 20 ? x : __logf(1 + __expf(x)); }

__global__ __launch_bounds__(THREADS) void scan_v1(__grid_constant__ const Scan s) {
  extern __shared__ __align__(128) char memory[];
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  const int thread = threadIdx.x, channel = thread / LANES, p = thread % LANES, b = blockIdx.y, first = blockIdx.x * CHANNELS;
  const int valid = s.valid(b), tiles = (valid + STEPS - 1) / STEPS, columns = min(CHANNELS, s.channels - first);
  const size_t row0 = size_t(b) * s.length;
  auto copy = [&](T* tile, const T* from, int64_t ld, int width, int limit, int left) {
    for (int i = thread; i < STEPS * width / CHUNK; i += THREADS) {
      const int t = i / (width / CHUNK), c = i % (width / CHUNK) * CHUNK;
      const bool in = t < left && c < limit;
      copy16(tile + t * width + c, in ? from + t * ld + c : s.u, in ? 16 : 0);
    }
  };
  auto load = [&](int k) {
    if (k < tiles) {
      const int left = valid - k * STEPS, q = k & 1;
      const size_t row = row0 + size_t(k) * STEPS;
      copy(shared.u[q], s.u + row * s.ld_u + first, s.ld_u, CHANNELS, columns, left);
      copy(shared.dt[q], s.dt + row * s.ld_dt + first, s.ld_dt, CHANNELS, columns, left);
      copy(shared.z[q], s.z + row * s.ld_z + first, s.ld_z, CHANNELS, columns, left);
      copy(shared.B[q], s.B + row * s.ld_B, s.ld_B, N, N, left);
      copy(shared.C[q], s.C + row * s.ld_C, s.ld_C, N, N, left);
    }
    copies_commit();
  };

  const bool in = channel < columns;
  float* state = s.state + (size_t(b) * N + p * NS) * s.channels + first + channel;
  float a[NS], h[NS];
#pragma unroll
  for (int i = 0; i < NS; ++i) {
    a[i] = in ? s.A[size_t(p * NS + i) * s.channels + first + channel] * LOG2E : 0;
    h[i] = in ? state[size_t(i) * s.channels] : 0;
  }
  const int x = thread % CHANNELS;  // a thread prepares and finishes one column
  const float bias = x < columns ? s.dt_bias[first + x] : 0, skip = x < columns ? s.D[first + x] : 0;
  load(0);
  for (int k = 0; k < tiles; ++k) {
    const int q = k & 1, left = valid - k * STEPS;
    load(k + 1);
    copies_wait<1>();
    __syncthreads();
#pragma unroll 4
    for (int t = thread / CHANNELS; t < STEPS; t += THREADS / CHANNELS) {
      const float d = t < left ? softplus(to_float(shared.dt[q][t * CHANNELS + x]) + bias) : 0;
      shared.prepared[t * CHANNELS + x] = make_float2(d, d * to_float(shared.u[q][t * CHANNELS + x]));
    }
    for (int i = thread; i < STEPS * N; i += THREADS) {
      shared.Bf[i] = to_float(shared.B[q][i]);
      shared.Cf[i] = to_float(shared.C[q][i]);
    }
    __syncthreads();
#pragma unroll 2
    for (int t = 0; t < STEPS; t += GROUP) {
      float y[GROUP];
#pragma unroll
      for (int j = 0; j < GROUP; ++j) {
        const float2 step = shared.prepared[(t + j) * CHANNELS + channel];
        float sum = 0;
#pragma unroll
        for (int i = 0; i < NS; ++i) {
          h[i] = fmaf(ex2(step.x * a[i]), h[i], step.y * shared.Bf[(t + j) * N + p * NS + i]);
          sum = fmaf(h[i], shared.Cf[(t + j) * N + p * NS + i], sum);
        }
        y[j] = sum;
      }
#pragma unroll
      for (int j = 0; j < GROUP; ++j) {  // every lane gets every sum, and writes its own steps'
#pragma unroll
        for (int mask = 1; mask < LANES; mask *= 2) y[j] += __shfl_xor_sync(~0u, y[j], mask);
        if (j % LANES == p) shared.prepared[(t + j) * CHANNELS + channel].x = y[j];
      }
    }
    __syncthreads();
#pragma unroll 4
    for (int t = thread / CHANNELS; t < STEPS; t += THREADS / CHANNELS) {
      if (t < left && x < columns) {
        const float z = to_float(shared.z[q][t * CHANNELS + x]), gate = z / (1 + __expf(-z));
        const float y = fmaf(skip, to_float(shared.u[q][t * CHANNELS + x]), shared.prepared[t * CHANNELS + x].x);
        s.y[(row0 + size_t(k) * STEPS + t) * s.ld_y + first + x] = from_float<T>(y * gate);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < NS; ++i) {
    if (in) state[size_t(i) * s.channels] = h[i];
  }
}

int main(int count, char** arguments) {
  const auto launch = [](const Scan& s) {
    scan_v1<<<dim3((s.channels + CHANNELS - 1) / CHANNELS, s.batch), THREADS, sizeof(Shared)>>>(s);
  };
  return scan_main(count, arguments, {"v1", launch, (const void*)scan_v1, THREADS, int(sizeof(Shared))});
}
