//! `probe THREADS` prints the machine's limits as one JSON line: `{"isa", "threads", "fmaGflops", "bf16Gflops", "readGBs"}`; `bf16Gflops` is
//! null where no instruction multiplies bf16.

use statespace_bench_kernels::{bf16_gflops, fma_gflops, read_gbs};
use statespace_simd::Level;

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let level = Level::best();
    let fma = median(|| Some(fma_gflops(level, threads))).unwrap_or(0.0);
    let bf16 = median(|| bf16_gflops(level, threads)).map_or("null".to_owned(), |bf16| format!("{bf16:.1}"));
    let (isa, read) = (level.name(), read_gbs(level, threads));
    println!(r#"{{"isa":"{isa}","threads":{threads},"fmaGflops":{fma:.1},"bf16Gflops":{bf16},"readGBs":{read:.2}}}"#);
}

fn median(measure: impl Fn() -> Option<f64>) -> Option<f64> {
    let mut all: Vec<f64> = (0..5).filter_map(|_| measure()).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}
