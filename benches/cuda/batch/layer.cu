// A layer of mamba-1.4b as one position of many sequences goes through it: the kernels as they are and cuBLASLt for in_proj and out_proj, in a
// graph over the weights and states of four layers, which no cache holds. From the repository's root, on a Hopper GPU:
//
//   nvcc -std=c++17 -O3 -arch=sm_90a benches/cuda/batch/layer.cu -o layer -lcublasLt && ./layer [ROWS]…
//
// One JSON line a configuration: which kernels of a layer are in the chain, and its microseconds.
#include <cublasLt.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../../crates/ops/src/cuda/common.cuh"
namespace of_norm {
#include "../../../crates/ops/src/rmsnorm/kernel.cu"
}
namespace of_conv {
#include "../../../crates/ops/src/conv1d_silu/kernel.cu"
}
namespace of_batch {
#include "../../../crates/ops/src/batch/kernel.cu"
}

static void check(int error, int line) {
  if (error == 0) return;
  fprintf(stderr, "line %d: error %d\n", line, error);
  exit(1);
}
#define CHECK(call) check(int(call), __LINE__)

constexpr u32 D = 2048, E = 4096, RANK = 128, STATES = 16, LOW = RANK + 2 * STATES, LAYERS = 4, REPEATS = 24, GRAPHS = 15;
constexpr size_t WORKSPACE = size_t(32) << 20;

static cudaStream_t stream;

/// Small bf16 or f32 numbers; which ones does not matter to time.
__global__ void fill(void* to, size_t count, bool narrow, float scale) {
  for (size_t i = blockIdx.x * size_t(blockDim.x) + threadIdx.x; i < count; i += size_t(gridDim.x) * blockDim.x) {
    const float value = scale * (float(u32(i * 2654435761u) >> 16) / 65536.0f - 0.5f);
    if (narrow) {
      static_cast<u16*>(to)[i] = narrow_bf16(value);
    } else {
      static_cast<float*>(to)[i] = value;
    }
  }
}
template <class T>
static T* filled(size_t count, float scale) {
  T* to;
  CHECK(cudaMalloc(&to, count * sizeof(T)));
  fill<<<1024, 256>>>(to, count, sizeof(T) == 2, scale);
  return to;
}

template <class P>
static void launch(void (*kernel)(P), u32 blocks, u32 threads, u32 shared, P params) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks, config.blockDim = threads, config.dynamicSmemBytes = shared, config.stream = stream;
  config.attrs = &attribute, config.numAttrs = 1;
  void* arguments[] = {&params};
  CHECK(cudaLaunchKernelExC(&config, (void*)kernel, arguments));
}

/// y = x·Wᵀ, or y += x·Wᵀ, as cuBLASLt would first do it.
struct Product {
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t matmul;
  cublasLtMatrixLayout_t weight, x, y;
  cublasLtMatmulAlgo_t algorithm;
  void* workspace;
  float beta;

  Product(u32 rows, u32 k, u32 m, bool adds) : beta(adds) {
    CHECK(cublasLtCreate(&handle));
    CHECK(cudaMalloc(&workspace, WORKSPACE));
    CHECK(cublasLtMatmulDescCreate(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    CHECK(cublasLtMatmulDescSetAttribute(matmul, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
    CHECK(cublasLtMatrixLayoutCreate(&weight, CUDA_R_16BF, k, m, k));
    CHECK(cublasLtMatrixLayoutCreate(&x, CUDA_R_16BF, k, rows, k));
    CHECK(cublasLtMatrixLayoutCreate(&y, adds ? CUDA_R_32F : CUDA_R_16BF, m, rows, m));
    cublasLtMatmulPreference_t wish;
    CHECK(cublasLtMatmulPreferenceCreate(&wish));
    CHECK(cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE, sizeof(WORKSPACE)));
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    CHECK(cublasLtMatmulAlgoGetHeuristic(handle, matmul, weight, x, y, y, wish, 1, &found, &count));
    algorithm = found.algo;
  }
  void run(const u16* from, const u16* matrix, void* to) const {
    const float one = 1.0f;
    CHECK(cublasLtMatmul(handle, matmul, &one, matrix, weight, from, x, &beta, to, y, to, y, &algorithm, workspace, WORKSPACE, stream));
  }
};

struct Layer {
  u32 rows;
  Product in, x, out;
  u16 *w_in, *w_out, *w_x, *w_dt, *h, *xz, *u, *low, *y;
  float *states, *past, *A, *skip, *bias, *taps, *gain, *residual;
  float4* part;

  explicit Layer(u32 b) : rows(b), in(b, D, 2 * E, false), x(b, E, LOW, false), out(b, E, D, true) {
    w_in = filled<u16>(size_t(LAYERS) * 2 * E * D, .04f), w_out = filled<u16>(size_t(LAYERS) * D * E, .001f);
    w_x = filled<u16>(size_t(LAYERS) * LOW * E, .04f), w_dt = filled<u16>(size_t(LAYERS) * E * RANK, .1f);
    h = filled<u16>(size_t(b) * D, 1), xz = filled<u16>(size_t(b) * 2 * E, 1), u = filled<u16>(size_t(b) * E, 1);
    low = filled<u16>(size_t(b) * LOW, 1), y = filled<u16>(size_t(b) * E, 1);
    states = filled<float>(size_t(LAYERS) * b * STATES * E, 1), past = filled<float>(size_t(LAYERS) * b * 3 * E, 1);
    A = filled<float>(STATES * E, .1f), skip = filled<float>(E, 1), bias = filled<float>(E, 1), taps = filled<float>(4 * E, 1);
    gain = filled<float>(D, 1), residual = filled<float>(size_t(b) * D, 1);
    CHECK(cudaMalloc(&part, size_t(E / 64) * ((b + 15) / 16) * (LOW / 8) * 512));
  }

  /// Letters are kernels: n(orm), i(n_proj), c(onvolution with x_proj), s(can with dt_proj), o(ut_proj); C: the convolution alone, X: x_proj
  /// by cuBLASLt.
  void run(const char* parts, u32 layer) const {
    const auto has = [parts](char part) { return strchr(parts, part) != nullptr; };
    float *own_past = past + size_t(layer) * rows * 3 * E, *own_states = states + size_t(layer) * rows * STATES * E;
    const u16* own_x = w_x + size_t(layer) * LOW * E;
    if (has('n')) launch(of_norm::rmsnorm_x4, rows, 512, 0, of_norm::RmsnormParams{residual, gain, h, nullptr, rows, 1, D, D, 1e-5f, BF16});
    if (has('i')) in.run(h, w_in + size_t(layer) * 2 * E * D, xz);
    if (has('C')) {
      launch(of_conv::conv1d_silu_w4_bf16, E / 512 * rows, 128, 0,
             of_conv::Conv1dSiluParams{xz, taps, bias, own_past, nullptr, u, 2 * E, rows, 1, E, 4, 32, 1, E / 512, BF16, BF16, 0});
    }
    if (has('X')) x.run(u, own_x, low);
    if (has('c')) {
      launch(of_batch::batch_conv, E / 64 * ((rows + 31) / 32), 256, LOW * 128,
             of_batch::BatchConvParams{xz, taps, bias, own_past, nullptr, u, own_x, part, 2 * E, rows, E, LOW, 0});
      launch(of_batch::batch_sum, (rows + 15) / 16 * (LOW / 8), 256, 0, of_batch::BatchSumParams{part, low, nullptr, LOW, E / 64, rows, LOW, BF16});
    }
    if (has('s')) {
      launch(of_batch::batch_scan, E / 128 * ((rows + 7) / 8), 256, 0,
             of_batch::BatchScanParams{low, w_dt + size_t(layer) * E * RANK, nullptr, bias, u, low + RANK, low + RANK + STATES, xz + E, A, skip,
                                    own_states, y, nullptr, LOW, E, LOW, LOW, 2 * E, rows, RANK, E, 1, BF16, 0});
    }
    if (has('o')) out.run(y, w_out + size_t(layer) * D * E, residual);
  }
};

static void measure(const Layer& layer, const char* parts) {
  cudaGraph_t graph;
  cudaGraphExec_t ready;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  for (u32 i = 0; i < REPEATS; ++i) layer.run(parts, i % LAYERS);
  CHECK(cudaStreamEndCapture(stream, &graph));
  CHECK(cudaGraphInstantiate(&ready, graph, 0));
  cudaEvent_t start, stop;
  CHECK(cudaEventCreate(&start));
  CHECK(cudaEventCreate(&stop));
  std::vector<float> times;
  for (u32 run = 0; run < GRAPHS + 3; ++run) {
    CHECK(cudaEventRecord(start, stream));
    CHECK(cudaGraphLaunch(ready, stream));
    CHECK(cudaEventRecord(stop, stream));
    CHECK(cudaEventSynchronize(stop));
    float milliseconds = 0;
    CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
    if (run >= 3) times.push_back(milliseconds * 1e3f / REPEATS);
  }
  std::sort(times.begin(), times.end());
  printf("{\"rows\": %u, \"kernels\": \"%s\", \"us\": %.2f, \"low\": %.2f, \"high\": %.2f}\n", layer.rows, parts, times[GRAPHS / 2], times[0],
         times.back());
  CHECK(cudaGraphExecDestroy(ready));
  CHECK(cudaGraphDestroy(graph));
}

int main(int count, char** given) {
  CHECK(cudaStreamCreate(&stream));
  std::vector<u32> rows;
  for (int i = 1; i < count; ++i) rows.push_back(u32(atoi(given[i])));
  if (rows.empty()) rows = {128};
  for (const u32 b : rows) {
    const Layer layer(b);
    CHECK(cudaDeviceSynchronize());
    for (const char* parts : {"nicso", "niCXso", "n", "i", "C", "X", "CX", "c", "s", "o"}) measure(layer, parts);
  }
}
