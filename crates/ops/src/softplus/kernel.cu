struct SoftplusParams {
  const float* x;
  float* y;
  const int* lens;
  i64 rows, l, d, ld;
};

template <int W>
__device__ __forceinline__ void softplus(const SoftplusParams& p) {
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    if (!is_valid(p.lens, row, p.l)) continue;
    for (i64 c = (i64(blockIdx.y) * blockDim.x + threadIdx.x) * W; c < p.d; c += i64(gridDim.y) * blockDim.x * W) {
      Floats<W> x = load<W>(p.x, row * p.ld + c);
      for (int i = 0; i < W; ++i) x.v[i] = x.v[i] <= 20.0f ? log1pf(expf(x.v[i])) : x.v[i];
      store<W>(p.y, row * p.d + c, x);
    }
  }
}

KERNEL(softplus_x1, SoftplusParams) { softplus<1>(p); }
KERNEL(softplus_x4, SoftplusParams) { softplus<4>(p); }
