struct RmsnormParams {
  const float* x;
  const float* weight;
  void* y;
  const int* lens;
  i64 rows, l, d, ld;
  float eps;
  u32 type;  // of y
};

/// A block takes a row: once for the sum of squares, once more for the result, from registers as far as those reach, else from the cache. `y` may
/// be `x`: each thread writes what it alone reads, behind the barrier of the sum.
template <int W>
__device__ __forceinline__ void rmsnorm(const RmsnormParams& p) {
  constexpr int KEPT = 4;
  SHARED(float, parts, [32]);
  const i64 first = i64(threadIdx.x) * W, stride = i64(blockDim.x) * W;
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    if (!is_valid(p.lens, row, p.l)) continue;
    const float* x = p.x + row * p.ld;
    Floats<W> kept[KEPT];
#pragma unroll
    for (int j = 0; j < KEPT; ++j) {
      if (first + j * stride < p.d) kept[j] = load<W>(x, first + j * stride);
    }
    float sum = 0.0f;
    const auto square = [&](const Floats<W>& v) {
      for (int i = 0; i < W; ++i) sum = fmaf(v.v[i], v.v[i], sum);
    };
#pragma unroll
    for (int j = 0; j < KEPT; ++j) {
      if (first + j * stride < p.d) square(kept[j]);
    }
    for (i64 c = first + KEPT * stride; c < p.d; c += stride) square(load<W>(x, c));
    const float scale = 1.0f / sqrtf(block_sum(sum, parts) / float(p.d) + p.eps);
    const auto finish = [&](i64 c, Floats<W> v) {
      for (int i = 0; i < W; ++i) v.v[i] *= scale;
      if (p.weight) {
        const Floats<W> w = load<W>(p.weight, c);
        for (int i = 0; i < W; ++i) v.v[i] *= w.v[i];
      }
      store_stored<W>(p.y, row * p.d + c, p.type, v);
    };
#pragma unroll
    for (int j = 0; j < KEPT; ++j) {
      if (first + j * stride < p.d) finish(first + j * stride, kept[j]);
    }
    for (i64 c = first + KEPT * stride; c < p.d; c += stride) finish(c, load<W>(x, c));
    // The next row's sum writes where this one's may still be read.
    __syncthreads();
  }
}

KERNEL(rmsnorm_x1, RmsnormParams) { rmsnorm<1>(p); }
KERNEL(rmsnorm_x4, RmsnormParams) { rmsnorm<4>(p); }
