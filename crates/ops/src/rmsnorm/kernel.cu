struct RmsnormParams {
  const float* x;
  const float* weight;
  float* y;
  const int* lens;
  i64 rows, l, d, ld;
  float eps;
  u32 unused;
};

/// A block takes a row: once for the sum of squares, once more, from the cache, for the result. `y` may be `x`: each thread writes what it alone
/// reads, behind the barrier of the sum.
template <int W>
__device__ __forceinline__ void rmsnorm(const RmsnormParams& p) {
  SHARED(float, parts, [32]);
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    if (!is_valid(p.lens, row, p.l)) continue;
    const float* x = p.x + row * p.ld;
    float sum = 0.0f;
    for (i64 c = i64(threadIdx.x) * W; c < p.d; c += blockDim.x * W) {
      const Floats<W> v = load<W>(x, c);
      for (int i = 0; i < W; ++i) sum = fmaf(v.v[i], v.v[i], sum);
    }
    const float scale = 1.0f / sqrtf(block_sum(sum, parts) / float(p.d) + p.eps);
    for (i64 c = i64(threadIdx.x) * W; c < p.d; c += blockDim.x * W) {
      Floats<W> v = load<W>(x, c);
      for (int i = 0; i < W; ++i) v.v[i] *= scale;
      if (p.weight) {
        const Floats<W> w = load<W>(p.weight, c);
        for (int i = 0; i < W; ++i) v.v[i] *= w.v[i];
      }
      store<W>(p.y, row * p.d + c, v);
    }
    // The next row's sum writes where this one's may still be read.
    __syncthreads();
  }
}

KERNEL(rmsnorm_x1, RmsnormParams) { rmsnorm<1>(p); }
KERNEL(rmsnorm_x4, RmsnormParams) { rmsnorm<4>(p); }
