//! Against the reference: the table's cases, and shapes around the edges of blocks; every instruction set, 1, 2 and 7 parts.

use proptest::prelude::*;
use statespace_plan::DType;
use statespace_plan::ops::Compute;
use statespace_simd::{Level, SharedOut};

use super::{LinearCrossEntropy, Reference, reference};
use crate::cases::{cases_of, nmse};
use crate::{Mat, Rows, Stored};

/// What outputs hold before a run; rows that are not valid keep it.
const SENTINEL: f32 = -12345.0;

struct Fixture {
    b: usize,
    l: usize,
    lens: Option<Vec<i32>>,
    k: usize,
    vocab: usize,
    compute: Compute,
    x: Vec<f32>,
    dtype: DType,
    weight: Vec<u8>,
    targets: Vec<i32>,
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

impl Fixture {
    fn rows(&self) -> Rows<'_> {
        Rows { b: self.b, l: self.l, lens: self.lens.as_deref() }
    }

    fn stored(&self) -> Stored<'_> {
        Stored::new(self.dtype, &self.weight).expect("a float")
    }

    fn expected(&self) -> Vec<f64> {
        let mut nll = vec![f64::from(SENTINEL); self.b * self.l];
        let (x, weight) = (wide(&self.x), self.stored().widened());
        let op = Reference {
            rows: self.rows(),
            k: self.k,
            vocab: self.vocab,
            compute: self.compute,
            x: Mat { data: &x, ld: self.k },
            weight: &weight,
            dtype: self.dtype,
            targets: &self.targets,
        };
        reference(&op, &mut nll);
        nll
    }

    fn run(&self, level: Level, parts: usize) -> Vec<f32> {
        let mut nll = vec![SENTINEL; self.b * self.l];
        let op = LinearCrossEntropy {
            rows: self.rows(),
            k: self.k,
            vocab: self.vocab,
            compute: self.compute,
            x: Mat { data: &self.x, ld: self.k },
            weight: self.stored(),
            targets: &self.targets,
        };
        let mut scratch = vec![f32::NAN; LinearCrossEntropy::scratch_floats(self.rows().count(), self.k, self.compute)];
        let mut board = vec![f32::NAN; LinearCrossEntropy::board_floats(self.rows().count(), self.vocab)];
        (0..parts).for_each(|part| op.run(level, part, parts, SharedOut::new(&mut board), SharedOut::new(&mut nll), &mut scratch));
        (0..parts).for_each(|part| op.finish(part, parts, SharedOut::new(&mut board), SharedOut::new(&mut nll)));
        nll
    }

    fn check(&self, label: &str, tol: f64) {
        let expected = self.expected();
        for level in Level::available() {
            let nll = self.run(level, 1);
            // The sentinels of the other rows, equal on both sides, would only dilute the error.
            let valid = |nll: &[f64]| self.rows().iter().map(|r| nll[r]).collect::<Vec<_>>();
            let error = nmse(&valid(&wide(&nll)), &valid(&expected));
            assert!(error <= tol, "{label} {}: {error:e}", level.name());
            let invalid = |r: &usize| !self.rows().iter().any(|valid| valid == *r);
            assert!(
                (0..nll.len()).filter(invalid).all(|r| nll[r] == SENTINEL),
                "{label} {}: a row at or after lens was written",
                level.name()
            );
            for parts in [2, 7] {
                assert_eq!(self.run(level, parts), nll, "{label} {} in {parts} parts", level.name());
            }
        }
    }
}

#[test]
fn cases_of_the_table() {
    for case in cases_of("linear_cross_entropy") {
        let inputs = case.inputs(7);
        let input = |i: usize| inputs[i].as_ref().expect("an operand");
        let fixture = Fixture {
            b: case.dim("b"),
            l: case.dim("l"),
            lens: case.lens(),
            k: case.dim("k"),
            vocab: if case.dim("vocab") == 0 { case.dim("m") } else { case.dim("vocab") },
            compute: Compute::F32,
            x: input(0).f32().to_vec(),
            dtype: match input(1).dtype() {
                "f32" => DType::F32,
                "bf16" => DType::Bf16,
                _ => DType::F16,
            },
            weight: input(1).bytes(),
            targets: input(2).i32().to_vec(),
        };
        fixture.check(&case.label, case.tol("f32"));
    }
}

fn random(l: usize, k: usize, vocab: usize, compute: Compute, seed: u32) -> Fixture {
    let noise = |count: usize, seed: u32| {
        (0..count as u32).map(move |i| {
            let h = i.wrapping_mul(0x9E37_79B9) ^ seed.wrapping_mul(0x85EB_CA6B);
            let h = (h ^ h >> 15).wrapping_mul(0x2C1B_3C6D);
            ((h ^ h >> 13) >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
    };
    Fixture {
        b: 2,
        l,
        lens: Some(vec![l as i32, (l / 2) as i32]),
        k,
        vocab,
        compute,
        // Logits as far apart as a trained model's, so that the maximum matters.
        x: noise(2 * l * k, seed).map(|x| 4.0 * x).collect(),
        dtype: DType::F32,
        weight: noise(vocab * k, seed + 1).flat_map(f32::to_le_bytes).collect(),
        targets: (0..2 * l).map(|r| (r * 7919 % vocab) as i32).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_shape(l in 1usize..30, k in 1usize..300, vocab in 1usize..300, round: bool, seed in 0u32..1000) {
        let compute = if round { Compute::Bf16 } else { Compute::F32 };
        random(l, k, vocab, compute, seed).check(&format!("l {l} k {k} vocab {vocab} {compute:?} seed {seed}"), 1e-10);
    }
}

#[test]
fn a_vocabulary_of_many_blocks_some_of_it_masked() {
    // One row that only a few ids can follow: elsewhere the weight makes −∞ of it.
    let mut fixture = random(2, 16, 700, Compute::F32, 5);
    let mut weight: Vec<f32> = fixture.stored().widened().iter().map(|w| *w as f32).collect();
    weight.chunks_mut(16).enumerate().filter(|(id, _)| !(130..200).contains(id)).for_each(|(_, row)| row[0] = f32::NEG_INFINITY);
    fixture.weight = weight.into_iter().flat_map(f32::to_le_bytes).collect();
    fixture.x.chunks_mut(16).for_each(|row| row[0] = 1.0);
    fixture.targets.fill(150);
    fixture.check("masked", 1e-10);
}

#[test]
fn more_rows_than_a_batch() {
    random(150, 40, 200, Compute::F32, 3).check("300 rows", 1e-10);
}

#[test]
fn a_target_outside_the_vocabulary_gives_nan() {
    let mut fixture = random(2, 16, 20, Compute::F32, 1);
    fixture.targets[..2].copy_from_slice(&[-1, 20]);
    for level in Level::available() {
        let nll = fixture.run(level, 1);
        assert_eq!(nll.iter().take(3).map(|nll| nll.is_nan()).collect::<Vec<_>>(), [true, true, false], "{}", level.name());
    }
}
