//! Operands in memory as a device has them: at addresses of a wanted alignment, with guards around them.

use statespace_ops::cases::Data;

/// Bytes before and behind an operand that nobody may touch.
const GUARD: usize = 256;
/// What they are around an input: NaN as floats, out of range as ids.
const AROUND_INPUT: u8 = 0xFF;
/// What they are around an output, other than a kernel would make of what it reads where nothing is.
const AROUND_OUTPUT: u8 = 0xFD;

/// An operand.
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
    guard: u8,
}

impl Buffer {
    /// An input, or memory of the executor: `bytes` at `shift` bytes behind a multiple of 256.
    pub fn input(bytes: &[u8], shift: usize) -> Self {
        Self::new(bytes, shift, AROUND_INPUT)
    }

    /// The same of an output.
    pub fn output(bytes: &[u8], shift: usize) -> Self {
        Self::new(bytes, shift, AROUND_OUTPUT)
    }

    fn new(bytes: &[u8], shift: usize, guard: u8) -> Self {
        let mut memory = vec![guard; bytes.len() + shift + 3 * GUARD];
        let start = memory.as_ptr().align_offset(GUARD) + GUARD + shift;
        memory[start..start + bytes.len()].copy_from_slice(bytes);
        Self { memory, start, len: bytes.len(), guard }
    }

    /// Where the operand begins.
    pub fn address(&mut self) -> u64 {
        self.memory.as_mut_ptr() as u64 + self.start as u64
    }

    /// What is there now.
    pub fn bytes(&self) -> &[u8] {
        std::hint::black_box(&self.memory[self.start..self.start + self.len])
    }

    /// Whether nothing beside the operand was written.
    pub fn is_guarded(&self) -> bool {
        let (before, after) = (&self.memory[..self.start], &self.memory[self.start + self.len..]);
        [before, after].into_iter().flatten().all(|byte| *byte == self.guard)
    }
}

/// Bytes as elements of a dtype.
pub fn data(dtype: &str, bytes: &[u8]) -> Data {
    let fours = || bytes.chunks_exact(4).map(|at| u32::from_le_bytes([at[0], at[1], at[2], at[3]]));
    let twos = || bytes.chunks_exact(2).map(|at| u16::from_le_bytes([at[0], at[1]])).collect();
    match dtype {
        "f32" => Data::F32(fours().map(f32::from_bits).collect()),
        "i32" => Data::I32(fours().map(|x| x as i32).collect()),
        "u32" => Data::U32(fours().collect()),
        "bf16" => Data::Bf16(twos()),
        "f16" => Data::F16(twos()),
        "u8" => Data::U8(bytes.to_vec()),
        other => panic!("what is {other}?"),
    }
}
