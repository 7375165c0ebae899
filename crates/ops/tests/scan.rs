//! The scan beyond the table's cases: the golden case of the specification, random shapes, cuts in time, extremes.

use proptest::prelude::*;
use serde_json::Value;
use statespace_ops::cases::nmse;
use statespace_ops::philox::{philox4x32, uniform};
use statespace_ops::scan::{Reference, Scan, reference, scratch};
use statespace_ops::{Input, Mat, Rows, StoredInput, StoredOut};
use statespace_simd::{Level, SharedOut};

/// Operands with every optional one, in f64; kernels get them rounded.
#[derive(Clone)]
struct Problem {
    b: usize,
    l: usize,
    e: usize,
    n: usize,
    groups: usize,
    lens: Vec<i32>,
    u: Vec<f64>,
    dt: Vec<f64>,
    a: Vec<f64>,
    bs: Vec<f64>,
    cs: Vec<f64>,
    d: Vec<f64>,
    z: Vec<f64>,
    bias: Vec<f64>,
    state: Vec<f64>,
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|&v| v as f32).collect()
}

fn rows(data: &[f32], ld: usize) -> StoredInput<'_> {
    StoredInput::F32(Input::Apart(Mat { data, ld }))
}

impl Problem {
    fn random(b: usize, l: usize, per_group: usize, groups: usize, n: usize, lens: Vec<i32>, seed: u32) -> Self {
        let mut count = 0;
        let mut draw = |size: usize, low: f64, high: f64| -> Vec<f64> {
            let next = |_| {
                count += 1;
                f64::from((low + (high - low) * uniform(philox4x32([seed, 7], [count, 0, 0, 0]))) as f32)
            };
            (0..size).map(next).collect()
        };
        let e = per_group * groups;
        Self {
            b,
            l,
            e,
            n,
            groups,
            lens,
            u: draw(b * l * e, -1.0, 1.0),
            dt: draw(b * l * e, -6.0, 3.0),
            a: draw(n * e, -16.0, -0.01),
            bs: draw(b * l * groups * n, -1.0, 1.0),
            cs: draw(b * l * groups * n, -1.0, 1.0),
            d: draw(e, -1.0, 1.0),
            z: draw(b * l * e, -3.0, 3.0),
            bias: draw(e, -2.0, 0.5),
            state: draw(b * n * e, -1.0, 1.0),
        }
    }

    fn reference(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut y, mut state) = (vec![f64::NAN; self.b * self.l * self.e], self.state.clone());
        let op = Reference {
            rows: Rows { b: self.b, l: self.l, lens: Some(&self.lens) },
            e: self.e,
            n: self.n,
            groups: self.groups,
            softplus: true,
            u: Mat { data: &self.u, ld: self.e },
            dt: Mat { data: &self.dt, ld: self.e },
            a: &self.a,
            b: Mat { data: &self.bs, ld: self.groups * self.n },
            c: Mat { data: &self.cs, ld: self.groups * self.n },
            d: Some(&self.d),
            z: Some(Mat { data: &self.z, ld: self.e }),
            dt_bias: Some(&self.bias),
        };
        reference(&op, &mut state, &mut y);
        (y, state)
    }

    fn run(&self, level: Level) -> (Vec<f32>, Vec<f32>) {
        let (u, dt, a, z) = (narrow(&self.u), narrow(&self.dt), narrow(&self.a), narrow(&self.z));
        let (b, c, d, bias) = (narrow(&self.bs), narrow(&self.cs), narrow(&self.d), narrow(&self.bias));
        let op = Scan {
            rows: Rows { b: self.b, l: self.l, lens: Some(&self.lens) },
            e: self.e,
            n: self.n,
            groups: self.groups,
            softplus: true,
            u: rows(&u, self.e),
            dt: rows(&dt, self.e),
            a: &a,
            b: rows(&b, self.groups * self.n),
            c: rows(&c, self.groups * self.n),
            d: Some(&d),
            z: Some(rows(&z, self.e)),
            dt_bias: Some(&bias),
        };
        let (mut y, mut state) = (vec![f32::NAN; self.b * self.l * self.e], narrow(&self.state));
        op.run(level, 0, 1, SharedOut::new(&mut state), StoredOut::F32(SharedOut::new(&mut y)), &mut vec![f32::NAN; scratch(self.n)]);
        (y, state)
    }

    /// The steps `range` of a batch of one, from `state`.
    fn steps(&self, range: std::ops::Range<usize>, state: &[f32]) -> Self {
        let cut = |x: &[f64], width: usize| x[range.start * width..range.end * width].to_vec();
        Self {
            l: range.len(),
            lens: vec![range.len() as i32],
            u: cut(&self.u, self.e),
            dt: cut(&self.dt, self.e),
            z: cut(&self.z, self.e),
            bs: cut(&self.bs, self.groups * self.n),
            cs: cut(&self.cs, self.groups * self.n),
            state: state.iter().map(|&v| f64::from(v)).collect(),
            ..self.clone()
        }
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| f64::from(v)).collect()
}

/// A golden array's numbers, its last axis moved before the axis ahead of it: (…, channel, t) becomes (…, t, channel).
fn transposed(value: &Value) -> Vec<f64> {
    let row = |row: &Value| -> Vec<f64> { row.as_array().expect("a row").iter().map(|v| v.as_f64().expect("a number")).collect() };
    let rows = value.as_array().expect("an array");
    if rows[0][0].is_array() {
        return rows.iter().flat_map(transposed).collect();
    }
    let rows: Vec<Vec<f64>> = rows.iter().map(row).collect();
    (0..rows[0].len()).flat_map(|i| rows.iter().map(move |row| row[i])).collect()
}

#[test]
fn golden_case() {
    let golden: Value = serde_json::from_str(include_str!("../../../test/golden/s6.json")).expect("JSON");
    let golden = &golden["s6"];
    let input = |name: &str| transposed(&golden["inputs"][name]);
    let vector = |name: &str| golden["inputs"][name].as_array().expect("a vector").iter().map(|v| v.as_f64().expect("a number")).collect();
    let mut problem = Problem {
        b: 1,
        l: 3,
        e: 2,
        n: 2,
        groups: 1,
        lens: vec![3],
        u: input("u"),
        dt: input("delta"),
        a: input("A"),
        bs: input("B"),
        cs: input("C"),
        d: vector("D"),
        z: input("z"),
        bias: vector("bias"),
        state: input("h0"),
    };
    for (case, zero) in [("case1", false), ("case2_h0zero_dhLzero", true)] {
        if zero {
            problem.state.fill(0.0);
        }
        let out = transposed(&golden[case]["out"]);
        // The state after the last step: of h (b, e, n, t), or hL (b, e, n).
        let last: Vec<f64> = {
            let h = golden[case]["h"][0].as_array().expect("h");
            (0..2).flat_map(|n| h.iter().map(move |channel| channel[n][2].as_f64().expect("a number"))).collect()
        };
        let check = |what: &str, got: &[f64], wanted: &[f64], bound: f64| {
            for (got, wanted) in got.iter().zip(wanted) {
                assert!((got - wanted).abs() <= bound, "{case} {what}: {got} is not {wanted}");
            }
        };
        let (y, state) = problem.reference();
        check("reference out", &y, &out, 1e-12);
        check("reference state", &state, &last, 1e-12);
        for level in Level::available() {
            let (y, state) = problem.run(level);
            check(level.name(), &wide(&y), &out, 1e-6);
            check(level.name(), &wide(&state), &last, 1e-6);
        }
    }
}

#[test]
fn extreme_steps_reset_or_keep() {
    let mut problem = Problem::random(1, 5, 9, 1, 16, vec![5], 3);
    problem.a.iter_mut().step_by(3).for_each(|a| *a = -1e4);
    problem.dt.iter_mut().enumerate().for_each(|(i, dt)| *dt = if i % 2 == 0 { 50.0 } else { -50.0 });
    let (wanted, wanted_state) = problem.reference();
    for level in Level::available() {
        let (y, state) = problem.run(level);
        assert!(nmse(&wide(&y), &wanted) < 1e-10, "{}", level.name());
        assert!(nmse(&wide(&state), &wanted_state) < 1e-10, "{}", level.name());
    }
}

/// A channel that is not a number, or whose steps overflow, leaves its neighbors alone.
#[test]
fn a_bad_channel_stays_alone() {
    let good = Problem::random(1, 40, 21, 1, 16, vec![40], 5);
    for bad in [f64::NAN, f64::INFINITY, 1e30] {
        let mut problem = good.clone();
        problem.dt[3 * 21 + 4] = bad;
        // Beside it, exponents far below those of normal numbers.
        problem.dt[3 * 21 + 5] = 40.0;
        let mut clean = problem.clone();
        clean.dt[3 * 21 + 4] = 0.0;
        for level in Level::available() {
            let ((y, state), (wanted, wanted_state)) = (problem.run(level), clean.run(level));
            for (got, wanted) in [(y, wanted), (state, wanted_state)] {
                for (i, (got, wanted)) in got.iter().zip(&wanted).enumerate().filter(|(i, _)| i % 21 != 4) {
                    assert_eq!(got.to_bits(), wanted.to_bits(), "{bad} on {}, channel {}", level.name(), i % 21);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_shape_agrees(
        (b, l, per_group, groups, n, seed) in (1usize..4, 1usize..70, 1usize..50, 1usize..3, 1usize..40, any::<u32>()),
        fill in prop::collection::vec(0usize..=100, 3),
    ) {
        let lens = (0..b).map(|i| (fill[i] * l / 100) as i32).collect();
        let problem = Problem::random(b, l, per_group, groups, n, lens, seed);
        let (wanted, wanted_state) = problem.reference();
        for level in Level::available() {
            let (y, state) = problem.run(level);
            prop_assert!(nmse(&wide(&y), &wanted) <= 1e-10, "y on {}", level.name());
            prop_assert!(nmse(&wide(&state), &wanted_state) <= 1e-10, "state on {}", level.name());
        }
    }

    /// Programs of one step have a kernel of their own; more channels than it takes at once.
    #[test]
    fn single_steps_agree((b, per_group, groups, n, seed) in (1usize..4, 1usize..1300, 1usize..3, 1usize..20, any::<u32>()), live in 0u8..8) {
        let lens = (0..b).map(|i| i32::from(live >> i & 1)).collect();
        let problem = Problem::random(b, 1, per_group, groups, n, lens, seed);
        let (wanted, wanted_state) = problem.reference();
        for level in Level::available() {
            let (y, state) = problem.run(level);
            prop_assert!(nmse(&wide(&y), &wanted) <= 1e-10, "y on {}", level.name());
            prop_assert!(nmse(&wide(&state), &wanted_state) <= 1e-10, "state on {}", level.name());
        }
    }

    /// Step by step is the same arithmetic as all at once.
    #[test]
    fn single_steps_change_no_bit((l, e, n, seed) in (1usize..12, 1usize..90, 1usize..20, any::<u32>())) {
        let problem = Problem::random(1, l, e, 1, n, vec![l as i32], seed);
        for level in Level::available() {
            let (whole, last) = problem.run(level);
            let (mut y, mut state) = (vec![], narrow(&problem.state));
            for t in 0..l {
                let (one, next) = problem.steps(t..t + 1, &state).run(level);
                y.extend(one);
                state = next;
            }
            prop_assert_eq!(&y, &whole);
            prop_assert_eq!(state, last);
        }
    }

    /// Running some steps, then the rest from the state they left, is the same arithmetic.
    #[test]
    fn a_cut_changes_no_bit((l, e, n, seed) in (2usize..90, 1usize..40, 1usize..20, any::<u32>()), cut in 0usize..=100) {
        let problem = Problem::random(1, l, e, 1, n, vec![l as i32], seed);
        let cut = cut * l / 100;
        for level in Level::available() {
            let (whole, last) = problem.run(level);
            let (mut y, state) = problem.steps(0..cut, &narrow(&problem.state)).run(level);
            let (rest, state) = problem.steps(cut..l, &state).run(level);
            y.extend(rest);
            prop_assert_eq!(&y, &whole);
            prop_assert_eq!(state, last);
        }
    }
}
