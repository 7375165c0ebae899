//! Every CUDA kernel on the emulator against its op's f64 reference, on all cases of `spec/ops.json`. `cargo test -p statespace-ops --test cuda
//! -- scan` is that of one op. Where the emulator cannot be compiled the tests say so and pass.

use statespace_plan::Op;

#[cfg(emulated)]
mod emulator;

#[cfg(emulated)]
mod parity {
    use statespace_ops::cases::parity::expected;
    use statespace_ops::cases::{Case, Data, Tensor, cases_of, nmse};

    use crate::emulator::node::{Ran, Way, run, unwritten};

    /// All that is demanded of an op's kernels, on the table's cases.
    pub fn check(op: &str) {
        // `sample` has more settings than cases.
        check_cases(&cases_of(op), if op == "sample" { 24 } else { 3 });
    }

    /// The same on cases with operands of so many seeds each.
    pub fn check_cases(cases: &[Case], seeds: u64) {
        let failed: Vec<String> = cases
            .iter()
            .flat_map(|case| [agrees(case, seeds), in_place(case)].map(|found| found.map_err(|found| format!("{}: {found}", case.label))))
            .filter_map(Result::err)
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }

    /// Results are within the row's tolerance of the reference wherever operands lie, the same in any order of threads, and state of rows that
    /// are over stays.
    fn agrees(case: &Case, seeds: u64) -> Result<(), String> {
        for seed in 0..seeds {
            let inputs = case.inputs(seed);
            for way in ways(case) {
                let said = |found: String| format!("seed {seed}, {way:?}: {found}");
                let ran = run(case, &inputs, way).map_err(said)?;
                close(case, &inputs, &ran, way).map_err(said)?;
                frozen(case, &inputs, &ran).map_err(said)?;
                let other = run(case, &inputs, Way { descending: true, ..way }).map_err(said)?;
                same_bits(&ran, &other).map_err(|name| said(format!("{name} depends on the order of threads")))?;
            }
        }
        Ok(())
    }

    fn ways(case: &Case) -> Vec<Way<'static>> {
        let plain = Way::default();
        let gemm = [false, true].map(|whole| Way { gemm: true, whole, ..plain });
        let gemm = gemm.into_iter().filter(|_| case.op.starts_with("linear"));
        [plain, Way { shifted: true, ..plain }].into_iter().chain(gemm).collect()
    }

    fn close(case: &Case, inputs: &[Option<Tensor>], ran: &Ran, way: Way) -> Result<(), String> {
        let wanted = expected(case, inputs);
        let names = |names: Vec<&str>| names.join(", ");
        let (wanted_names, names_got) =
            (names(wanted.iter().map(|w| w.0).collect()), names(ran.written.iter().map(|w| &w.0[..]).collect()));
        if wanted_names != names_got {
            return Err(format!("wrote {names_got} instead of {wanted_names}"));
        }
        for ((name, got), (_, wanted)) in ran.written.iter().zip(&wanted) {
            let mut values = got.widened();
            if way.whole {
                values.iter_mut().zip(wanted).for_each(|(got, wanted)| *got = if wanted.is_nan() { f64::NAN } else { *got });
            }
            let error = nmse(&values, wanted);
            let tol = case.tol(got.dtype());
            // Asked this way round, since an error that is NaN is one.
            let within = error <= tol;
            if !within {
                return Err(format!("{name} is off by {error:e} > {tol:e}{}", first_off(&values, wanted)));
            }
            let kept = if way.whole { Ok(()) } else { untouched(got, wanted) };
            kept.map_err(|i| format!("element {i} of {name} was written, which is of no valid row"))?;
        }
        ran.fault.map_or(Ok(()), |id| Err(format!("id {id} is reported as bad")))
    }

    /// What no valid row writes is as it was. Fails with the first element that is not.
    fn untouched(got: &Data, wanted: &[f64]) -> Result<(), usize> {
        let bytes = got.bytes();
        let before = unwritten(got.dtype(), 1);
        let kept = |i: usize| bytes[i * before.len()..][..before.len()] == before[..];
        (0..wanted.len()).find(|&i| wanted[i].is_nan() && !kept(i)).map_or(Ok(()), Err)
    }

    /// The element that is furthest off, for whoever looks for the reason.
    fn first_off(got: &[f64], wanted: &[f64]) -> String {
        let off = |i: &usize| (got[*i] - wanted[*i]).abs();
        let broken = (0..got.len()).find(|&i| got[i].is_nan() != wanted[i].is_nan());
        let worst = broken.or_else(|| (0..got.len()).filter(|i| !off(i).is_nan()).max_by(|x, y| off(x).total_cmp(&off(y))));
        worst.map_or_else(String::new, |i| format!(": element {i} is {} instead of {}", got[i], wanted[i]))
    }

    fn frozen(case: &Case, inputs: &[Option<Tensor>], ran: &Ran) -> Result<(), String> {
        let lens = case.lens().filter(|_| case.op != "sample").unwrap_or_default();
        for (name, written) in &ran.written {
            let Some(before) = inputs.iter().flatten().find(|tensor| tensor.name == *name) else { continue };
            let (before, after) = (before.bytes(), written.bytes());
            let row = before.len() / lens.len().max(1);
            if let Some(b) = (0..lens.len()).find(|&b| lens[b] == 0 && before[b * row..][..row] != after[b * row..][..row]) {
                return Err(format!("{name} of row {b} changed"));
            }
        }
        Ok(())
    }

    /// An input that shares memory with an output gives the same bits.
    fn in_place(case: &Case) -> Result<(), String> {
        let mut inputs = case.inputs(1);
        for tensor in inputs.iter_mut().flatten() {
            if case.inplace.iter().any(|(input, _)| *input == tensor.name) {
                *tensor = tensor.dense();
            }
        }
        for (input, _) in case.inplace.iter().filter(|(input, _)| inputs.iter().flatten().any(|tensor| tensor.name == *input)) {
            for way in ways(case) {
                let said = |found: String| format!("{input} in place, {way:?}: {found}");
                let apart = run(case, &inputs, way).map_err(said)?;
                let shared = run(case, &inputs, Way { shared: Some(input), ..way }).map_err(said)?;
                // Rows that are not valid keep what was there, which is one NaN or another.
                let of_valid_rows =
                    |ran: Ran| Ran { written: ran.written.into_iter().map(|(name, data)| (name, one_nan(data))).collect(), ..ran };
                same_bits(&of_valid_rows(apart), &of_valid_rows(shared)).map_err(|name| said(format!("{name} differs")))?;
            }
        }
        Ok(())
    }

    /// Fails with the first name that differs.
    fn same_bits(x: &Ran, y: &Ran) -> Result<(), String> {
        x.written.iter().zip(&y.written).try_for_each(|(x, y)| if x.1.bytes() == y.1.bytes() { Ok(()) } else { Err(x.0.clone()) })
    }

    fn one_nan(data: Data) -> Data {
        match data {
            Data::F32(x) => Data::F32(x.into_iter().map(|v| if v.is_nan() { f32::NAN } else { v }).collect()),
            Data::Bf16(x) => Data::Bf16(x.into_iter().map(|v| if v & 0x7FFF > 0x7F80 { 0x7FC0 } else { v }).collect()),
            Data::F16(x) => Data::F16(x.into_iter().map(|v| if v & 0x7FFF > 0x7C00 { 0x7E00 } else { v }).collect()),
            other => other,
        }
    }
}

#[cfg(not(emulated))]
fn skip() {
    let reason = statespace_ops::cuda::NOT_EMULATED.unwrap_or_default();
    println!("skipped: {reason}");
    assert!(!std::env::var("STATESPACE_REQUIRE").is_ok_and(|levels| levels.split(',').any(|level| level == "cuda")), "{reason}");
}

macro_rules! ops {
    ($($op:ident)*) => {
        const CHECKED: &[&str] = &[$(stringify!($op)),*];
        $(
            #[test]
            fn $op() {
                #[cfg(emulated)]
                parity::check(stringify!($op));
                #[cfg(not(emulated))]
                skip();
            }
        )*
    };
}

macro_rules! own_cases {
    ($($of:ident::$name:ident)*) => { $(
        #[test]
        fn $name() {
            #[cfg(emulated)]
            emulator::$of::$name();
            #[cfg(not(emulated))]
            skip();
        }
    )* };
}

ops! {
    embed
    rmsnorm
    linear
    conv1d_silu
    scan
    add
    cast
    transpose
    softplus
    sum_rows
    linear_cross_entropy
    sample
}

own_cases! {
    cases::rows_of_vectors
    cases::embed_reports_a_bad_id
    cases::conv1d_silu_tiles
    cases::scan_ways
    cases::scan_rounds_y
    cases::narrow_rows
    cases::sample_large
    cases::sample_one_row
    cases::sample_ties
    products::linear_shapes
    products::linear_long
    products::linear_rounded
    products::linear_narrow
    products::linear_cross_entropy_blocks
    products::linear_cross_entropy_reports_a_bad_target
    tried::rows_come_through_a_ring
    tried::blocks_talk
    tried::blocks_wait_in_vain
    tried::mma_is_a_product
    tried::copy8_copies
}

#[test]
fn every_op_is_checked() {
    assert_eq!(CHECKED, Op::ALL.iter().map(|op| op.name()).collect::<Vec<_>>());
}
