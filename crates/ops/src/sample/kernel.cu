// The next token of each row. See mod.rs for the order of the steps and choose.rs for the same on a CPU.
//
// Blocks find the maximum and the sum of their share of a row each (share.cuh), so that one row has all of the GPU; then a block a row joins
// those and chooses.
//
// Scores are f64, made anew from the logits wherever they are asked for, by the CPU's operations: both choose the same id unless a
// cumulative sum is a tie but for rounding. Division by the temperature does not change the order of scores, nor makes two of them equal, so
// that ranks are those of the scores before it.
//
// What top-k and top-p leave is all that is not below a cut, a score and an id. The few highest scores, found by a histogram, are sorted; where
// the cut is not among them, it is found bit by bit, each bit by one sum over the row.

namespace {

/// The highest scores that are sorted, and bins that say which those are: 32 a unit of score.
constexpr int SORTED = 2048, BINS = 2048;
constexpr float BINS_PER_UNIT = 32.0f;
/// In place of an id: a row with a non-finite logit, a frozen row.
constexpr int BAD = -1, FROZEN = -2;
static_assert(BINS % THREADS == 0 && SORTED == BINS && WARPS <= 32, "threads have equal shares, lanes one warp each at most");

/// -infinity: what is suppressed.
__device__ __forceinline__ double lowest() { return __longlong_as_double(i64(0xFFFull << 52)); }

/// Orders as the score does, -0 below 0.
__device__ __forceinline__ u64 key_of(double score) {
  const u64 bits = u64(__double_as_longlong(score));
  return bits >> 63 ? ~bits : bits | 1ull << 63;
}
__device__ __forceinline__ double score_of(u64 key) {
  return __longlong_as_double(i64(key >> 63 ? key ^ 1ull << 63 : ~key));
}

/// A row and its settings.
struct Row {
  const float* logits;
  const unsigned char* seen;
  const int* eos;
  int vocab, eos_count;
  double temperature, top_p, min_p, penalty;
  int top_k;  // 0: off
  bool sampling, suppressed;
  double max;  // of the scores

  /// Before the temperature.
  __device__ __forceinline__ double score(int id) const {
    double score = double(logits[id]);
    if (penalty != 1.0 && seen[id / 8] >> id % 8 & 1) score = score < 0.0 ? score * penalty : score / penalty;
    if (suppressed) {
      for (int i = 0; i < eos_count; ++i) score = eos[i] == id ? lowest() : score;
    }
    return score;
  }
  __device__ __forceinline__ double tempered(double score) const { return temperature == 1.0 ? score : score / temperature; }
  __device__ __forceinline__ double weight(double score) const { return exp(tempered(score) - tempered(max)); }
  /// 0 for the highest.
  __device__ __forceinline__ int bin(double score) const { return int(fminf(float(max - score) * BINS_PER_UNIT, float(BINS - 1))); }
};

/// The number of ids with this property, or the sum over them.
template <typename T, typename Value>
__device__ __forceinline__ T over_ids(const Row& row, Value value) {
  T sum = 0;
  for (int id = threadIdx.x; id < row.vocab; id += blockDim.x) sum += value(id);
  return over_block(sum, Sum());
}

/// The first maximum of the scores.
__device__ __forceinline__ int first_max(Row& row) {
  double best = lowest();
  int at = 0x7FFFFFFF;
  for (int id = threadIdx.x; id < row.vocab; id += blockDim.x) {
    const double score = row.score(id);
    if (score > best || at == 0x7FFFFFFF) best = score, at = id;
  }
  row.max = over_block(best, Largest());
  return ~over_block(best == row.max ? ~at : ~0x7FFFFFFF, Largest());
}

/// What is left has a key above this, or this key and an id that is not below.
struct Cut {
  u64 key;
  int id;
};

/// The least key of what top-k keeps, given that of the k-th largest: equal scores stay, and -0 equals 0.
__device__ __forceinline__ u64 with_ties(u64 key) { return key_of(score_of(key) == 0.0 ? -0.0 : score_of(key)); }

/// Descending by key and id; `count` is a power of two.
__device__ __forceinline__ void sort(u64* keys, int* ids, int count) {
  for (int size = 2; size <= count; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      __syncthreads();
      for (int pair = threadIdx.x; pair < count / 2; pair += blockDim.x) {
        const int low = pair & (step - 1), i = 2 * (pair - low) + low, j = i + step;
        const bool below = keys[i] < keys[j] || (keys[i] == keys[j] && ids[i] < ids[j]);
        if (below == ((i & size) == 0)) {
          const u64 key = keys[i];
          const int id = ids[i];
          keys[i] = keys[j], ids[i] = ids[j];
          keys[j] = key, ids[j] = id;
        }
      }
    }
  }
  __syncthreads();
}

/// The cut of top-k and top-p if it is among the highest scores.
__device__ bool cut_among_highest(const Row& row, Cut& cut) {
  SHARED(u32, bins, [BINS]);
  SHARED(u64, keys, [SORTED]);
  SHARED(int, ids, [SORTED]);
  SHARED(u32, listed, [1]);
  // Of bins and of sorted scores, this thread's.
  const int share = BINS / blockDim.x, begin = threadIdx.x * share, end = begin + share;
  for (int bin = begin; bin < end; ++bin) bins[bin] = 0;
  if (threadIdx.x == 0) listed[0] = 0;
  __syncthreads();
  for (int id = threadIdx.x; id < row.vocab; id += blockDim.x) atomicAdd(&bins[row.bin(row.score(id))], 1u);
  __syncthreads();
  // The last bin to sort, and how many scores it and those before it have: that of the k-th score, or the last of which all fit.
  u32 scores = 0;
  for (int bin = begin; bin < end; ++bin) scores += bins[bin];
  u32 upto = sum_before(scores);
  u64 last = 0;
  for (int bin = begin; bin < end; ++bin) {
    const u32 before = upto;
    upto += bins[bin];
    if (row.top_k > 0 ? before < u32(row.top_k) && upto >= u32(row.top_k) : upto <= u32(SORTED)) last = u64(bin) << 32 | upto;
  }
  last = over_block(last, Largest());
  const int last_bin = int(last >> 32), highest = int(u32(last));
  if (highest == 0 || highest > SORTED) return false;
  int count = 2;
  while (count < highest) count *= 2;
  for (int id = threadIdx.x; id < row.vocab; id += blockDim.x) {
    const double score = row.score(id);
    if (row.bin(score) > last_bin) continue;
    const u32 place = atomicAdd(&listed[0], 1u);
    keys[place] = key_of(score), ids[place] = id;
  }
  for (int i = highest + threadIdx.x; i < count; i += blockDim.x) keys[i] = 0, ids[i] = -1;
  sort(keys, ids, count);

  int left = highest;
  if (row.top_k > 0) {
    const u64 least = with_ties(keys[row.top_k - 1]);
    int kept = 0;
    for (int i = begin; i < end && i < highest; ++i) kept += keys[i] >= least;
    left = over_block(kept, Sum());
  }
  if (row.top_p < 1.0) {
    double weights = 0.0;
    for (int i = begin; i < end && i < left; ++i) weights += row.weight(score_of(keys[i]));
    const auto all = [&](int id) { return row.weight(row.score(id)); };
    const double wanted = row.top_p * (row.top_k > 0 ? over_block(weights, Sum()) : over_ids<double>(row, all));
    double above = sum_before(weights);
    int kept = 0;
    for (int i = begin; i < end && i < left; ++i) {
      kept += i == 0 || above < wanted;
      above += row.weight(score_of(keys[i]));
    }
    kept = over_block(kept, Sum());
    if (row.top_k == 0 && kept == left && kept < row.vocab) return false;
    left = kept;
  }
  cut = {keys[left - 1], ids[left - 1]};
  return true;
}

/// The largest x, found bit by bit, of which `holds`; 0 if of none. What holds of a number holds of those below.
template <typename Number, typename Holds>
__device__ __forceinline__ Number largest(int bits, Holds holds) {
  Number found = 0;
  for (int bit = bits - 1; bit >= 0; --bit) {
    const Number next = found | Number(1) << bit;
    if (holds(next)) found = next;
  }
  return found;
}

/// The cut of top-k and top-p.
__device__ Cut cut_anywhere(const Row& row) {
  u64 least = 0;
  if (row.top_k > 0) {
    const auto many = [&](u64 key) { return over_ids<int>(row, [&](int id) { return int(key_of(row.score(id)) >= key); }) >= row.top_k; };
    least = with_ties(largest<u64>(64, many));
  }
  if (!(row.top_p < 1.0)) return {least, 0};
  // Weight from `key` up to where the sum above begins.
  u64 top = ~0ull;
  const auto between = [&](u64 key) {
    return over_ids<double>(row, [&](int id) {
      const double score = row.score(id);
      const u64 own = key_of(score);
      return own >= key && own < top && own >= least ? row.weight(score) : 0.0;
    });
  };
  const double wanted = row.top_p * between(0);
  double above = 0.0;
  u64 key = largest<u64>(64, [&](u64 key) {
    const double more = between(key);
    if (above + more >= wanted) return true;
    above += more, top = key;
    return false;
  });
  if (key < least) return {least, 0};
  if (key > key_of(row.max)) key = key_of(row.max), above = 0.0;
  // Of equal scores the highest ids stay.
  const int equal = over_ids<int>(row, [&](int id) { return int(key_of(row.score(id)) == key); });
  const double weight = row.weight(score_of(key)), fit = ceil((wanted - above) / weight);
  const int stay = fit >= 1.0 ? fit < double(equal) ? int(fit) : equal : weight > 0.0 ? 1 : equal;
  const auto many = [&](int from) {
    return over_ids<int>(row, [&](int id) { return int(id >= from && key_of(row.score(id)) == key); }) >= stay;
  };
  return {key, largest<int>(31, many)};
}

__device__ __forceinline__ double uniform(const u32* rng) {
  u32 key[2] = {rng[0], rng[1]}, counter[4] = {rng[2], rng[3], 0, 0};
  for (int round = 0; round < 10; ++round) {
    const u64 p0 = u64(0xD2511F53u) * counter[0], p1 = u64(0xCD9E8D57u) * counter[2];
    counter[0] = u32(p1 >> 32) ^ counter[1] ^ key[0], counter[1] = u32(p1);
    counter[2] = u32(p0 >> 32) ^ counter[3] ^ key[1], counter[3] = u32(p0);
    key[0] += 0x9E3779B9u, key[1] += 0xBB67AE85u;
  }
  const u64 bits = u64(counter[0]) << 32 | counter[1];
  return double(bits >> 11) * 0x1p-53;
}

/// The id at `point` (0 … 1) of the cumulative weight of what is left, in order of ids: the range of ids is narrowed to one warp's share of it
/// until few are left.
__device__ int draw(const Row& row, const Cut& cut, double point) {
  constexpr int FEW = 64;
  SHARED(double, sums, [FEW]);
  const auto weight = [&](int id) {
    const double score = row.score(id);
    const u64 key = key_of(score);
    if (key < cut.key || (key == cut.key && id < cut.id)) return 0.0;
    const double weight = row.weight(score);
    // The largest stays, whatever min_p is.
    return weight < row.min_p && row.tempered(score) < row.tempered(row.max) ? 0.0 : weight;
  };
  // The first of `sums` with which `before` exceeds the point, else the last that adds to it; before it, `before`.
  double before = 0.0;
  const auto find = [&](int count) {
    int found = 0;
    double upto = before, until = before;
    for (int i = 0; i < count; ++i) {
      if (sums[i] == 0.0) continue;
      found = i, until = upto;
      upto += sums[i];
      if (upto > point) break;
    }
    before = until;
    return found;
  };
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
  int start = 0, end = row.vocab;
  for (bool whole = true; whole || end - start > FEW; whole = false) {
    const int share = (end - start + warps - 1) / warps, from = start + warp * share, to = min(end, from + share);
    double sum = 0.0;
    for (int id = from + lane; id < to; id += 32) sum += weight(id);
    sum = over_warp(sum, Sum());
    if (lane == 0) sums[warp] = sum;
    __syncthreads();
    if (whole) {
      double total = 0.0;
      for (int i = 0; i < warps; ++i) total += sums[i];
      point *= total;
    }
    start += find(warps) * share;
    end = min(end, start + share);
    __syncthreads();
  }
  const int count = end - start;
  if (int(threadIdx.x) < count) sums[threadIdx.x] = weight(start + int(threadIdx.x));
  __syncthreads();
  return start + find(count);
}

/// The id chosen by what the sampler says. `first` is the first maximum of the logits.
__device__ __forceinline__ int choose(Row& row, int first, float max_logit, const u32* rng) {
  // Of scores that are the logits, too; but a 0 may be a -0, whose key is another.
  const bool known = row.penalty == 1.0 && !row.suppressed && max_logit != 0.0f;
  row.max = max_logit;
  const int best = known ? first : first_max(row);
  if (!row.sampling || row.max == lowest()) return best;
  Cut cut = {0, 0};
  if (row.top_k > 0 || row.top_p < 1.0) {
    if (!cut_among_highest(row, cut)) cut = cut_anywhere(row);
  }
  return draw(row, cut, uniform(rng));
}

/// A row of `sampler`.
struct Settings {
  float of[7];
  __device__ __forceinline__ explicit Settings(const float* sampler) {
#pragma unroll
    for (int i = 0; i < 7; ++i) of[i] = sampler[i];
  }
};

/// Chooses for row b, whose shares are there. `step` matters to the first thread.
__device__ __forceinline__ void sample_row(const SampleParams& p, i64 b, const Settings& settings, u32 step) {
  const bool writes = threadIdx.x == 0;
  const int vocab = int(p.vocab), lane = threadIdx.x % 32, count = int(p.share_count);
  const float* const logits = p.logits + b * p.v;
  u32* const rng = p.rng + b * 4;
  // All that is sure to be needed is asked for at once. Each warp joins the shares, by itself; those of a frozen row are left unused.
  const int len = p.lens[b];
  const i64 slot = b * p.steps + step;
  const u64 counter = u64(rng[3]) << 32 | rng[2];
  const Share* const shares = p.shares + b * p.share_count;
  u64 best = 0;
  u32 bad = 0;
  for (int i = lane; i < count; i += 32) best = max(best, shares[i].best), bad |= shares[i].bad;
  if (len <= 0) {
    if (writes) p.token[slot] = FROZEN, p.logprob[slot] = 0.0f;
    return;
  }
  best = over_warp(best, Largest());
  if (over_warp(bad, Largest())) {
    if (writes) p.token[slot] = BAD, p.logprob[slot] = 0.0f;
    return;
  }
  const int first = int(~u32(best));
  const float max_logit = logit_of(best);

  Row row;
  row.logits = logits, row.seen = p.seen + b * ((p.v + 7) / 8), row.eos = p.eos, row.vocab = vocab, row.eos_count = int(p.eos_count);
  row.top_p = settings.of[2], row.min_p = settings.of[3], row.penalty = settings.of[4];
  // One that keeps everything is none.
  row.top_k = settings.of[1] >= 1.0f && settings.of[1] < float(vocab) ? int(settings.of[1]) : 0;
  // A temperature of 0 is the limit of ever colder sampling: the maximum.
  row.sampling = settings.of[5] != 0.0f && settings.of[0] > 0.0f;
  row.temperature = row.sampling ? settings.of[0] : 1.0;
  row.suppressed = double(counter) < double(settings.of[6]);
  const bool plain = !row.sampling && row.penalty == 1.0 && !row.suppressed;
  const int id = plain ? first : choose(row, first, max_logit, rng);

  // Nobody reads what is written here before it is.
  __syncthreads();
  // A warp for what one thread writes: f64 is slow where all of them take part.
  if (threadIdx.x >= 32) return;
  unsigned char* const seen = p.seen + b * ((p.v + 7) / 8) + id / 8;
  const unsigned char was = *seen;
  const float logit = plain ? max_logit : logits[id];
  // The largest logit's own term is exactly 1. Left out of the sum, it takes no digits from the others, which are all that a logprob near 0
  // is made of.
  double sum = 0.0;
  for (int i = lane; i < count; i += 32) {
    const Share share = shares[i];
    sum += share.best == best ? share.sum : (share.sum + 1.0) * exp(double(logit_of(share.best)) - double(max_logit));
  }
  sum = over_warp(sum, Sum());
  bool ends = false;
  for (int i = lane; i < row.eos_count; i += 32) ends |= p.eos[i] == id;
  ends = over_warp(u32(ends), Largest());
  if (!writes) return;
  p.token[slot] = id;
  p.tokens[b] = id;
  *seen = was | 1 << id % 8;
  rng[2] = u32(counter + 1), rng[3] = u32((counter + 1) >> 32);
  if (ends) p.lens[b] = 0;
  p.logprob[slot] = float(double(logit) - double(max_logit) - log1p(sum));
}

}  // namespace

/// Grid: share_count blocks for each row.
KERNEL_BOUNDS(sample_share, SampleParams, SHARE_THREADS) {
  // Nobody else asks for it here.
  if (blockIdx.x == 0 && threadIdx.x == 0) *p.step += p.ticks;
  share_of_row<SHARE_THREADS>(p);
}

/// Grid: a block a row.
KERNEL_EARLY(sample, SampleParams, THREADS) {
  // They were there for the shares, and blocks come when all of those have begun.
  const Settings settings(p.sampler + blockIdx.x * 8);
  inputs_ready();
  sample_row(p, blockIdx.x, settings, *p.step - p.ticks);
}

/// Grid: share_count blocks, for the one row. The last of them to have its share chooses.
KERNEL_BOUNDS(sample_one, SampleParams, THREADS) {
  SHARED(u32, before, [1]);
  share_of_row<THREADS>(p);
  if (threadIdx.x == 0) {
    __threadfence();
    before[0] = atomicAdd(p.step + 1, 1u);
  }
  __syncthreads();
  if (before[0] + 1 < gridDim.x) return;
  __threadfence();
  u32 step = 0;
  if (threadIdx.x == 0) step = p.step[0], p.step[0] = step + p.ticks, p.step[1] = 0;
  sample_row(p, 0, Settings(p.sampler), step);
}
