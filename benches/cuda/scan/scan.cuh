// The selective scan's laboratory: parameters, seeded cases, the fp64 reference, and a main that checks and times one kernel.
//
//   s = dt + dt_bias; d = softplus(s); h[n] = exp(d A[n]) h[n] + d B[n] u; y = (sum over n of C[n] h[n] + D u) silu(z)
//
// u, dt, z, y [batch, length, channels] and B, C [batch, length, states] with row strides; A [states, channels]; D, dt_bias [channels];
// state [batch, states, channels] is h before and after; rows at and after lens[batch] are neither read nor written.
#pragma once
#include <cmath>
#include <functional>

#include "../common.cuh"
#include "../ptx.cuh"

#ifndef DTYPE
#define DTYPE __nv_bfloat16
#endif
#ifndef STATES
#define STATES 16
#endif

#ifndef BIAS_LOW
#define BIAS_LOW -5
#define BIAS_HIGH -2
#endif

using T = DTYPE;
constexpr int N = STATES;
constexpr float LOG2E = 1.44269504f, LN2 = 0.693147181f;

struct Scan {
  const T *u, *dt, *z, *B, *C;
  const float *A, *D, *dt_bias;
  T* y;
  float* state;
  const int* lens;
  int64_t ld_u, ld_dt, ld_z, ld_B, ld_C, ld_y;
  int batch, length, channels;
  __device__ int valid(int b) const { return lens ? lens[b] : length; }
};

/// How a version is launched, and what the profiler's figures hang on.
struct Version {
  const char* name;
  std::function<void(const Scan&)> launch;
  const void* kernel;
  int threads, shared;
};

/// The channel that sample `i` of `samples` looks at: spread over the row and over every place within a block.
__host__ __device__ inline int sampled_channel(int i, int samples, int channels) {
  const int width = channels / samples;
  return i * width + i * 7 % width;
}

/// One warp a sampled channel: lanes hold the states, fp64 throughout.
__global__ void reference(Scan s, const float* initial, int samples, double* y, double* state) {
  const int b = blockIdx.y, d = sampled_channel(blockIdx.x, samples, s.channels), lane = threadIdx.x;
  constexpr int PER_LANE = (N + 31) / 32;
  double h[PER_LANE] = {}, a[PER_LANE] = {};
  for (int i = 0, n = lane; n < N; ++i, n += 32) {
    h[i] = initial[(size_t(b) * N + n) * s.channels + d];
    a[i] = s.A[size_t(n) * s.channels + d];
  }
  for (int t = 0; t < s.valid(b); ++t) {
    const size_t row = size_t(b) * s.length + t;
    const double u = to_float(s.u[row * s.ld_u + d]), z = to_float(s.z[row * s.ld_z + d]);
    const double x = double(to_float(s.dt[row * s.ld_dt + d])) + s.dt_bias[d], dt = x > 30 ? x : log1p(exp(x));
    double sum = 0;
    for (int i = 0, n = lane; n < N; ++i, n += 32) {
      h[i] = exp(dt * a[i]) * h[i] + dt * to_float(s.B[row * s.ld_B + n]) * u;
      sum += h[i] * to_float(s.C[row * s.ld_C + n]);
    }
    for (int mask = 16; mask; mask /= 2) sum += __shfl_xor_sync(~0u, sum, mask);
    if (lane == 0) y[row * samples + blockIdx.x] = (sum + s.D[d] * u) * z / (1 + exp(-z));
  }
  for (int i = 0, n = lane; n < N; ++i, n += 32) state[(size_t(b) * N + n) * samples + blockIdx.x] = h[i];
}

/// sums[0..4]: squared error and square of y, the same of the state.
__global__ void compare(Scan s, int samples, const double* y, const double* state, double* sums) {
  const int b = blockIdx.y, d = sampled_channel(blockIdx.x, samples, s.channels);
  double part[4] = {};
  for (int t = threadIdx.x; t < s.valid(b); t += blockDim.x) {
    const size_t row = size_t(b) * s.length + t;
    const double want = y[row * samples + blockIdx.x], got = to_float(s.y[row * s.ld_y + d]);
    part[0] += (got - want) * (got - want);
    part[1] += want * want;
  }
  for (int n = threadIdx.x; n < N; n += blockDim.x) {
    const double want = state[(size_t(b) * N + n) * samples + blockIdx.x], got = s.state[(size_t(b) * N + n) * s.channels + d];
    part[2] += (got - want) * (got - want);
    part[3] += want * want;
  }
  for (int i = 0; i < 4; ++i) atomicAdd(&sums[i], part[i]);
}

/// Counts valid elements left at the poison and rows past the end that were touched. Poison is 0xff in every byte: a NaN.
__global__ void count_unwritten(Scan s, unsigned long long* count) {
  const size_t total = size_t(s.batch) * s.length * s.channels;
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < total; i += size_t(gridDim.x) * blockDim.x) {
    const size_t row = i / s.channels;
    const bool poisoned = isnan(to_float(s.y[row * s.ld_y + i % s.channels]));
    if (poisoned == (int(row % s.length) < s.valid(int(row / s.length)))) atomicAdd(count, 1ull);
  }
}

struct Result {
  double nmse, nmse_state;
  unsigned long long unwritten;
};

struct Case {
  Scan s{};
  float* initial;
  size_t state_count;

  Case(int batch, int length, int channels, bool ragged) {
    const size_t rows = size_t(batch) * length, count = rows * channels, bc = rows * N;
    s.batch = batch, s.length = length, s.channels = channels;
    s.ld_u = s.ld_dt = s.ld_z = s.ld_y = channels, s.ld_B = s.ld_C = N;
    s.u = random_array<T>(count, 1, -1, 1);
    s.dt = random_array<T>(count, 2, -1, 1);
    s.z = random_array<T>(count, 3, -2, 2);
    s.B = random_array<T>(bc, 4, -1, 1);
    s.C = random_array<T>(bc, 5, -1, 1);
    s.D = random_array<float>(channels, 6, .5f, 1.5f);
    s.dt_bias = random_array<float>(channels, 7, BIAS_LOW, BIAS_HIGH);
    s.A = random_array<float>(size_t(N) * channels, 8, -N, -.5f);
    s.y = allocate<T>(count);
    state_count = size_t(batch) * N * channels;
    s.state = allocate<float>(state_count);
    initial = random_array<float>(state_count, 9, -1, 1);
    if (ragged) {
      std::vector<int> lens(batch);
      for (int b = 0; b < batch; ++b) lens[b] = b == 1 ? 0 : length - (b * 37) % length;
      int* device = allocate<int>(batch);
      CHECK(cudaMemcpy(device, lens.data(), batch * sizeof(int), cudaMemcpyHostToDevice));
      s.lens = device;
    }
  }
  ~Case() {
    for (const void* p : {(const void*)s.u, (const void*)s.dt, (const void*)s.z, (const void*)s.B, (const void*)s.C, (const void*)s.D,
                          (const void*)s.dt_bias, (const void*)s.A, (const void*)s.y, (const void*)s.state, (const void*)initial,
                          (const void*)s.lens}) {
      cudaFree(const_cast<void*>(p));
    }
  }

  Result check(const Version& version) {
    const int samples = s.length > 100000 ? 8 : std::min(64, s.channels);
    double* y = allocate<double>(size_t(s.batch) * s.length * samples);
    double* state = allocate<double>(size_t(s.batch) * N * samples);
    double* sums = allocate<double>(5);
    auto* unwritten = reinterpret_cast<unsigned long long*>(sums + 4);
    CHECK(cudaMemset(sums, 0, 5 * sizeof(double)));
    CHECK(cudaMemset(s.y, 0xff, size_t(s.batch) * s.length * s.channels * sizeof(T)));
    CHECK(cudaMemcpy(s.state, initial, state_count * sizeof(float), cudaMemcpyDeviceToDevice));
    version.launch(s);
    CHECK(cudaGetLastError());
    CHECK(cudaDeviceSynchronize());
    const dim3 grid(samples, s.batch);
    reference<<<grid, 32>>>(s, initial, samples, y, state);
    compare<<<grid, 128>>>(s, samples, y, state, sums);
    count_unwritten<<<1024, 256>>>(s, unwritten);
    double host[5];
    CHECK(cudaMemcpy(host, sums, sizeof host, cudaMemcpyDeviceToHost));
    cudaFree(y), cudaFree(state), cudaFree(sums);
    Result result{host[0] / host[1], host[2] / host[3], 0};
    memcpy(&result.unwritten, &host[4], sizeof result.unwritten);
    return result;
  }
};

inline bool report(const Version& version, int batch, int length, int channels, bool ragged, bool time) {
  static const cudaDeviceProp card = [] { cudaDeviceProp p; CHECK(cudaGetDeviceProperties(&p, 0)); return p; }();
  const char* config = getenv("CONFIG");
  cudaFuncAttributes attributes;
  int blocks = 0;
  CHECK(cudaFuncGetAttributes(&attributes, version.kernel));
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, version.kernel, version.threads, version.shared));
  Case c(batch, length, channels, ragged);
  const Result result = c.check(version);
  const double limit = sizeof(T) == 4 ? 1e-10 : 1e-5, limit_state = sizeof(T) == 4 ? 1e-11 : 1e-8;
  const bool right = result.nmse < limit && result.nmse_state < limit_state && !result.unwritten;
  const auto body = [&] { version.launch(c.s); };
  const float cold = time ? median_ms(body, true) : 0, warm = time ? median_ms(body, false) : 0;
  const auto yes = [](bool value) { return value ? "true" : "false"; };
  printf("{\"kernel\":\"scan/%s\",\"config\":\"%s\",\"card\":\"%s\",\"dtype\":\"%s\",\"batch\":%d,\"length\":%d,\"channels\":%d,"
         "\"states\":%d,\"ragged\":%s,\"right\":%s,\"nmse\":%.2e,\"nmseState\":%.2e,\"unwritten\":%llu,\"ms\":%.4f,\"warmMs\":%.4f,"
         "\"registers\":%d,\"spilled\":%zu,\"shared\":%d,\"blocksPerSm\":%d}\n",
         version.name, config ? config : "", card.name, dtype_name<T>(), batch, length, channels, N, yes(ragged), yes(right),
         result.nmse, result.nmse_state, result.unwritten, cold, warm, attributes.numRegs, attributes.localSizeBytes, version.shared,
         blocks);
  fflush(stdout);
  return right;
}

/// Arguments: `check` for the ragged shapes, else shapes to check and time as BATCHxLENGTHxCHANNELS.
inline int scan_main(int count, char** arguments, const Version& version) {
  CHECK(cudaFuncSetAttribute(version.kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, version.shared));
  bool right = true;
  for (int i = 1; i < count; ++i) {
    int batch, length, channels;
    if (std::string(arguments[i]) == "check") {
      for (int l : {1, 31, 32, 37, 63, 129, 1000}) {
        for (int e : {40, 64, 200}) right &= report(version, 3, l, e, l % 2, false);
      }
    } else if (sscanf(arguments[i], "%dx%dx%d", &batch, &length, &channels) == 3) {
      right &= report(version, batch, length, channels, false, true);
    }
  }
  return right ? 0 : 1;
}
