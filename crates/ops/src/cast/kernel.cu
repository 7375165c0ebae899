struct CastParams {
  const void* x;
  void* y;
  const int* lens;
  i64 rows, l, d, ld;
  u32 from, to;
};

template <int W>
__device__ __forceinline__ void cast(const CastParams& p) {
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    if (!is_valid(p.lens, row, p.l)) continue;
    for (i64 c = (i64(blockIdx.y) * blockDim.x + threadIdx.x) * W; c < p.d; c += i64(gridDim.y) * blockDim.x * W) {
      store_stored<W>(p.y, row * p.d + c, p.to, load_stored<W>(p.x, row * p.ld + c, p.from));
    }
  }
}

KERNEL(cast_x1, CastParams) { cast<1>(p); }
KERNEL(cast_x4, CastParams) { cast<4>(p); }
