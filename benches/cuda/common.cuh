// What every laboratory shares: error checks, seeded data, medians of GPU time, one JSON line a result.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#define CHECK(call)                                                                            \
  do {                                                                                         \
    const cudaError_t error = (call);                                                          \
    if (error != cudaSuccess) {                                                                \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(error)); \
      exit(1);                                                                                 \
    }                                                                                          \
  } while (0)

__host__ __device__ inline float to_float(float x) { return x; }
__host__ __device__ inline float to_float(__half x) { return __half2float(x); }
__host__ __device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }

template <typename T>
__host__ __device__ inline T from_float(float x);
template <>
__host__ __device__ inline float from_float<float>(float x) { return x; }
template <>
__host__ __device__ inline __half from_float<__half>(float x) { return __float2half(x); }
template <>
__host__ __device__ inline __nv_bfloat16 from_float<__nv_bfloat16>(float x) { return __float2bfloat16(x); }

template <typename T>
constexpr const char* dtype_name() {
  return sizeof(T) == 4 ? "f32" : std::is_same_v<T, __half> ? "f16" : "bf16";
}

/// Uniform in [low, high), a function of seed and index alone (a splitmix64 step).
__host__ __device__ inline float uniform(uint64_t seed, uint64_t index, float low, float high) {
  uint64_t s = index * 0x9E3779B97F4A7C15ull + seed * 0xD1B54A32D192ED03ull;
  s = (s ^ s >> 30) * 0xBF58476D1CE4E5B9ull;
  s = (s ^ s >> 27) * 0x94D049BB133111EBull;
  return low + (high - low) * float((s ^ s >> 31) >> 40) * 0x1p-24f;
}

template <typename T>
__global__ void fill_uniform(T* out, size_t count, uint64_t seed, float low, float high) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count; i += size_t(gridDim.x) * blockDim.x) {
    out[i] = from_float<T>(uniform(seed, i, low, high));
  }
}

template <typename T>
T* allocate(size_t count) {
  T* pointer = nullptr;
  CHECK(cudaMalloc(&pointer, std::max<size_t>(count, 1) * sizeof(T)));
  return pointer;
}

template <typename T>
T* random_array(size_t count, uint64_t seed, float low, float high) {
  T* pointer = allocate<T>(count);
  fill_uniform<<<1024, 256>>>(pointer, count, seed, low, high);
  CHECK(cudaGetLastError());
  return pointer;
}

/// Median milliseconds of `body`. `cold` overwrites the L2 cache between runs; the launch then hides behind that write, so both are GPU
/// time alone.
template <typename F>
float median_ms(F body, bool cold, int runs = 25) {
  static char* scratch = allocate<char>(size_t(256) << 20);
  cudaEvent_t start, stop;
  CHECK(cudaEventCreate(&start));
  CHECK(cudaEventCreate(&stop));
  std::vector<float> times;
  for (int run = -3; run < runs; ++run) {
    if (cold) CHECK(cudaMemsetAsync(scratch, run & 255, size_t(256) << 20));
    CHECK(cudaEventRecord(start));
    body();
    CHECK(cudaEventRecord(stop));
    CHECK(cudaEventSynchronize(stop));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, start, stop));
    if (run >= 0) times.push_back(ms);
  }
  CHECK(cudaEventDestroy(start));
  CHECK(cudaEventDestroy(stop));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}
