struct TransposeParams {
  const float* x;
  float* y;
  i64 b, l, d;
};

/// A block of 32 x 8 threads takes a tile of 32 x 32 through shared memory, so that reads and writes are both along rows.
KERNEL_BOUNDS(transpose, TransposeParams, 256) {
  // One column more than the tile has: the 32 floats of a column then lie in 32 banks.
  SHARED(float, tile, [32][33]);
  const i64 across = (p.d + 31) / 32, tiles = (p.l + 31) / 32 * across;
  for (i64 at = blockIdx.x; at < tiles * p.b; at += gridDim.x) {
    const i64 batch = at / tiles, i0 = at % tiles / across * 32, j0 = at % tiles % across * 32;
    const float* const x = p.x + batch * p.l * p.d;
    float* const y = p.y + batch * p.l * p.d;
    const int column = threadIdx.x;
    for (int row = threadIdx.y; row < 32; row += 8) {
      if (i0 + row < p.l && j0 + column < p.d) tile[row][column] = x[(i0 + row) * p.d + j0 + column];
    }
    __syncthreads();
    for (int row = threadIdx.y; row < 32; row += 8) {
      if (j0 + row < p.d && i0 + column < p.l) y[(j0 + row) * p.l + i0 + column] = tile[column][row];
    }
    __syncthreads();
  }
}
