// The warp that brings weights.
namespace {

/// A block's share of all matrices, chunk by chunk, as soon as there is room in the ring; but no more at once than memory needs to be busy: the rest
/// would queue there before the words that all blocks wait for.
__device__ __forceinline__ void bring(const TokenParams& p, Shared& shared, unsigned char* ring) {
  const u32 lane = threadIdx.x % 32, stage = stage_bytes(p.base);
  Place place, landing;
  u32 flying = 0;
#pragma unroll 1
  for (u32 i = 0; i < p.product_count; ++i) {
    const TokenProduct product = shared.products[i];
    const u32 start = blockIdx.x * product.rows;
    if (start >= product.m) continue;
    const u32 count = min(u32(product.rows), product.m - start), rows = TILE >> product.halvings, width = p.base << product.halvings;
    const u32 k = width * product.chunks;
#pragma unroll 1
    for (u32 tile = 0; tile < count; tile += rows) {
      const u32 here = min(rows, count - tile);
      const u16* from = product.weight + u64(start + tile + lane) * k;
#pragma unroll 1
      for (u32 chunk = 0; chunk < product.chunks; ++chunk, from += width) {
        meeting_wait(&shared.empty[place.slot], place.turn ^ 1);
        if (flying == p.flight) {
          meeting_wait(&shared.full[landing.slot], landing.turn);
          landing.next(p.stages);
        } else {
          ++flying;
        }
        if (lane == 0) meeting_arrive(&shared.full[place.slot], here * width * 2);
        __syncwarp();
        if (lane < here) copy_row(ring + place.slot * stage + lane * (width * 2 + PAD), from, width * 2, &shared.full[place.slot]);
        place.next(p.stages);
      }
    }
  }
}

}  // namespace
