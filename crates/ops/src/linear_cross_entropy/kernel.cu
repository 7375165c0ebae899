// `nll = logsumexp(logits) − logits[target]`: what linear's kernels leave of a block of logits in scratch is added to what is known of each row,
// so that never more than a block of logits is there. Blocks of the vocabulary follow one another in one order, and so do a row's sums.

struct CrossEntropyParams {
  const float* logits;  // (rows, width) of columns start … start + width
  const int* targets;
  const int* lens;  // or null
  float4* board;    // of each row: its largest logit up to here, the sum of exponentials below that, the target's logit
  float* nll;
  Fault* fault;
  u64 pitch;  // of logits
  u32 l, node;
  u32 start, width, vocab;
  u32 unused;
};

// Each kernel.cu has its own: the emulator links them all.
namespace {

__device__ __forceinline__ float exponential(float x) { return ex2(x * 1.44269504f); }

/// The largest over a block of full warps.
__device__ float block_max(float x, float* parts) {
  x = warp_max(x);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  return warp_max(parts[min(threadIdx.x % 32, blockDim.x / 32 - 1)]);
}

}  // namespace

/// A block has a row.
KERNEL_BOUNDS(linear_cross_entropy_block, CrossEntropyParams, 1024) {
  SHARED(float, largest, [32]);
  SHARED(float, sums, [32]);
  const u32 row = blockIdx.x;
  if (!is_valid(p.lens, row, p.l)) return;
  const float* logits = p.logits + row * p.pitch;
  // Minus infinity and, below, NaN by their bits: NVRTC has no names for them.
  float max = __uint_as_float(0xFF800000u);
#pragma unroll 8
  for (u32 i = threadIdx.x; i < p.width; i += blockDim.x) max = fmaxf(max, logits[i]);
  max = block_max(max, largest);
  float sum = 0.0f;
#pragma unroll 8
  for (u32 i = threadIdx.x; i < p.width; i += blockDim.x) sum += exponential(logits[i] - max);
  sum = block_sum(sum, sums);
  if (threadIdx.x > 0) return;

  const int target = p.targets[row];
  const bool is_known = target >= 0 && u32(target) < p.vocab;
  // Of an unknown target, NaN: a mistake there must be seen.
  float4 known = p.start == 0 ? make_float4(max, 0.0f, __uint_as_float(0x7FC00000u), 0.0f) : p.board[row];
  const float most = fmaxf(known.x, max);
  known.y = known.y * exponential(known.x - most) + sum * exponential(max - most);
  known.x = most;
  if (is_known && u32(target) >= p.start && u32(target) - p.start < p.width) known.z = logits[u32(target) - p.start];
  if (p.start + p.width < p.vocab) {
    p.board[row] = known;
  } else {
    p.nll[row] = logf(known.y) + known.x - known.z;
    if (!is_known) report(p.fault, p.node, target);
  }
}
