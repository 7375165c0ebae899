struct AddParams {
  const float* a;
  const float* c;
  float* y;
  const int* lens;
  i64 rows, l, d;
};

template <int W>
__device__ __forceinline__ void add(const AddParams& p) {
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    if (!is_valid(p.lens, row, p.l)) continue;
    for (i64 c = (i64(blockIdx.y) * blockDim.x + threadIdx.x) * W; c < p.d; c += i64(gridDim.y) * blockDim.x * W) {
      const i64 at = row * p.d + c;
      Floats<W> y = load<W>(p.a, at);
      const Floats<W> x = load<W>(p.c, at);
      for (int i = 0; i < W; ++i) y.v[i] += x.v[i];
      store<W>(p.y, at, y);
    }
  }
}

KERNEL(add_x1, AddParams) { add<1>(p); }
KERNEL(add_x4, AddParams) { add<4>(p); }
