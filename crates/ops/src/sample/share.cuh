// A block's share of a row: its first maximum, and the sum beside that.

namespace {

/// Logits of a share, and the threads that look at one of many rows'.
constexpr int SHARE = 4096, SHARE_THREADS = 256;

/// What a block has found in its share.
struct Share {
  u64 best;    // key and complement of the id of its first maximum
  double sum;  // of exp(logit - that), without the maximum's own 1
  u32 bad, unused;
};

struct SampleParams {
  const float* logits;
  int *tokens, *lens;
  u32* rng;
  const float* sampler;
  const int* eos;
  unsigned char* seen;
  int* token;
  float* logprob;
  u32* step;  // and blocks of a row that have their share: 0 before and behind a launch
  Share* shares;
  i64 b, v, vocab, steps, eos_count, share_count;
  u32 ticks, unused;  // 1 where this node is the last that asks for the step: it makes it the next
};

/// Orders as the logit does; -0 is 0, as of equal ones the first is the maximum.
__device__ __forceinline__ u32 key_of_logit(float logit) {
  const u32 bits = __float_as_uint(logit + 0.0f);
  return bits >> 31 ? ~bits : bits | 1u << 31;
}
__device__ __forceinline__ float logit_of(u64 best) {
  const u32 key = u32(best >> 32);
  return __uint_as_float(key >> 31 ? key ^ 1u << 31 : ~key);
}

/// The block's share, by COUNT threads; the first one writes it.
template <int COUNT>
__device__ __forceinline__ void share_of_row(const SampleParams& p) {
  constexpr int OWN = SHARE / COUNT;
  const i64 b = blockIdx.x / p.share_count, start = blockIdx.x % p.share_count * SHARE + threadIdx.x;
  const float* const logits = p.logits + b * p.v;
  const int len = p.lens[b];
  float own[OWN];
#pragma unroll
  for (int i = 0; i < OWN; ++i) own[i] = start + i * COUNT < p.vocab ? logits[start + i * COUNT] : 0.0f;
  // A frozen row's are left unused: to wait for its length before they are asked for would take as long again.
  if (len <= 0) return;
  // Of many rows this is bound by its instructions: the first maximum of a thread is a key only once, and its terms are added up in f32.
  const int count = int(min(max((p.vocab - start + COUNT - 1) / COUNT, i64(0)), i64(OWN)));
  bool bad = false;
  int first = 0;
#pragma unroll
  for (int i = 0; i < OWN; ++i) bad |= !(fabsf(own[i]) <= 3.402823466e38f);
  float largest = own[0];
#pragma unroll
  for (int i = 1; i < OWN; ++i) {
    if (i < count && own[i] > largest) largest = own[i], first = i;
  }
  const u32 id = u32(start) + first * COUNT;
  const u64 best = over_block(count > 0 ? u64(key_of_logit(largest)) << 32 | u32(~id) : 0, Largest());
  const float most = logit_of(best);
  const bool is_best = id == ~u32(best);
  float terms = 0.0f;
#pragma unroll
  for (int i = 0; i < OWN; ++i) {
    if (i < count && !(is_best && i == first)) terms += expf(own[i] - most);
  }
  const double sum = over_block(double(terms), Sum());
  const u32 any = __syncthreads_or(bad);
  if (threadIdx.x == 0) p.shares[blockIdx.x] = {best, sum, any != 0, 0};
}

}  // namespace
