//! The dear ops at the shapes of a 130M model, per instruction set, one thread. Criterion prints bytes and elements a second: for `linear`
//! an element is a flop, for `scan` a state update, for `conv1d_silu` an output; `probe` prints the machine's limits to hold them against.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use statespace_ops::conv1d_silu::Conv1dSilu;
use statespace_ops::linear::Linear;
use statespace_ops::scan::{self, Scan};
use statespace_ops::{Input, Mat, Rows, Stored, StoredInput, StoredOut};
use statespace_plan::DType;
use statespace_plan::ops::Compute;
use statespace_simd::{Level, SharedOut};

/// Reproducible values in [low, high).
fn values(count: usize, low: f32, high: f32) -> Vec<f32> {
    let mut x = 0x2545_f491_u32;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x as f32 / u32::MAX as f32
    };
    (0..count).map(|_| low + (high - low) * next()).collect()
}

fn bf16(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect()
}

fn linear(c: &mut Criterion) {
    products(c.benchmark_group("linear bf16"), Compute::F32);
    products(c.benchmark_group("linear bf16, rounded x"), Compute::Bf16);
}

fn products(mut group: BenchmarkGroup<WallTime>, compute: Compute) {
    for (rows, m, k) in [(1, 3072, 768), (1, 50280, 768), (512, 3072, 768), (512, 768, 1536), (512, 80, 1536), (16, 3072, 768)] {
        let x = values(rows * k, -1.0, 1.0);
        let weight = bf16(&values(m * k, -0.05, 0.05));
        let mut y = vec![0.0; rows * m];
        let mut scratch = vec![0.0; Linear::scratch_floats(rows, k, compute)];
        let weight = Stored::new(DType::Bf16, &weight).expect("a weight's dtype");
        let op = Linear { rows: Rows::dense(1, rows), k, m, compute, x: Mat { data: &x, ld: k }, weight, bias: None, residual: None };
        let bytes = (2 * m * k + 4 * rows * (m + k)) as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: (2 * rows * m * k) as u64, bytes });
        for level in Level::available() {
            group.bench_function(format!("{rows}x{m}x{k}/{}", level.name()), |b| {
                b.iter(|| op.run(level, 0, 1, SharedOut::new(&mut y), &mut scratch));
            });
        }
    }
}

fn selective_scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    let (e, n) = (1536, 16);
    for l in [1, 512] {
        let (u, dt, z) = (values(l * e, -1.0, 1.0), values(l * e, -4.0, 1.0), values(l * e, -1.0, 1.0));
        let (b, c) = (values(l * n, -1.0, 1.0), values(l * n, -1.0, 1.0));
        let (a, d) = (values(n * e, -16.0, -0.5), values(e, 0.0, 1.0));
        let (mut state, mut y) = (vec![0.0; n * e], vec![0.0; l * e]);
        let mut scratch = vec![0.0; scan::scratch(n)];
        let rows = |data, ld| StoredInput::F32(Input::Apart(Mat { data, ld }));
        let op = Scan {
            rows: Rows::dense(1, l),
            e,
            n,
            groups: 1,
            softplus: true,
            u: rows(&u, e),
            dt: rows(&dt, e),
            a: &a,
            b: rows(&b, n),
            c: rows(&c, n),
            d: Some(&d),
            z: Some(rows(&z, e)),
            dt_bias: None,
        };
        let bytes = (4 * l * (4 * e + 2 * n) + 12 * n * e) as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: (l * e * n) as u64, bytes });
        for level in Level::available() {
            group.bench_function(format!("{l}x{e}x{n}/{}", level.name()), |b| {
                b.iter(|| op.run(level, 0, 1, SharedOut::new(&mut state), StoredOut::F32(SharedOut::new(&mut y)), &mut scratch));
            });
        }
    }
}

fn conv1d_silu(c: &mut Criterion) {
    let (e, w) = (1536, 4);
    let mut group = c.benchmark_group("conv1d_silu");
    for l in [1, 512] {
        let x = values(l * e, -1.0, 1.0);
        let (weight, bias) = (values(w * e, -0.5, 0.5), values(e, -0.5, 0.5));
        let (mut state, mut y) = (vec![0.0; (w - 1) * e], vec![0.0; l * e]);
        let op = Conv1dSilu { rows: Rows::dense(1, l), e, w, x: Mat { data: &x, ld: e }, weight: &weight, bias: Some(&bias) };
        group.throughput(Throughput::Elements((l * e) as u64));
        for level in Level::available() {
            group.bench_function(format!("{l}x{e}x{w}/{}", level.name()), |b| {
                b.iter(|| op.run(level, 0, 1, SharedOut::new(&mut state), SharedOut::new(&mut y)));
            });
        }
    }
}

criterion_group!(ops, linear, selective_scan, conv1d_silu);
criterion_main!(ops);
