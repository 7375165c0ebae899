namespace {

__device__ __forceinline__ void token(const TokenParams& p) {
  DYNAMIC_SHARED(unsigned char, memory);
  Shared& shared = *reinterpret_cast<Shared*>(memory);
  unsigned char* const ring = memory + sizeof(Shared);
  const u32 thread = threadIdx.x;
  constexpr u32 PIECES = sizeof(TokenPhase) / 16;
  static_assert(sizeof(Shared) == 30912 && sizeof(TokenPhase) == 224, "as place.rs has them");
  const auto describe = [&](u32 i) {
    if (thread < PIECES && i < p.count) {
      copy16(reinterpret_cast<uint4*>(&shared.phases[i % 4]) + thread, reinterpret_cast<const uint4*>(p.phases + i) + thread);
    }
    copies_commit();
  };
  for (u32 i = thread; i < p.product_count; i += blockDim.x) shared.products[i] = p.products[i];
  describe(0), describe(1);
  copies_wait<0>();
  if (thread < p.stages) meeting_open(&shared.full[thread], 1), meeting_open(&shared.empty[thread], WARPS);
  meetings_opened();
  __syncthreads();
  if (thread >= THREADS) {
    bring(p, shared, ring);
    inputs_ready();
    return;
  }
  inputs_ready();
  // Blocks that have ended by now, of this token's, are fewer than all: this one has not.
  const u32 token = (u32(*static_cast<volatile u64*>(p.done) / gridDim.x) + 1) * (p.count + 1);
  const bool valid = !p.lens || p.lens[0] > 0;
  Place place;
#pragma unroll 1
  for (u32 i = 0; i < p.count; ++i) {
    const TokenPhase& phase = shared.phases[i % 4];
    // There before the barrier in this phase, and read behind that in the next.
    describe(i + 2);
    if (blockIdx.x * phase.rows >= phase.m) {
      copies_wait<0>();
      gather();
    } else if (phase.kind == PRODUCT) {
      product(p, phase, shared, ring, place, i, token, valid);
    } else if (phase.rows <= THREADS / N) {
      scan<1>(phase, shared, i, token, valid);
    } else {
      scan<2>(phase, shared, i, token, valid);
    }
  }
  if (thread == 0) atomicAdd(p.done, u64(1));
}

}  // namespace

KERNEL_EARLY(token_layers, TokenParams, THREADS + 32, 1) { token(p); }
