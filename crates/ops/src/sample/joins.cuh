// What the threads of a block know, joined.

namespace {

/// The most threads of a block; there are a power of two of them, full warps.
constexpr int THREADS = 1024, WARPS = THREADS / 32;
constexpr u32 ALL = 0xFFFFFFFFu;

// Ways to join values; `rest` stands for what is not there.
struct Sum {
  template <typename T>
  __device__ __forceinline__ T operator()(T x, T y) const { return x + y; }
  template <typename T>
  __device__ __forceinline__ T rest(T) const { return 0; }
};
struct Largest {
  template <typename T>
  __device__ __forceinline__ T operator()(T x, T y) const { return x < y ? y : x; }
  template <typename T>
  __device__ __forceinline__ T rest(T some) const { return some; }
};

template <typename T, typename Join>
__device__ __forceinline__ T over_warp(T x, Join join) {
  for (int step = 16; step > 0; step /= 2) x = join(x, __shfl_xor_sync(ALL, x, step));
  return x;
}
/// For all threads, joined in one order.
template <typename T, typename Join>
__device__ T over_block(T x, Join join) {
  SHARED(T, parts, [WARPS]);
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  x = over_warp(x, join);
  __syncthreads();
  if (lane == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  return over_warp(lane < warps ? parts[lane] : join.rest(x), join);
}
/// What threads before this one have, summed in one order.
template <typename T>
__device__ T sum_before(T x) {
  SHARED(T, parts, [WARPS]);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const auto upto = [lane](T sum) {
    for (int step = 1; step < 32; step *= 2) {
      const T other = __shfl_up_sync(ALL, sum, step);
      if (lane >= step) sum = other + sum;
    }
    const T before = __shfl_up_sync(ALL, sum, 1);
    return lane == 0 ? T(0) : before;
  };
  const T before = upto(x);
  __syncthreads();
  if (lane == 31) parts[warp] = before + x;
  __syncthreads();
  return __shfl_sync(ALL, upto(lane < int(blockDim.x) / 32 ? parts[lane] : T(0)), warp) + before;
}

}  // namespace
