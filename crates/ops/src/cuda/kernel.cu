struct TickParams {
  u32* step;
};

/// The next step of a run.
KERNEL(tick, TickParams) { *p.step += 1; }
