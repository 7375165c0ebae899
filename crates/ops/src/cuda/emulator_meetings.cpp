// Barriers in shared memory that count arrivals and bytes, and the copies of rows that arrive at them.
#include "emulator.h"

namespace emulator {
namespace {

/// A meeting's 64 bits.
struct Meeting {
  /// Phases that are complete.
  unsigned generation;
  unsigned expected : 6, pending : 6, waited : 1;
  /// Told of, less those that are here: below 0 where they come first.
  int bytes : 19;
};
static_assert(sizeof(Meeting) == sizeof(unsigned long long), "as on a GPU");
constexpr int BYTES = (1 << 18) - 1;

struct Row {
  void* to;
  const void* from;
  unsigned bytes;
  Meeting* at;
};
constexpr int ROWS = 4096;
Row rows[ROWS];
int count = 0;

Meeting& meeting(unsigned long long* at) {
  if (uintptr_t(at) % 8) fail("a meeting at %p", static_cast<void*>(at));
  return *reinterpret_cast<Meeting*>(at);
}

void complete(Meeting& at) {
  if (at.pending > 0 || at.bytes != 0) return;
  ++at.generation;
  at.pending = at.expected, at.waited = 0;
}

void deliver(Meeting& at, bool arrives = true) {
  int kept = 0;
  for (int i = 0; i < count; ++i) {
    const Row row = rows[i];
    if (row.at != &at) {
      rows[kept++] = row;
    } else if (arrives) {
      memcpy(row.to, row.from, row.bytes);
      at.bytes -= int(row.bytes);
    }
  }
  count = kept;
  if (arrives) complete(at);
}

}  // namespace

void meeting_open(unsigned long long* at, unsigned arrivals) {
  if (arrivals == 0 || arrivals > 63) fail("a meeting of %u", arrivals);
  // What a launch that failed has left.
  deliver(meeting(at), false);
  meeting(at) = {0, arrivals, arrivals, 0, 0};
}

void meeting_arrive(unsigned long long* to, unsigned bytes) {
  Meeting& at = meeting(to);
  if (at.pending == 0) fail("more arrive at a meeting than it was opened for");
  if (bytes > unsigned(BYTES - at.bytes)) fail("%u more bytes at a meeting, which holds %d at most", bytes, BYTES);
  at.bytes += int(bytes), --at.pending;
  complete(at);
}

void meeting_wait(unsigned long long* for_it, unsigned parity) {
  Meeting& at = meeting(for_it);
  while (at.generation % 2 == parity) {
    at.waited = 1;
    deliver(at);
    if (at.generation % 2 == parity) wait_while(&at.generation, at.generation, "a meeting");
  }
}

void copy_row(void* to, const void* from, unsigned bytes, unsigned long long* at) {
  if (uintptr_t(to) % 16 || uintptr_t(from) % 16 || bytes % 16) fail("copy_row of %u bytes from %p to %p", bytes, from, to);
  if (count == ROWS) fail("more than %d rows under way", ROWS);
  // Until somebody waits for them, nothing good lies there.
  memset(to, 0xFF, bytes);
  rows[count++] = {to, from, bytes, &meeting(at)};
  if (meeting(at).waited) deliver(meeting(at));
}

}  // namespace emulator
