//! The kernels of `tried.cu`: blocks that wait for each other, and instructions by themselves.

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};
use statespace_ops::cases::Data;
use statespace_ops::cuda::{Launch, Params, Step};

use super::memory::{Buffer, data};
use super::run;

fn launch<T: Pod>(kernel: &'static str, blocks: u32, threads: u32, together: bool, params: T) -> Step {
    let params = Params::new(params);
    Step::Launch(Launch { module: "tried", kernel, grid: [blocks, 1, 1], block: [threads, 1, 1], shared: 0, together, params })
}

fn floats(buffer: &Buffer) -> Vec<f32> {
    let Data::F32(values) = data("f32", buffer.bytes()) else { unreachable!("data gives what it is asked for") };
    values
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct TalkParams {
    words: u64,
    heard: u64,
    rounds: u32,
    pause: u32,
}

/// Values go both ways, whoever speaks first, however often and however long it takes, and each block has shared memory of its own.
pub fn blocks_talk() {
    for (threads, rounds, pause) in [(64, 1, 0), (32, 1000, 0), (512, 3, 0), (64, 2, 1000)] {
        for descending in [false, true] {
            let mut words = Buffer::output(&vec![0; 2 * threads as usize * 8], 0);
            let mut heard = Buffer::output(&vec![0xFF; 2 * threads as usize * 4], 0);
            let params = TalkParams { words: words.address(), heard: heard.address(), rounds, pause };
            run(&[launch("tried_talk", 2, threads, true, params)], descending).expect("they find each other");
            assert!(words.is_guarded() && heard.is_guarded());
            let said = |thread: u32| (1..=rounds).map(|round| thread + round).sum::<u32>();
            let wanted: Vec<f32> = (0..2 * threads)
                .map(|me| (me + threads) % (2 * threads) / 2 * 2)
                .map(|pair| (said(pair) + said(pair + 1)) as f32)
                .collect();
            assert_eq!(floats(&heard), wanted, "{threads} threads, {rounds} rounds");
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct WaitParams {
    word: u64,
    way: u32,
    padding: u32,
}

/// A wait in vain ends with a message, however the block goes about it; so does one block after the other where they need each other; so do more
/// blocks or threads than are there at once. What comes next runs.
pub fn blocks_wait_in_vain() {
    let mut word = Buffer::input(&[0; 16], 0);
    for (way, wanted) in
        ["blocks that never come", "blocks that never come", "blocks that never come", "__syncthreads for threads that never come"]
            .into_iter()
            .enumerate()
    {
        for descending in [false, true] {
            let params = WaitParams { word: word.address(), way: way as u32, padding: 0 };
            let refused = run(&[launch("tried_wait", 2, 64, true, params)], descending).expect_err("nobody speaks");
            assert!(refused.contains("block (0, 0, 0)") && refused.contains(wanted), "{refused}");
        }
    }
    let (mut words, mut heard) = (Buffer::output(&[0; 1024], 0), Buffer::output(&[0; 512], 0));
    let params = TalkParams { words: words.address(), heard: heard.address(), rounds: 1, pause: 0 };
    let refused = run(&[launch("tried_talk", 2, 64, false, params)], false).expect_err("one block is there at a time");
    assert!(refused.contains("blocks that never come"), "{refused}");
    for (blocks, threads) in [(9, 64), (2, 544)] {
        let refused = run(&[launch("tried_talk", blocks, threads, true, params)], false).expect_err("so many are not there at once");
        assert!(refused.contains(&format!("{blocks} blocks of {threads} threads together")), "{refused}");
    }
    words = Buffer::output(&[0; 1024], 0);
    run(&[launch("tried_talk", 2, 64, true, TalkParams { words: words.address(), ..params })], false).expect("nothing is left of it");
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MmaParams {
    a: u64,
    b: u64,
    sum: u64,
    half: u32,
    padding: u32,
}

/// Against plain loops. Rows, columns and depths that end early are zeros, as at the rim of a matrix.
pub fn mma_is_a_product() {
    for (rows, columns, depth) in [(16, 8, 16), (13, 5, 9), (1, 1, 1)] {
        for half in [false, true] {
            let value = |i: usize, j: usize, rim: [usize; 2], seed: usize| match i < rim[0] && j < rim[1] {
                true => ((i * 37 + j * 101 + seed) % 211) as f32 / 64.0 - 1.6,
                false => 0.0,
            };
            let bits = |x: f32| if half { f16::from_f32(x).to_bits() } else { bf16::from_f32(x).to_bits() };
            let widen = |x: u16| if half { f16::from_bits(x).to_f32() } else { bf16::from_bits(x).to_f32() };
            let matrix = |rim: [usize; 2], count: usize, seed| -> Vec<u16> {
                (0..count * 16).map(|i| bits(value(i / 16, i % 16, rim, seed))).collect()
            };
            let (a, b) = (matrix([rows, depth], 16, 0), matrix([columns, depth], 8, 5));
            let before: Vec<f32> = (0..128).map(|i| i as f32 / 8.0).collect();
            let mut sum = Buffer::output(bytemuck::cast_slice(&before), 0);
            let (mut a_there, mut b_there) = (Buffer::input(bytemuck::cast_slice(&a), 0), Buffer::input(bytemuck::cast_slice(&b), 0));
            let params = MmaParams { a: a_there.address(), b: b_there.address(), sum: sum.address(), half: half.into(), padding: 0 };
            run(&[launch("tried_mma", 1, 32, false, params)], false).expect("a product");
            let product = |i: usize| (0..16).fold(before[i], |sum, k| sum + widen(a[i / 8 * 16 + k]) * widen(b[i % 8 * 16 + k]));
            assert_eq!(floats(&sum), (0..128).map(product).collect::<Vec<_>>(), "{rows} x {columns} x {depth}");
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct CopyParams {
    from: u64,
    to: u64,
}

/// Eight bytes come over at a multiple of eight, and at no other address.
pub fn copy8_copies() {
    let bytes: Vec<u8> = (0..=255).collect();
    for (shift, there) in [(8, true), (2, false)] {
        let (mut from, mut to) = (Buffer::input(&bytes, shift), Buffer::output(&[0; 256], 0));
        let ran = run(&[launch("tried_copy8", 1, 32, false, CopyParams { from: from.address(), to: to.address() })], false);
        assert_eq!(ran.is_ok(), there, "{ran:?}");
        assert_eq!(to.bytes() == bytes, there);
        assert!(there || ran.is_err_and(|refused| refused.contains("copy8 from")));
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct RingParams {
    rows: u64,
    sums: u64,
    count: u32,
    way: u32,
}

/// Rows come through a ring, however often it comes round, and nobody sees them before they are there; wrong uses end with a message.
pub fn rows_come_through_a_ring() {
    let rows: Vec<f32> = (0..20 * 32).map(|i| (i * 7 % 33) as f32).collect();
    let mut there = Buffer::input(bytemuck::cast_slice(&rows), 0);
    let wrong =
        [(3, 1, "more arrive"), (3, 2, "a meeting for threads that never come"), (3, 3, "copy_row of"), (3, 4, "more bytes at a meeting")];
    for (count, way, wanted) in [(20, 0, ""), (1, 0, "")].into_iter().chain(wrong) {
        for descending in [false, true] {
            let mut sums = Buffer::output(&[0; 128], 0);
            let params = RingParams { rows: there.address(), sums: sums.address(), count, way };
            let ran = run(&[launch("tried_ring", 1, 64, false, params)], descending);
            if way > 0 {
                let refused = ran.expect_err("a wrong use");
                assert!(refused.contains(wanted), "{refused}");
                continue;
            }
            ran.expect("rows come");
            let sum = |lane: usize| (0..count as usize).map(|i| rows[i * 32 + lane] * (i + 1) as f32).sum::<f32>();
            assert_eq!(floats(&sums), (0..32).map(sum).collect::<Vec<_>>());
        }
    }
}
