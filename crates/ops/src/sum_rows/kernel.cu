struct SumRowsParams {
  const float* x;
  float* acc;
  const int* lens;
  i64 b, l, d;
};

/// A thread takes a channel of a batch row through all positions: the order of the sum is that of the definition.
KERNEL_BOUNDS(sum_rows, SumRowsParams, 128) {
  for (i64 at = i64(blockIdx.x) * blockDim.x + threadIdx.x; at < p.b * p.d; at += i64(gridDim.x) * blockDim.x) {
    const i64 batch = at / p.d, length = valid_length(p.lens, batch, p.l);
    if (length == 0) continue;
    const float* const x = p.x + batch * p.l * p.d + at % p.d;
    float sum = p.acc[at];
    // Only the additions wait for each other, not the loads.
#pragma unroll 8
    for (i64 t = 0; t < length; ++t) sum += x[t * p.d];
    p.acc[at] = sum;
  }
}
