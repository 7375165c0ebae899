// The layers of a model as one token of one sequence goes through them: `crates/ops/src/step/kernel.cu` as it is, in a graph, without the rest of
// a step (embedding, head, sample). From the repository's root, on a Hopper GPU:
//
//   nvcc -std=c++17 -O3 -arch=sm_90a benches/cuda/step/chain.cu -o chain && ./chain
//
// One JSON line a configuration: which kernels of a layer are in the chain, whether a kernel may come before the one in front of it is done, the
// threads of its large products.
#include "../../../crates/ops/src/cuda/common.cuh"
#include "../../../crates/ops/src/step/kernel.cu"
#include "../graphs.cuh"

struct Model {
  const char* name;
  u32 d, e, rank, layers;
};
struct Config {
  const char* parts;  // letters of the kernels in the chain: i(n), x, s(can), o(ut)
  bool overlaps;
  u32 threads;  // of a product
};

constexpr u32 MULTIPROCESSORS = 132, STATES = 16;

static void launch(cudaStream_t stream, const void* kernel, u32 blocks, u32 threads, u32 shared, void* params, bool overlaps) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = blocks, config.blockDim = threads, config.dynamicSmemBytes = shared, config.stream = stream;
  config.attrs = &attribute, config.numAttrs = overlaps;
  void* arguments[] = {params};
  check(cudaLaunchKernelExC(&config, kernel, arguments));
}

/// As step/mod.rs launches it.
static void product(cudaStream_t stream, StepLinearParams p, const Config& config) {
  const u32 slots = p.k / 8, pieces = slots < 256 ? 1 : 2, large = p.m * p.k * 2 > (128u << 10) * MULTIPROCESSORS;
  p.lanes = (slots / pieces + 31) / 32 * 32;
  const u32 wanted = large ? config.threads : 256;
  p.abreast = std::max(1u, wanted / p.lanes);
  const u32 threads = p.lanes * p.abreast, blocks = MULTIPROCESSORS * std::max(1u, wanted / threads);
  p.rows = ((p.m + blocks - 1) / blocks + p.abreast - 1) / p.abreast * p.abreast;
  if (p.u) p.rows = std::min(p.rows, threads);
  const u32 together = 4 / pieces * p.abreast;
  p.stages = (p.rows + together - 1) / together;
  const void* kernel = pieces == 1 ? (const void*)step_linear1_bf16 : (const void*)step_linear2_bf16;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 160 << 10));
  launch(stream, kernel, (p.m + p.rows - 1) / p.rows, threads, 256 * threads, &p, config.overlaps);
}

static float microseconds(const Model& m, const Config& config, u16* weights, float* floats) {
  const size_t matrices = size_t(3) * m.d * m.e + size_t(2 * m.rank + 2 * STATES) * m.e, own = size_t(m.e) * 64;
  float *x = floats, *norm = x + m.d, *xz = norm + m.d, *u = xz + 2 * m.e, *low = u + m.e, *y = low + m.e;
  float *vector = y + m.e, *layers = vector + 8 * m.e;
  cudaStream_t stream;
  check(cudaStreamCreate(&stream));
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (u32 layer = 0; layer < m.layers; ++layer) {
    const u16 *in = weights + layer * matrices, *x_proj = in + size_t(2) * m.d * m.e, *dt = x_proj + size_t(m.rank + 2 * STATES) * m.e;
    float *conv = layers + layer * own, *state = conv + 3 * m.e, *A = state + STATES * m.e;
    StepLinearParams p = {};
    p.rounds = 1;
    for (const char* part = config.parts; *part; ++part) {
      if (*part == 'i') {
        p.x = x, p.weight = in, p.y = xz, p.k = m.d, p.m = 2 * m.e, p.normed = 1, p.norm = norm, p.eps = 1e-5f;
        p.taps = vector, p.conv_bias = vector, p.state = conv, p.u = u, p.channels = m.e;
        product(stream, p, config);
        p = {}, p.rounds = 1;
      } else if (*part == 'x') {
        p.x = u, p.weight = x_proj, p.y = low, p.k = m.e, p.m = m.rank + 2 * STATES;
        product(stream, p, config);
      } else if (*part == 'o') {
        p.x = y, p.weight = dt + size_t(m.rank) * m.e, p.y = x, p.residual = x, p.k = m.e, p.m = m.d;
        product(stream, p, config);
      } else {
        StepScanParams s = {low, dt, vector, u, A, low + m.rank, low + m.rank + STATES, vector, xz + m.e, nullptr, state, y, nullptr};
        s.k = m.rank, s.e = m.e, s.n = STATES, s.per_group = m.e, s.stored = BF16, s.rounds = s.softplus = 1;
        s.channels = 8 * ((m.e + 8 * MULTIPROCESSORS - 1) / (8 * MULTIPROCESSORS));
        const void* kernel = s.channels * STATES <= 256 ? (const void*)step_scan1 : (const void*)step_scan4;
        launch(stream, kernel, (m.e + s.channels - 1) / s.channels, 256, s.channels * m.rank * 2, &s, config.overlaps);
      }
    }
  }
  cudaGraph_t graph;
  check(cudaStreamEndCapture(stream, &graph));
  constexpr size_t GRAPHS = 25;
  return microseconds_of(graph, stream, GRAPHS)[GRAPHS / 2];
}

int main() {
  for (const Model& m : {Model{"130m", 768, 1536, 48, 24}, {"1.4b", 2048, 4096, 128, 48}, {"2.8b", 2560, 5120, 160, 64}}) {
    u16* weights;
    float* floats;
    const size_t matrices = size_t(3) * m.d * m.e + size_t(2 * m.rank + 2 * STATES) * m.e, others = size_t(m.layers) * m.e * 64 + 16 * m.e + 2 * m.d;
    check(cudaMalloc(&weights, matrices * m.layers * 2));
    check(cudaMalloc(&floats, others * 4));
    check(cudaMemset(weights, 0x3c, matrices * m.layers * 2));
    check(cudaMemset(floats, 0, others * 4));
    const Config all = {"ixso", true, 512}, apart = {"ixso", false, 512}, few = {"ixso", true, 256};
    for (const Config& c : {all, apart, few, {"i", true, 512}, {"x", true, 512}, {"s", true, 512}, {"o", true, 512}, {"io", true, 512}}) {
      const float us = microseconds(m, c, weights, floats);
      printf("{\"model\":\"%s\",\"parts\":\"%s\",\"overlaps\":%s,", m.name, c.parts, c.overlaps ? "true" : "false");
      printf("\"threads\":%u,\"us\":%.1f,\"usLayer\":%.2f}\n", c.threads, us, us / m.layers);
    }
    check(cudaFree(weights));
    check(cudaFree(floats));
  }
}
