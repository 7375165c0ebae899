//! Parts as phases: whose words a phase reads, where they lie, and what each block takes of it.

use bytemuck::{Zeroable, cast_slice};

use super::read::{Read, past, reads};
use super::{Conv, Kind, Part, TokenParams, TokenPhase, TokenProduct, Vector};
use crate::cuda::{Device, Launch, Params, Step};

/// As in `phases.cuh`.
const THREADS: usize = 256;
const TILE: usize = 16;
const PAD: usize = 64;
const SCAN: u32 = 1;
const MOST_PRODUCTS: usize = 256;
const MOST_STAGES: usize = 32;
/// Bytes of `Shared`.
const SHARED: usize = 30_912;
/// Channels of a block: two rounds.
const MOST_CHANNELS: usize = 2 * THREADS / 16;
/// Columns of W in a chunk of sixteen rows; the most first, since each row of a chunk is a copy of its own.
const BASES: [usize; 3] = [768, 512, 256];
/// Chunks on their way to a block, at most: about 40 kB. All that the ring holds would queue before the words that blocks wait for.
const FLIGHT: usize = 2;
/// GPUs of this major compute capability have machine code for it, and were seen to gain.
const MEASURED: u32 = 9;
/// Bytes before the words, which begin at multiples of it: of the count of blocks that have ended.
const HEAD: usize = 256;

/// Parts in one launch. Its memory is zeros when it is placed, and nobody else's.
#[derive(Debug)]
pub struct Chain {
    /// With offsets in its memory where there are to be addresses there.
    phases: Vec<TokenPhase>,
    products: Vec<TokenProduct>,
    /// Bytes of its memory up to the tables.
    bytes: usize,
    lens: u64,
    blocks: usize,
    base: usize,
    stages: usize,
}

/// Words of a part, by their offset in memory; behind part `until` they are given again.
struct Region {
    start: usize,
    words: usize,
    until: usize,
}

impl Chain {
    /// A chain of parts that follow each other in a plan; those of `kept` are read outside of it, too. None where a part does not read what the one
    /// before it makes, or the parts are not for this device.
    pub fn new(parts: &[Part], kept: &[bool], device: &Device) -> Option<Chain> {
        let scans = || parts.iter().filter(|part| part.is_scan());
        let channels = scans().next()?.m;
        // Every block has channels, so that who has a scan's output knows that all blocks are past what is before it.
        let share = channels.div_ceil(device.multiprocessors as usize).next_multiple_of(2);
        let products = || parts.iter().filter(|part| !part.is_scan());
        let room = (device.shared_per_block_optin as usize).checked_sub(SHARED)?;
        let stages = |base: usize| (room / stage(base)).min(MOST_STAGES);
        let fits = |base: &usize| products().all(|part| part.k.is_multiple_of(*base)) && stages(*base) > FLIGHT;
        let base = BASES.into_iter().find(fits)?;
        let alike = parts.iter().all(|part| part.lens == parts[0].lens) && scans().all(|part| part.m == channels);
        if device.capability.0 != MEASURED || share > MOST_CHANNELS || !alike {
            return None;
        }
        let reads = reads(parts, kept)?;
        let blocks = channels.div_ceil(share);
        let mut chain =
            Chain { phases: Vec::new(), products: Vec::new(), bytes: HEAD, lens: parts[0].lens, blocks, base, stages: stages(base) };
        let words = chain.words(parts, &reads);
        // By part, from 1 as flags count.
        let mut numbers: Vec<u64> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let vector = |read: Option<Read>, address: u64| match read {
                Some(read) => {
                    Vector { at: words[read.part][usize::from(read.narrow)] + 8 * read.first as u64, flagged: numbers[read.part] }
                }
                None => Vector { at: address, flagged: 0 },
            };
            let [x, residual, u, b, c] = reads[at];
            let phase = TokenPhase {
                x: vector(x, part.x),
                residual: vector(residual, part.residual),
                flags: words[at][0],
                pairs: words[at][1],
                weight: part.weight,
                bias: part.bias,
                y: if kept[at] { part.y } else { 0 },
                state: part.state,
                k: part.k as u32,
                m: part.m as u32,
                per_k: 1.0 / part.k as f32,
                ..TokenPhase::zeroed()
            };
            match part.kind {
                Kind::Scan { u: taken, b: b_taken, c: c_taken, a, d, dt_bias, softplus } => chain.phases.push(TokenPhase {
                    u: vector(u, taken),
                    b_matrix: vector(b, b_taken),
                    c_matrix: vector(c, c_taken),
                    a,
                    d,
                    dt_bias,
                    kind: SCAN,
                    softplus: softplus.into(),
                    rows: chain.rows(part.m) as u32,
                    ..phase
                }),
                Kind::Product { norm, conv } => {
                    let phase = norm.map_or(phase, |norm| TokenPhase { norm: norm.weight, normed: 1, eps: norm.eps, ..phase });
                    let phase = conv.map_or(phase, |Conv { first, channels, taps, bias, .. }| {
                        let (first, channels) = (first as u32, channels as u32);
                        TokenPhase { taps, conv_bias: bias, first, channels, ..phase }
                    });
                    // In phases of as many rows as blocks have threads; what is read by row is in one.
                    let whole = words[at] != [0; 2] || conv.is_some() || part.residual != 0 || part.bias != 0;
                    if whole && chain.rows(part.m) > THREADS {
                        return None;
                    }
                    chain.push(phase);
                }
            }
            numbers.push(chain.phases.len() as u64);
        }
        (chain.products.len() <= MOST_PRODUCTS).then_some(chain)
    }

    /// Rows of a block.
    fn rows(&self, m: usize) -> usize {
        m.div_ceil(self.blocks).next_multiple_of(2)
    }

    fn push(&mut self, phase: TokenPhase) {
        let (m, k, most) = (phase.m as usize, phase.k as usize, self.blocks * THREADS);
        for start in (0..m).step_by(most) {
            let count = (m - start).min(most);
            let rows = self.rows(count);
            // Of few rows, tiles are lower and wider.
            let chunks = |halvings: u32| k / (self.base << halvings);
            let fits = |halvings: &u32| k.is_multiple_of(self.base << halvings);
            let halvings = (0..4).filter(fits).min_by_key(|h| rows.div_ceil(TILE >> h) * chunks(*h)).expect("the base divides k");
            let weight = phase.weight + (start * k * 2) as u64;
            let y = if phase.y == 0 { 0 } else { phase.y + (start * 4) as u64 };
            self.products.push(TokenProduct {
                weight,
                m: count as u32,
                rows: rows as u16,
                chunks: chunks(halvings) as u8,
                halvings: halvings as u8,
            });
            self.phases.push(TokenPhase { weight, y, m: count as u32, rows: rows as u32, halvings, ..phase });
        }
    }

    /// Offsets of each part's words, of values and of pairs; 0 where nobody reads them. They are given again when all blocks are past them, so that
    /// they are few and stay in the nearest cache.
    fn words(&mut self, parts: &[Part], reads: &[[Option<Read>; 5]]) -> Vec<[u64; 2]> {
        let mut regions: Vec<Region> = Vec::new();
        let mut give = |at: usize, narrow: bool| {
            let is_read = |read: &Read| read.part == at && read.narrow == narrow;
            let Some(last) = (at + 1..parts.len()).rev().find(|i| reads[*i].iter().flatten().any(is_read)) else { return 0 };
            let until = past(parts, last);
            let words = if narrow { parts[at].m / 2 } else { parts[at].m };
            if let Some(region) = regions.iter_mut().find(|region| region.until < at && region.words == words) {
                region.until = until;
                return region.start as u64;
            }
            regions.push(Region { start: self.bytes, words, until });
            self.bytes += (8 * words).next_multiple_of(HEAD);
            regions[regions.len() - 1].start as u64
        };
        (0..parts.len()).map(|at| [give(at, false), give(at, true)]).collect()
    }

    /// Bytes of the memory that it needs.
    pub fn bytes(&self) -> usize {
        self.bytes + size_of_val(&self.phases[..]) + size_of_val(&self.products[..])
    }

    /// The launch for memory at `address`, a multiple of 256; and the bytes that are to be there before, from an offset on.
    pub fn place(&self, address: u64) -> (Step, usize, Vec<u8>) {
        let here = |offset: u64| if offset > 0 { address + offset } else { 0 };
        let vector = |vector: Vector| if vector.flagged > 0 { Vector { at: here(vector.at), ..vector } } else { vector };
        let phase = |phase: &TokenPhase| TokenPhase {
            x: vector(phase.x),
            residual: vector(phase.residual),
            u: vector(phase.u),
            b_matrix: vector(phase.b_matrix),
            c_matrix: vector(phase.c_matrix),
            flags: here(phase.flags),
            pairs: here(phase.pairs),
            ..*phase
        };
        let phases: Vec<TokenPhase> = self.phases.iter().map(phase).collect();
        let params = TokenParams {
            phases: here(self.bytes as u64),
            products: here((self.bytes + size_of_val(&phases[..])) as u64),
            done: address,
            lens: self.lens,
            count: phases.len() as u32,
            product_count: self.products.len() as u32,
            base: self.base as u32,
            stages: self.stages as u32,
            flight: FLIGHT as u32,
            unused: 0,
        };
        let step = Step::Launch(Launch {
            module: "token",
            kernel: "token_layers",
            grid: [self.blocks as u32, 1, 1],
            block: [(THREADS + 32) as u32, 1, 1],
            shared: (SHARED + self.stages * stage(self.base)) as u32,
            together: true,
            params: Params::new(params),
        });
        (step, self.bytes, [cast_slice::<_, u8>(&phases), cast_slice(&self.products)].concat())
    }
}

/// Bytes of a chunk.
fn stage(base: usize) -> usize {
    TILE * (base * 2 + PAD)
}
