// Kernels of no op: they try blocks that wait for each other, and instructions of common.cuh by themselves.

struct TalkParams {
  u64* words;
  float* heard;
  u32 rounds, pause;
};

/// Two blocks of T threads tell each other a value a thread, `rounds` times: block 0 speaks first. Before it speaks, block 1 is at barriers
/// `pause` times. Each thread ends with the sum of what both of a pair of the other block's threads said, by 2^round.
KERNEL(tried_talk, TalkParams) {
  SHARED(float, own, [512]);
  const u32 me = threadIdx.x, threads = blockDim.x, block = blockIdx.x;
  u64* const mine = p.words + block * threads;
  const u64* const theirs = p.words + (1 - block) * threads;
  own[me] = float(block * threads + me);
  float heard = 0.0f;
  for (u32 round = 1; round <= p.rounds; ++round) {
    if (block == 0) publish(mine + me, own[me] + float(round), round);
    Flagged2 found = peek2(theirs + me / 2 * 2);
    while (u32(found.a >> 32) != round || u32(found.b >> 32) != round) {
      relax();
      found = peek2(theirs + me / 2 * 2);
    }
    heard += __uint_as_float(u32(found.a)) + __uint_as_float(u32(found.b));
    __syncthreads();
    for (u32 i = 0; block == 1 && i < p.pause; ++i) __syncthreads();
    if (block == 1) publish(mine + me, own[me] + float(round), round);
  }
  p.heard[block * threads + me] = heard;
}

struct WaitParams {
  u64* word;
  u32 way, padding;
};

/// Block 0 waits for what block 1 never says: each thread by itself, or a warp at once, or the block at once, or as it should not at a barrier.
KERNEL(tried_wait, WaitParams) {
  if (blockIdx.x == 1) return;
  if (p.way == 0) {
    while (!peek(p.word)) relax();
  } else if (p.way == 1) {
    while (!__all_sync(~0u, peek2(p.word).a != 0)) relax();
  } else if (p.way == 2) {
    while (!__syncthreads_or(peek2(p.word).a != 0)) relax();
  } else if (threadIdx.x > 0) {
    __syncthreads();
  }
}

struct MmaParams {
  const u16 *a, *b;
  float* sum;
  u32 half, padding;
};

/// sum (16, 8) += a (16, 16) bᵀ of b (8, 16).
KERNEL(tried_mma, MmaParams) {
  const u32 lane = threadIdx.x, row = lane / 4, column = lane % 4 * 2;
  u32 a[4], b[2];
  float sum[4];
  for (u32 i = 0; i < 4; ++i) {
    const u16* const at = p.a + (row + i % 2 * 8) * 16 + column + i / 2 * 8;
    a[i] = u32(at[0]) | u32(at[1]) << 16;
    sum[i] = p.sum[(row + i / 2 * 8) * 8 + column + i % 2];
  }
  for (u32 i = 0; i < 2; ++i) {
    const u16* const at = p.b + row * 16 + column + i * 8;
    b[i] = u32(at[0]) | u32(at[1]) << 16;
  }
  if (p.half) {
    mma_f16(sum, a, b);
  } else {
    mma_bf16(sum, a, b);
  }
  for (u32 i = 0; i < 4; ++i) p.sum[(row + i / 2 * 8) * 8 + column + i % 2] = sum[i];
}

struct CopyParams {
  const u16* from;
  uint2* to;
};

/// Eight bytes a thread, by way of shared memory.
KERNEL(tried_copy8, CopyParams) {
  SHARED(uint2, tile, [32]);
  copy8(&tile[threadIdx.x], p.from + 4 * threadIdx.x);
  copies_commit();
  copies_wait<0>();
  p.to[threadIdx.x] = tile[threadIdx.x];
}

struct RingParams {
  const float* rows;
  float* sums;
  u32 count, way;
};

/// A warp brings `count` rows of 32 floats through a ring of three, another adds them up; 1: one arrival too many, 2: bytes that never come,
/// 3: a row that is not aligned, 4: more bytes than a meeting holds.
KERNEL(tried_ring, RingParams) {
  SHARED(u64, full, [3]);
  SHARED(u64, empty, [3]);
  SHARED(float, ring, [3][32]);
  const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x < 3) meeting_open(full + threadIdx.x, 1), meeting_open(empty + threadIdx.x, 32);
  meetings_opened();
  __syncthreads();
  float sum = 0.0f;
  for (u32 i = 0; i < p.count; ++i) {
    const u32 slot = i % 3, turn = i / 3 % 2;
    if (warp == 0) {
      meeting_wait(empty + slot, turn ^ 1);
      // Else what lane 0 does next could end the phase that another lane has yet to see.
      __syncwarp();
      if (lane == 0) {
        meeting_arrive(full + slot, p.way == 2 ? 144 : p.way == 4 ? 1 << 18 : 128);
        if (p.way == 1) meeting_arrive(full + slot, 0);
        copy_row(ring[slot], p.rows + i * 32 + (p.way == 3), 128, full + slot);
      }
    } else {
      meeting_wait(full + slot, turn);
      sum += ring[slot][lane] * float(i + 1);
      meeting_arrive(empty + slot);
    }
  }
  if (warp == 1) p.sums[lane] = sum;
}
