// A token of one sequence through the layers of a model and its head in one launch: `crates/ops/src/token` as it is, for more or fewer chunks of
// weights on their way. From the repository's root, on a Hopper GPU:
//
//   nvcc -std=c++17 -O3 -arch=sm_90a benches/cuda/token/layers.cu -o layers && ./layers
//
// One JSON line a configuration. Weights are of one value and states zeros: the engine's tests look at what comes of them.
#include "../../../crates/ops/src/cuda/common.cuh"
#include "../../../crates/ops/src/token/phases.cuh"
#include "../../../crates/ops/src/token/product.cuh"
#include "../../../crates/ops/src/token/ring.cuh"
#include "../../../crates/ops/src/token/scan.cuh"
#include "../../../crates/ops/src/token/kernel.cu"
#include "../graphs.cuh"

template <class T>
static T* allocate(size_t count, int byte = 0) {
  T* at;
  check(cudaMalloc(&at, count * sizeof(T)));
  check(cudaMemset(at, byte, count * sizeof(T)));
  return at;
}

struct Model {
  const char* name;
  u32 d, e, rank, layers, base;
};

constexpr u32 BLOCKS = 128, VOCAB = 50280, GRAPHS = 31;

static u32 share(u32 m) { return ((m + BLOCKS - 1) / BLOCKS + 1) / 2 * 2; }

/// As place.rs does it.
struct Chain {
  u32 base;
  std::vector<TokenPhase> phases;
  std::vector<TokenProduct> products;
  void scan(TokenPhase p) { p.kind = SCAN, p.rows = share(p.m), phases.push_back(p); }
  void product(TokenPhase p) {
    u32 most = ~0u;
    p.rows = share(p.m), p.per_k = 1.0f / float(p.k);
    for (u32 h = 0; h < 4; ++h) {
      const u32 rows = TILE >> h, chunks = (p.rows + rows - 1) / rows * (p.k / (base << h));
      if (p.k % (base << h) == 0 && chunks < most) most = chunks, p.halvings = h;
    }
    phases.push_back(p);
    products.push_back({p.weight, p.m, u16(p.rows), (unsigned char)(p.k / (base << p.halvings)), (unsigned char)p.halvings});
  }
};

/// The chain, and how many phases and products are of layers.
static Chain chain(const Model& m, const u16* weights, const u16* head, float* floats, u64* words, u32* layered) {
  const u32 low = m.rank + 2 * N;
  const size_t matrices = size_t(3) * m.d * m.e + size_t(low + m.rank) * m.e, own = size_t(m.e) * 35, half = 4 * m.e + m.d + 512;
  float *vector = floats, *x = vector + 8 * m.e, *logits = x + m.d, *layer_floats = logits + VOCAB;
  Chain chain{m.base, {}, {}};
  Vector residual = {x, 0};
  for (u32 layer = 0; layer < m.layers; ++layer) {
    const u16 *in = weights + layer * matrices, *x_proj = in + size_t(2) * m.d * m.e, *dt = x_proj + size_t(low) * m.e;
    float* const state = layer_floats + layer * own;
    // Those of the layer before the last are given again.
    u64 *made = words + layer % 2 * 2 * half, *lows = made + 2 * m.e, *sum = lows + 256, *u = sum + m.d, *y = u + m.e / 2;
    const u64 number = layer * 4;
    TokenPhase p = {};
    p.weight = in, p.x = residual, p.flags = made, p.pairs = u, p.state = state, p.norm = vector, p.taps = vector, p.k = m.d, p.m = 2 * m.e;
    p.channels = m.e, p.normed = 1, p.eps = 1e-5f, chain.product(p);
    p = {}, p.weight = x_proj, p.x = {u, number + 1}, p.flags = lows, p.k = m.e, p.m = low, chain.product(p);
    p = {}, p.weight = dt, p.x = {lows, number + 2}, p.residual = {made + m.e, number + 1}, p.u = {made, number + 1};
    p.B = {lows + m.rank, number + 2}, p.C = {lows + m.rank + N, number + 2}, p.pairs = y, p.state = state + 3 * m.e, p.A = state + 19 * m.e;
    p.D = p.dt_bias = vector, p.k = m.rank, p.m = m.e, p.softplus = 1, chain.scan(p);
    p = {}, p.weight = dt + size_t(m.rank) * m.e, p.x = {y, number + 3}, p.residual = residual, p.flags = sum, p.k = m.e, p.m = m.d;
    chain.product(p), residual = {sum, number + 4};
  }
  layered[0] = u32(chain.phases.size()), layered[1] = u32(chain.products.size());
  for (u32 row = 0; row < VOCAB; row += BLOCKS * THREADS) {
    TokenPhase p = {};
    p.weight = head + size_t(row) * m.d, p.x = residual, p.y = logits + row, p.norm = vector, p.k = m.d;
    p.m = std::min(BLOCKS * THREADS, VOCAB - row), p.normed = 1, p.eps = 1e-5f, chain.product(p);
  }
  return chain;
}

static void time(const Model& m, TokenParams p, const char* what) {
  const u32 shared = u32(sizeof(Shared)) + p.stages * stage_bytes(p.base);
  check(cudaFuncSetAttribute((const void*)token_layers, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared)));
  cudaStream_t stream;
  cudaGraph_t graph;
  check(cudaStreamCreate(&stream));
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  void* arguments[] = {&p};
  check(cudaLaunchCooperativeKernel((const void*)token_layers, BLOCKS, THREADS + 32, arguments, shared, stream));
  check(cudaStreamEndCapture(stream, &graph));
  const std::vector<float> times = microseconds_of(graph, stream, GRAPHS);
  printf("{\"model\":\"%s\",\"what\":\"%s\",\"flight\":%u,\"us\":%.1f,", m.name, what, p.flight, times[GRAPHS / 2]);
  printf("\"low\":%.1f,\"high\":%.1f}\n", times[0], times[GRAPHS - 1]);
}

int main() {
  for (const Model& m : {Model{"130m", 768, 1536, 48, 24, 768}, {"1.4b", 2048, 4096, 128, 48, 512}}) {
    const size_t matrices = size_t(3) * m.d * m.e + size_t(2 * m.rank + 2 * N) * m.e;
    u16 *const weights = allocate<u16>(matrices * m.layers, 0x3c), *const head = allocate<u16>(size_t(VOCAB) * m.d, 0x3c);
    float* const floats = allocate<float>(size_t(m.layers) * m.e * 35 + 8 * m.e + m.d + VOCAB);
    u64 *const words = allocate<u64>(4 * (4 * m.e + m.d + 512)), *const done = allocate<u64>(1);
    u32 layered[2];
    const Chain parts = chain(m, weights, head, floats, words, layered);
    TokenPhase* const phases = allocate<TokenPhase>(parts.phases.size());
    TokenProduct* const products = allocate<TokenProduct>(parts.products.size());
    check(cudaMemcpy(phases, parts.phases.data(), parts.phases.size() * sizeof(TokenPhase), cudaMemcpyHostToDevice));
    check(cudaMemcpy(products, parts.products.data(), parts.products.size() * sizeof(TokenProduct), cudaMemcpyHostToDevice));
    const u32 stages = std::min(MOST_STAGES, u32((227 << 10) - sizeof(Shared)) / stage_bytes(m.base));
    for (u32 flight = 1; flight < std::min(stages, 6u); ++flight) {
      TokenParams p = {phases, products, done, nullptr, layered[0], layered[1], m.base, stages, flight, 0};
      time(m, p, "layers");
      // Flags of one chain are not to be taken for another's.
      check(cudaMemset(words, 0, 4 * (4 * m.e + m.d + 512) * sizeof(u64)));
      p.count = u32(parts.phases.size()), p.product_count = u32(parts.products.size());
      time(m, p, "with head");
      check(cudaMemset(words, 0, 4 * (4 * m.e + m.d + 512) * sizeof(u64)));
    }
    const std::vector<void*> all = {weights, head, floats, words, done, phases, products};
    for (void* memory : all) check(cudaFree(memory));
  }
}
