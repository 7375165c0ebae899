//! Against the reference: the table's cases, and shapes around the edges of blocks; every instruction set, 1, 2 and 7 parts.

use proptest::prelude::*;
use statespace_plan::DType;
use statespace_plan::ops::Compute;
use statespace_simd::{Bf16Pair, F32Pair, Isa, Kernel, Level, SharedOut};

use super::{Linear, Part, Reference, reference};
use crate::cases::{cases_of, nmse};
use crate::{Input, Mat, Rows, Stored};

/// What outputs hold before a run; rows that are not valid keep it.
const SENTINEL: f32 = -12345.0;

struct Fixture {
    b: usize,
    l: usize,
    lens: Option<Vec<i32>>,
    k: usize,
    m: usize,
    compute: Compute,
    x: Vec<f32>,
    ld: usize,
    dtype: DType,
    /// Preceded by one byte, so that no weight is aligned.
    weight: Vec<u8>,
    bias: Option<Vec<f32>>,
    residual: Option<Vec<f32>>,
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

impl Fixture {
    fn rows(&self) -> Rows<'_> {
        Rows { b: self.b, l: self.l, lens: self.lens.as_deref() }
    }

    fn stored(&self) -> Stored<'_> {
        Stored::new(self.dtype, &self.weight[1..]).expect("a float")
    }

    fn expected(&self) -> Vec<f64> {
        let mut y = vec![f64::from(SENTINEL); self.b * self.l * self.m];
        let (x, weight) = (wide(&self.x), self.stored().widened());
        let (bias, residual) = (self.bias.as_deref().map(wide), self.residual.as_deref().map(wide));
        let op = Reference {
            rows: self.rows(),
            k: self.k,
            m: self.m,
            compute: self.compute,
            x: Mat { data: &x, ld: self.ld },
            weight: &weight,
            dtype: self.dtype,
            bias: bias.as_deref(),
            residual: residual.as_deref(),
        };
        reference(&op, &mut y);
        y
    }

    fn run(&self, level: Level, parts: usize, in_place: bool) -> Vec<f32> {
        self.run_by(parts, in_place, |op, part, y, scratch| op.run(level, part, parts, y, scratch))
    }

    fn run_by(&self, parts: usize, in_place: bool, run: impl Fn(&Linear, usize, SharedOut, &mut [f32])) -> Vec<f32> {
        let mut y = vec![SENTINEL; self.b * self.l * self.m];
        if let (Some(residual), true) = (&self.residual, in_place) {
            self.rows().iter().for_each(|r| y[r * self.m..][..self.m].copy_from_slice(&residual[r * self.m..][..self.m]));
        }
        let apart = |data| Input::Apart(Mat { data, ld: self.m });
        let op = Linear {
            rows: self.rows(),
            k: self.k,
            m: self.m,
            compute: self.compute,
            x: Mat { data: &self.x, ld: self.ld },
            weight: self.stored(),
            bias: self.bias.as_deref(),
            residual: self.residual.as_deref().map(|residual| if in_place { Input::InPlace } else { apart(residual) }),
        };
        let mut scratch = vec![f32::NAN; Linear::scratch_floats(self.rows().count(), self.k, self.compute)];
        (0..parts).for_each(|part| run(&op, part, SharedOut::new(&mut y), &mut scratch));
        y
    }

    fn check(&self, label: &str, tol: f64) {
        let expected = self.expected();
        for level in Level::available() {
            let y = self.run(level, 1, false);
            let valid = |y: &[f64]| self.rows().iter().flat_map(|r| y[r * self.m..][..self.m].to_vec()).collect::<Vec<_>>();
            let error = nmse(&valid(&wide(&y)), &valid(&expected));
            assert!(error <= tol, "{label} {}: {error:e}", level.name());
            let invalid = |r: &usize| !self.rows().iter().any(|valid| valid == *r);
            let untouched = (0..self.b * self.l).filter(invalid).all(|r| y[r * self.m..][..self.m].iter().all(|&y| y == SENTINEL));
            assert!(untouched, "{label} {}: a row at or after lens was written", level.name());
            for (parts, in_place) in [(2, false), (7, false), (1, true), (7, true)] {
                assert_eq!(self.run(level, parts, in_place), y, "{label} {} in {parts} parts", level.name());
            }
        }
    }
}

#[test]
fn cases_of_the_table() {
    for case in cases_of("linear") {
        let inputs = case.inputs(7);
        let input = |i: usize| inputs[i].as_ref();
        let x = input(0).expect("x");
        let weight = input(1).expect("weight");
        let fixture = Fixture {
            b: case.dim("b"),
            l: case.dim("l"),
            lens: case.lens(),
            k: case.dim("k"),
            m: case.dim("m"),
            compute: if case.attrs["compute"] == "bf16" { Compute::Bf16 } else { Compute::F32 },
            x: x.f32().to_vec(),
            ld: x.ld,
            dtype: match weight.dtype() {
                "f32" => DType::F32,
                "bf16" => DType::Bf16,
                _ => DType::F16,
            },
            weight: [&[0], &weight.bytes()[..]].concat(),
            bias: input(2).map(|bias| bias.f32().to_vec()),
            residual: input(3).map(|residual| residual.f32().to_vec()),
        };
        fixture.check(&case.label, case.tol("f32"));
    }
}

fn noise(count: usize, seed: u32) -> impl Iterator<Item = f32> {
    (0..count as u32).map(move |i| {
        let h = i.wrapping_mul(0x9E37_79B9) ^ seed.wrapping_mul(0x85EB_CA6B);
        let h = (h ^ h >> 15).wrapping_mul(0x2C1B_3C6D);
        ((h ^ h >> 13) >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

fn random(l: usize, k: usize, m: usize, dtype: DType, compute: Compute, seed: u32) -> Fixture {
    let values = noise(m * k, seed + 1);
    let mut weight = vec![0];
    match dtype {
        DType::F32 => weight.extend(values.flat_map(f32::to_le_bytes)),
        DType::Bf16 => weight.extend(values.flat_map(|w| half::bf16::from_f32(w).to_le_bytes())),
        _ => weight.extend(values.flat_map(|w| half::f16::from_f32(w).to_le_bytes())),
    }
    Fixture {
        b: 2,
        l,
        lens: Some(vec![l as i32, (l / 2) as i32]),
        k,
        m,
        compute,
        x: noise(2 * l * (k + 3), seed).collect(),
        ld: k + 3,
        dtype,
        weight,
        bias: seed.is_multiple_of(2).then(|| noise(m, seed + 2).collect()),
        residual: (!seed.is_multiple_of(3)).then(|| noise(2 * l * m, seed + 3).collect()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(l in 1usize..40, k in 1usize..600, m in 1usize..100, dtype in 0usize..3, round: bool, seed in 0u32..1000) {
        let dtype = [DType::F32, DType::Bf16, DType::F16][dtype];
        let compute = if round { Compute::Bf16 } else { Compute::F32 };
        random(l, k, m, dtype, compute, seed).check(&format!("l {l} k {k} m {m} {dtype:?} {compute:?} seed {seed}"), 1e-11);
    }
}

/// By pairs, whether the CPU multiplies them or not.
struct Paired<'a>(Part<'a>);

impl Kernel for Paired<'_> {
    const PAIRS: bool = true;
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        match self.0.op.weight {
            Stored::Bf16(weight) => self.0.with::<I, Bf16Pair>(isa, weight),
            Stored::F32(weight) => self.0.with::<I, F32Pair>(isa, weight),
            Stored::F16(_) => unreachable!("f16 has no pairs"),
        }
    }
}

#[test]
fn pairs_on_every_instruction_set() {
    // Few rows and many; odd k, one half pair alone; more than one panel along k.
    for (l, k, m) in [(1, 1, 3), (3, 37, 50), (12, 64, 33), (30, 1, 5), (30, 77, 70), (40, 1001, 41)] {
        for dtype in [DType::Bf16, DType::F32] {
            let fixture = random(l, k, m, dtype, Compute::Bf16, (l + k) as u32);
            let expected = fixture.expected();
            for level in Level::available() {
                let run =
                    |parts| fixture.run_by(parts, false, |op, part, y, scratch| level.run(Paired(Part { op, part, parts, y, scratch })));
                let error = nmse(&wide(&run(1)), &expected);
                assert!(error <= 1e-11, "{l} {k} {m} {dtype:?} {}: {error:e}", level.name());
                assert_eq!(run(1), run(7), "{l} {k} {m} {dtype:?} {}", level.name());
            }
        }
    }
}

#[test]
fn a_rounded_product_differs_from_the_exact_one() {
    let [exact, rounded] = [Compute::F32, Compute::Bf16].map(|compute| random(20, 64, 32, DType::F32, compute, 5).expected());
    // The rows of the first batch row; sentinels of invalid ones would dilute the difference.
    assert!(nmse(&rounded[..20 * 32], &exact[..20 * 32]) > 1e-6);
}

/// An intrinsic that exists as a function was called from code without the instruction set's features, such as a closure that was not inlined.
#[test]
fn no_vector_operation_is_a_call() {
    let this = std::env::current_exe().expect("the path of this test");
    let Some(listed) = std::process::Command::new("nm").arg(this).output().ok().filter(|output| output.status.success()) else {
        eprintln!("skipped: no nm that reads this executable");
        return;
    };
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let intrinsics = ["_mm_", "_mm256_", "_mm512_", "4neon9generated"];
    let vector = |name: &&str| intrinsics.iter().any(|part| name.contains(part));
    assert!(names.contains("no_vector_operation_is_a_call"), "a symbol table");
    assert_eq!(names.lines().filter(vector).collect::<Vec<_>>(), Vec::<&str>::new());
}
