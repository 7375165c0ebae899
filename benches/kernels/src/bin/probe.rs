//! `probe THREADS` prints the machine's limits as one JSON line: `{"isa", "threads", "fmaGflops", "readGBs"}`.

use statespace_bench_kernels::{fma_gflops, read_gbs};
use statespace_simd::Level;

fn main() {
    let threads = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let level = Level::best();
    let mut fma: Vec<f64> = (0..5).map(|_| fma_gflops(level, threads)).collect();
    fma.sort_by(f64::total_cmp);
    println!(r#"{{"isa":"{}","threads":{threads},"fmaGflops":{:.1},"readGBs":{:.2}}}"#, level.name(), fma[2], read_gbs(level, threads));
}
