// A walk through a sequence with the states in registers: its shape, and those that help. kernel.cu says what is walked where.
//
// A block takes CHANNELS channels of a group through tiles of STEPS steps. Helper warps load tiles, compute what is due once a step and channel
// (softplus before the walk, gate and rounding behind it), and store; walker warps do nothing but the recurrence. Between them lie two
// prepared tiles in shared memory, in which time runs along the vectors: one 16-byte read brings four steps of a channel's delta or of B[n],
// and of all that is computed from them only the chain h = e h + x is in order. LANES lanes share a channel, with N / LANES states each.
//
// Special functions bound it, 16 + 2 for a step and channel of 16 states, then instruction slots; benches/cuda/scan tells how it came about.

namespace {

/// COUNT neighboring floats, by vectors of four.
template <int COUNT>
__device__ __forceinline__ void read_floats(const float* from, float (&out)[COUNT]) {
#pragma unroll
  for (int i = 0; i < COUNT; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(from + i);
    out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
  }
}

/// The shape of a walk. WIDE is the columns that a helper's lane takes at a time.
template <typename Io_, int N_, int LANES_, int CHANNELS_, int STEPS_, int GROUP_, int WIDE_, int STAGES_>
struct Shape {
  using Io = Io_;
  using Raw = typename Io::Raw;
  static constexpr int N = N_, LANES = LANES_, CHANNELS = CHANNELS_, STEPS = STEPS_, GROUP = GROUP_, WIDE = WIDE_, STAGES = STAGES_;
  static constexpr int HELPERS = 4, WALKERS = CHANNELS * LANES / 32, OWN = N / LANES, ROW = STEPS + 4, CHUNK = 16 / int(sizeof(Raw));
  static constexpr int HELPING = 32 * HELPERS, THREADS = HELPING + 32 * WALKERS;
  static_assert(STEPS % 32 == 0 && STEPS % GROUP == 0 && GROUP % LANES == 0 && GROUP % 4 == 0 && N % LANES == 0, "shares are equal");
  static_assert(STAGES == 2 || STAGES == 3, "as Helper::run counts them");
  static_assert(STEPS / 32 * CHANNELS % (4 * WIDE * HELPERS) == 0 && CHANNELS * LANES % 32 == 0, "warps are full");

  /// Where a row of a loaded tile begins. Every fourth row is moved on by 16 bytes: lanes take four rows each, and meet in different banks.
  template <int COLUMNS>
  static __device__ __forceinline__ constexpr int at(int step, int column) {
    return step * COLUMNS + step / 4 * CHUNK + column;
  }
  struct Tile {  // as loaded
    alignas(16) Raw u[STEPS * CHANNELS + STEPS / 4 * CHUNK];
    alignas(16) Raw dt[STEPS * CHANNELS + STEPS / 4 * CHUNK];
    alignas(16) Raw z[STEPS * CHANNELS + STEPS / 4 * CHUNK];
    alignas(16) Raw BC[2][STEPS * N + STEPS / 4 * CHUNK];
  };
  /// Rows of steps; four floats of padding spread them over the banks. The sums take the place of x = d u.
  struct Prepared {
    alignas(16) float d[CHANNELS][ROW];
    alignas(16) float x[CHANNELS][ROW];
    alignas(16) float BC[2][N][ROW];
  };
  struct Shared {
    Tile tile[STAGES];
    Prepared prepared[2];
  };
};

// Barriers of the block by number: helpers among themselves; then two each, for even and odd tiles.
constexpr int AMONG_HELPERS = 1, WALKED = 2, PREPARED = 4;

/// Loads tiles, prepares what the walkers read, and finishes what they leave.
template <typename S>
struct Helper {
  using Io = typename S::Io;
  using Raw = typename S::Raw;
  static constexpr int CHANNELS = S::CHANNELS, STEPS = S::STEPS, N = S::N, WIDE = S::WIDE, STAGES = S::STAGES, CHUNK = S::CHUNK;
  static constexpr int HELPING = S::HELPING, ROUNDS = STEPS / 32 * CHANNELS / (4 * WIDE * S::HELPERS);
  /// A warp takes 32 steps of 8 columns of B or C.
  static constexpr int BC_TASKS = STEPS / 32 * N / 8;
  /// y's type where nothing is known of it, nor of the gate and where rows end.
  static constexpr u32 ANY = ~0u;

  /// An operand's next rows, of which 16 bytes a thread go to a tile of COLUMNS columns.
  template <int COLUMNS>
  struct Source {
    static constexpr int CHUNKS = COLUMNS / CHUNK, ROWS = HELPING / CHUNKS, TO = S::template at<COLUMNS>(ROWS, 0);
    static_assert(HELPING % CHUNKS == 0 && ROWS % 4 == 0, "a thread's rows are shifted alike");
    const Raw* next;
    int t, column;

    __device__ __forceinline__ Source(const void* from, i64 ld, i64 row, i64 first, int thread)
        : t(thread / CHUNKS), column(thread % CHUNKS * CHUNK) {
      next = static_cast<const Raw*>(from) + (row + t) * ld + first + column;
    }
    __device__ __forceinline__ void load_full(Raw* tile, i64 ld) {
      Raw* const to = tile + S::template at<COLUMNS>(t, column);
#pragma unroll
      for (int r = 0; r < (STEPS + ROWS - 1) / ROWS; ++r) {
        if (STEPS % ROWS == 0 || t + r * ROWS < STEPS) copy16(to + r * TO, next + r * ROWS * ld);
      }
      next += STEPS * ld;
    }
    /// `left` rows and `columns` columns are there, and `from` can be read.
    __device__ __forceinline__ void load_part(Raw* tile, i64 ld, const void* from, bool vectors, int left, int columns) {
      Raw* const to = tile + S::template at<COLUMNS>(t, column);
#pragma unroll 1
      for (int r = 0; t + r * ROWS < STEPS; ++r) {
        const int there = t + r * ROWS < left ? columns - column : 0;
        const Raw* const source = there > 0 ? next + r * ROWS * ld : static_cast<const Raw*>(from);
        if (vectors) {
          copy16(to + r * TO, source, there >= CHUNK ? 16 : there > 0 ? there * int(sizeof(Raw)) : 0);
        } else {
          for (int c = 0; c < CHUNK; ++c) to[r * TO + c] = c < there ? source[c] : Raw(0);
        }
      }
      next += STEPS * ld;
    }
  };

  const ScanParams& p;
  typename S::Shared& shared;
  const int thread, warp, lane, width;
  const i64 valid;
  Source<CHANNELS> u, dt, z;
  Source<N> B, C;
  i64 out;  // of the next tile to finish, the first element
  float bias[ROUNDS][WIDE], skip[ROUNDS][WIDE];

  __device__ __forceinline__ Helper(const ScanParams& p, typename S::Shared& shared, const Place& at, i64 valid)
      : p(p), shared(shared), thread(int(threadIdx.x) - 32 * S::WALKERS), warp(thread / 32), lane(thread % 32), width(int(at.width)),
        valid(valid), u(p.u, p.ld_u, at.b * p.l, at.first, thread), dt(p.dt, p.ld_dt, at.b * p.l, at.first, thread),
        z(p.z, p.ld_z, at.b * p.l, at.first, thread), B(p.B, p.ld_B, at.b * p.l, at.group * p.n, thread),
        C(p.C, p.ld_C, at.b * p.l, at.group * p.n, thread), out(at.b * p.l * p.e + at.first) {
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
#pragma unroll
      for (int c = 0; c < WIDE; ++c) {
        const int column = block<WIDE>(warp + r * S::HELPERS).y + c;
        const bool in = column < width;
        bias[r][c] = in && p.dt_bias ? p.dt_bias[at.first + column] * LOG2E : 0.0f;
        skip[r][c] = in && p.D ? p.D[at.first + column] : 0.0f;
      }
    }
  }

  /// Steps of tile k, at most STEPS.
  __device__ __forceinline__ int left(int k) const {
    const i64 left = valid - i64(k) * STEPS;
    return left < STEPS ? int(left) : STEPS;
  }
  /// The lane's first step and column of a warp's task of 32 steps and 4 WIDTH columns; a lane takes four steps and WIDTH columns.
  template <int WIDTH>
  __device__ __forceinline__ int2 block(int task) const {
    return make_int2(task % (STEPS / 32) * 32 + lane % 8 * 4, task / (STEPS / 32) * 4 * WIDTH + lane / 8 * WIDTH);
  }

  __device__ __forceinline__ void load(int k, int stage) {
    typename S::Tile& tile = shared.tile[stage];
    const int count = left(k);
    if (p.vectors && p.z && count == STEPS && width == CHANNELS && p.n == N) {
      dt.load_full(tile.dt, p.ld_dt);
      u.load_full(tile.u, p.ld_u);
      B.load_full(tile.BC[0], p.ld_B);
      C.load_full(tile.BC[1], p.ld_C);
      z.load_full(tile.z, p.ld_z);
    } else if (count > 0) {
      dt.load_part(tile.dt, p.ld_dt, p.dt, p.vectors, count, width);
      u.load_part(tile.u, p.ld_u, p.u, p.vectors, count, width);
      B.load_part(tile.BC[0], p.ld_B, p.B, p.vectors, count, int(p.n));
      C.load_part(tile.BC[1], p.ld_C, p.C, p.vectors, count, int(p.n));
      if (p.z) z.load_part(tile.z, p.ld_z, p.z, p.vectors, count, width);
    }
    copies_commit();
  }

  /// Four steps of WIDTH neighboring columns.
  template <int COLUMNS, int WIDTH>
  __device__ __forceinline__ void read_block(const Raw* tile, const int2& from, float (&to)[4][WIDTH]) const {
    struct alignas(sizeof(Raw) * WIDTH) Pack {
      Raw at[WIDTH];
    };
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const Pack pack = *reinterpret_cast<const Pack*>(tile + S::template at<COLUMNS>(from.x, from.y) + j * COLUMNS);
      unpack<Io>(pack.at, to[j]);
    }
  }
  static __device__ __forceinline__ void write_steps(float* to, float a, float b, float c, float d) {
    *reinterpret_cast<float4*>(to) = make_float4(a, b, c, d);
  }

  /// d = softplus(dt + bias) log2(e) and x = d u. Steps past the end get d = 0: they leave the state alone. FULL: there are none, and Δ is a
  /// softplus.
  template <bool FULL>
  __device__ __forceinline__ void prepare_channels(const typename S::Tile& tile, typename S::Prepared& to, int count) const {
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
      const int2 from = block<WIDE>(warp + r * S::HELPERS);
      float raw[4][WIDE], u[4][WIDE];
      read_block<CHANNELS>(tile.dt, from, raw);
      read_block<CHANNELS>(tile.u, from, u);
#pragma unroll
      for (int c = 0; c < WIDE; ++c) {
        float d[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float s = fmaf(raw[j][c], LOG2E, bias[r][c]);
          d[j] = FULL || p.softplus ? softplus2<Io>(s) : s;
          if (!FULL) d[j] = from.x + j < count ? d[j] : 0.0f;
        }
        write_steps(&to.d[from.y + c][from.x], d[0], d[1], d[2], d[3]);
        write_steps(&to.x[from.y + c][from.x], d[0] * u[0][c], d[1] * u[1][c], d[2] * u[2][c], d[3] * u[3][c]);
      }
    }
  }
  __device__ __forceinline__ void prepare(int k, int stage) const {
    const typename S::Tile& tile = shared.tile[stage];
    typename S::Prepared& to = shared.prepared[k & 1];
    const int count = left(k);
    if (count == STEPS && p.softplus) {
      prepare_channels<true>(tile, to, count);
    } else {
      prepare_channels<false>(tile, to, count);
    }
    // B brings the ln 2 back that is missing in x.
#pragma unroll
    for (int r = 0; r < (2 * BC_TASKS + S::HELPERS - 1) / S::HELPERS; ++r) {
      const int task = warp + r * S::HELPERS, is_C = task >= BC_TASKS;
      if (2 * BC_TASKS % S::HELPERS && task >= 2 * BC_TASKS) break;
      const int2 from = block<2>(task - is_C * BC_TASKS);
      const float scale = is_C ? 1.0f : LN2;
      float v[4][2];
      read_block<N>(tile.BC[is_C], from, v);
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        write_steps(&to.BC[is_C][from.y + n][from.x], v[0][n] * scale, v[1][n] * scale, v[2][n] * scale, v[3][n] * scale);
      }
    }
    barrier_arrive(PREPARED + (k & 1), S::THREADS);
  }

  /// y of type Y from the sums that the walkers left.
  template <u32 Y>
  __device__ __forceinline__ void finish(const typename S::Tile& tile, const typename S::Prepared& in, int count) const {
#pragma unroll
    for (int r = 0; r < ROUNDS; ++r) {
      const int2 from = block<WIDE>(warp + r * S::HELPERS);
      float u[4][WIDE], z[4][WIDE], sums[WIDE][4];
      read_block<CHANNELS>(tile.u, from, u);
      if (Y != ANY || p.z) read_block<CHANNELS>(tile.z, from, z);
#pragma unroll
      for (int c = 0; c < WIDE; ++c) read_floats(&in.x[from.y + c][from.x], sums[c]);
      i64 index = out + from.x * p.e + from.y;
#pragma unroll
      for (int j = 0; j < 4; ++j, index += p.e) {
        float y[WIDE];
#pragma unroll
        for (int c = 0; c < WIDE; ++c) {
          const float sum = fmaf(skip[r][c], u[j][c], sums[c][j]);
          y[c] = Y != ANY || p.z ? sum * silu<Io>(z[j][c]) : sum;
          if (Y == ANY && from.x + j < count && from.y + c < width) store_stored<1>(p.y, index + c, p.y_type, {{y[c]}});
        }
        if constexpr (Y == F32) {
          store_floats(static_cast<float*>(p.y) + index, y);
        } else if constexpr (Y != ANY) {
          store_halves<Y>(static_cast<u16*>(p.y) + index, y);
        }
      }
    }
  }
  static __device__ __forceinline__ void store_floats(float* to, const float (&y)[WIDE]) {
    if constexpr (WIDE == 4) {
      *reinterpret_cast<float4*>(to) = make_float4(y[0], y[1], y[2], y[3]);
    } else {
      for (int c = 0; c < WIDE; ++c) to[c] = y[c];
    }
  }
  template <u32 Y>
  static __device__ __forceinline__ void store_halves(u16* to, const float (&y)[WIDE]) {
    const auto pair = [&](int c) { return Y == BF16 ? narrow2_bf16(y[c], y[c + 1]) : narrow2_f16(y[c], y[c + 1]); };
    if constexpr (WIDE == 4) {
      *reinterpret_cast<uint2*>(to) = make_uint2(pair(0), pair(2));
    } else if constexpr (WIDE == 2) {
      *reinterpret_cast<u32*>(to) = pair(0);
    } else {
      *to = Y == BF16 ? narrow_bf16(y[0]) : narrow_f16(y[0]);
    }
  }
  __device__ __forceinline__ void finish(int k, int stage) {
    const typename S::Tile& tile = shared.tile[stage];
    const typename S::Prepared& in = shared.prepared[k & 1];
    const int count = left(k);
    // What is usual: y in the inputs' type, or in bf16 where f32 ones are about to be rounded.
    const bool full = p.vectors && p.z && count == STEPS && width == CHANNELS;
    if (full && p.y_type == Io::TYPE) {
      finish<Io::TYPE>(tile, in, count);
    } else if (Io::TYPE == F32 && full && p.y_type == BF16) {
      finish<BF16>(tile, in, count);
    } else {
      finish<ANY>(tile, in, count);
    }
    out += STEPS * p.e;
  }

  __device__ __forceinline__ void run() {
    const int tiles = int((valid + STEPS - 1) / STEPS);
    // Tile k + 2 is prepared when k is finished; with three stages its copy began a tile before, with two it can begin only now.
    int stage = STAGES - 2, ahead = 0;
    if (STAGES == 3) load(0, 0);
    for (int k = -2; k < tiles; ++k) {
      if (k >= 0) {
        barrier_sync(WALKED + (k & 1), S::THREADS);
        finish(k, stage);
      }
      if (STAGES == 3) copies_wait<0>();
      barrier_sync(AMONG_HELPERS, HELPING);
      load(k + STAGES, stage);
      if (STAGES == 2) {
        copies_wait<0>();
        barrier_sync(AMONG_HELPERS, HELPING);
      }
      if (k + 2 < tiles) prepare(k + 2, ahead);
      stage = stage + 1 == STAGES ? 0 : stage + 1;
      ahead = ahead + 1 == STAGES ? 0 : ahead + 1;
    }
    copies_wait<0>();
  }
};

}  // namespace
