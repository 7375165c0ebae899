struct EmbedParams {
  const int* tokens;
  const void* weight;
  float* y;
  const int* lens;
  Fault* fault;
  i64 rows, l, d, v, ld;
  u32 type, node;
};

/// An id that is not in the vocabulary is reported, and gives NaN as on the CPU.
template <int W>
__device__ __forceinline__ void embed(const EmbedParams& p) {
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    if (!is_valid(p.lens, row, p.l)) continue;
    const int id = p.tokens[row];
    const bool known = id >= 0 && id < p.v;
    if (!known && blockIdx.y == 0 && threadIdx.x == 0) report(p.fault, p.node, id);
    for (i64 c = (i64(blockIdx.y) * blockDim.x + threadIdx.x) * W; c < p.d; c += i64(gridDim.y) * blockDim.x * W) {
      Floats<W> y;
      for (int i = 0; i < W; ++i) y.v[i] = __uint_as_float(0x7FC00000);
      if (known) y = load_stored<W>(p.weight, id * p.ld + c, p.type);
      store<W>(p.y, row * p.d + c, y);
    }
  }
}

KERNEL(embed_x1, EmbedParams) { embed<1>(p); }
KERNEL(embed_x4, EmbedParams) { embed<4>(p); }
