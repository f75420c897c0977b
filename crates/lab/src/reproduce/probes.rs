//! Small programs that ask an engine one question each.

use ferrane_engine::{Engine, Kernel, Port, ReloadWay, Surface, WeightFiles, legalise};
use ferrane_mil::blob::BlobWriter;
use ferrane_mil::{Builder, CallError, Constant, DType, Function, Opcode, Opset, TensorType, ValueId};

use super::outcome::Findings;
use super::{Figure, peak, ruled_how, timed_how};
use crate::bench::measure::text;
use crate::bench::programs::{Arithmetic, Chain, SMALLEST};
use crate::bench::{Bench, Benchmark, ChainWeights, Metric, Report, Row};

pub(super) fn run(bench: &Bench) -> Result<(Findings, Option<Figure>), String> {
    let mut findings = Findings::default();
    let sram = bench.run(Benchmark::Sram, |_| ());
    peak::of_table(&mut findings, bench, &sram, Benchmark::Sram);
    let runs = sram.rows.iter().filter(|row| row.failure.is_none()).count();
    let ran = if runs > 0 { Ok(runs as f64) } else { Err("no configuration runs".to_owned()) };
    findings.refusable("packages", ran, ruled_how(bench));
    rates(&mut findings, bench);

    let how = ruled_how(bench);
    findings.result("reload", reload(bench), how);
    findings.result("runtime-weights", runtime_weights(bench), how);
    findings.result("mask", mask(bench), how);
    // The last, for it leaves an engine that compiles no more.
    match compile_limit(bench) {
        Ok(Some(programs)) => findings.figure("compile-limit", programs as f64, how),
        Ok(None) => findings.apart(
            "compile-limit",
            None,
            format!("{ENOUGH} programs were compiled without a refusal"),
        ),
        Err(reason) => findings.result("compile-limit", Err(reason), how),
    }
    Ok((findings, None))
}

/// What follows from the smallest programs and from int8 against fp16.
fn rates(findings: &mut Findings, bench: &Bench) {
    let how = timed_how(bench);
    let dispatch = bench.run(Benchmark::Dispatch, |_| ());
    let least = values(&dispatch, Metric::Ms).map(|(_, ms)| ms).fold(f64::INFINITY, f64::min);
    let least = if least.is_finite() { Ok(least * 1e3) } else { Err(failures(&dispatch)) };
    findings.result("dispatch", least, how);

    let int8 = bench.run(Benchmark::Int8, |_| ());
    peak::of_table(findings, bench, &int8, Benchmark::Int8);
    let ratio = int8.rows.iter().find_map(|row| row.values.get(&Metric::Ratio).copied());
    findings.result("int8-ratio", ratio.ok_or_else(|| failures(&int8)), how);

    let float = values(&int8, Metric::Tflops).filter(|(row, _)| !row.config.contains("int8"));
    let Some((row, rate)) = float.max_by(|a, b| a.1.total_cmp(&b.1)) else {
        ["best-rate", "watts", "per-watt"]
            .into_iter()
            .for_each(|id| findings.result(id, Err(failures(&int8)), how));
        return;
    };
    findings.figure("best-rate", rate, how);
    match (row.values.get(&Metric::Mj), row.values.get(&Metric::Ms)) {
        (Some(mj), Some(ms)) => {
            findings.figure("watts", mj / ms, how);
            findings.figure("per-watt", rate * ms / mj, how);
        }
        _ => ["watts", "per-watt"]
            .into_iter()
            .for_each(|id| findings.apart(id, None, "this engine's energy is not known")),
    }
}

fn values(report: &Report, metric: Metric) -> impl Iterator<Item = (&Row, f64)> {
    report.rows.iter().filter_map(move |row| Some((row, *row.values.get(&metric)?)))
}

fn failures(report: &Report) -> String {
    report.rows.iter().find_map(|row| row.failure.clone()).unwrap_or_else(|| "there are no figures".into())
}

/// Channels and columns of the programs below.
const SIDE: usize = 64;

fn tensor(dtype: DType) -> TensorType {
    TensorType::new(dtype, [1, SIDE, 1, SIDE])
}

/// The most that the output changes when new weights are put under a loaded program.
fn reload(bench: &Bench) -> Result<f64, String> {
    let weights = ChainWeights::Shared;
    let chain = Chain { depth: 1, channels: SIDE, width: SIDE, arithmetic: Arithmetic::Float, weights };
    let program =
        legalise(chain.function(bench.compute()).map_err(text)?, bench.engine.profile()).map_err(text)?;
    let path = program
        .main()
        .values
        .iter()
        .find_map(|value| Some(value.constant.as_ref()?.blob_ref()?.path.clone()))
        .ok_or("the program has no weights")?;
    let files = |gain: f32| -> Result<WeightFiles, String> {
        let unit: Vec<f32> = (0..SIDE * SIDE).map(|i| if i % (SIDE + 1) == 0 { gain } else { 0.0 }).collect();
        let mut blob = BlobWriter::new(std::io::Cursor::new(Vec::new())).map_err(text)?;
        blob.chunk_f32(bench.compute(), &unit).map_err(text)?;
        let mut files = WeightFiles::none();
        files.insert(path.clone(), blob.finish().map_err(text)?.into_inner());
        Ok(files)
    };
    let mut kernel = bench.engine.compile(&program, &files(1.0)?).map_err(text)?;
    let before = evaluate(&*bench.engine, &mut *kernel, 1.0)?;
    kernel.reload(&files(3.0)?, ReloadWay::Files).map_err(text)?;
    let after = evaluate(&*bench.engine, &mut *kernel, 1.0)?;
    Ok(most_apart(&before, &after))
}

/// How many times the output is, when weights that are an input are doubled.
fn runtime_weights(bench: &Bench) -> Result<f64, String> {
    let build = || -> Result<Function, CallError> {
        let mut b = Builder::new("main", Opset::Ios18);
        let dtype = bench.compute();
        let (w, x) = (b.input("w", tensor(dtype)), b.input("x", tensor(dtype)));
        let w = b.reshape(w, &[1, 1, SIDE, SIDE])?;
        let x = b.reshape(x, &[1, 1, SIDE, SIDE])?;
        let y = b.matmul(w, x, false, false)?;
        let y = b.reshape(y, &[1, SIDE, 1, SIDE])?;
        let y = b.rename(y, "y");
        Ok(b.finish(&[y]))
    };
    let mut kernel = compile(bench, build().map_err(text)?)?;
    let total = |y: Vec<f32>| y.iter().map(|y| f64::from(y.abs())).sum::<f64>();
    let once = total(evaluate(&*bench.engine, &mut *kernel, 1.0)?);
    let twice = total(evaluate(&*bench.engine, &mut *kernel, 2.0)?);
    Ok(twice / once)
}

/// The most that a causal mask changes in the op for attention.
fn mask(bench: &Bench) -> Result<f64, String> {
    let attend = |masked: bool| -> Result<Vec<f32>, String> {
        let function = attention(bench.compute(), masked).map_err(text)?;
        evaluate(&*bench.engine, &mut *compile(bench, function)?, 1.0)
    };
    Ok(most_apart(&attend(false)?, &attend(true)?))
}

fn attention(dtype: DType, masked: bool) -> Result<Function, CallError> {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", tensor(dtype));
    let p = b.reshape(x, &[1, 1, SIDE, SIDE])?;
    let mut args = vec![("query", p.into()), ("key", p.into()), ("value", p.into())];
    if masked {
        let hidden = |i: usize| if i % SIDE > i / SIDE { -1e4 } else { 0.0 };
        let causal: Vec<f32> = (0..SIDE * SIDE).map(hidden).collect();
        let mask = match dtype {
            DType::Fp16 => Constant::fp16_tensor([SIDE, SIDE], &causal),
            _ => Constant::fp32_tensor([SIDE, SIDE], causal),
        };
        let mask: ValueId = b.constant("mask", mask);
        args.push(("attn_mask", mask.into()));
    }
    let y = b.op(Opcode::ScaledDotProductAttention, args)?;
    let y = b.reshape(y, &[1, SIDE, 1, SIDE])?;
    let y = b.rename(y, "y");
    Ok(b.finish(&[y]))
}

/// Programs after which an engine is said to have no limit.
const ENOUGH: usize = 300;

/// Programs that this process could compile in all; none if there seems to be no limit.
fn compile_limit(bench: &Bench) -> Result<Option<usize>, String> {
    let smallest = SMALLEST[0].function(bench.compute()).map_err(text)?;
    let program = legalise(smallest, bench.engine.profile()).map_err(text)?;
    let before = bench.engine.usage().compiles;
    for compiled in 0..ENOUGH {
        if let Err(refusal) = bench.engine.compile(&program, &WeightFiles::none()) {
            return if before + compiled > 0 {
                Ok(Some(before + compiled))
            } else {
                Err(refusal.to_string())
            };
        }
    }
    Ok(None)
}

fn compile(bench: &Bench, function: Function) -> Result<Box<dyn Kernel>, String> {
    let program = legalise(function, bench.engine.profile()).map_err(text)?;
    bench.engine.compile(&program, &WeightFiles::none()).map_err(text)
}

/// The output for inputs that are a fixed pattern, that of port `w` times `gain`.
fn evaluate(engine: &dyn Engine, kernel: &mut dyn Kernel, gain: f32) -> Result<Vec<f32>, String> {
    let side = |ports: &[Port]| -> Result<Vec<Surface>, String> {
        let most = ports.iter().map(Port::bytes).max().unwrap_or(0);
        ports.iter().map(|port| engine.surface(port, most).map_err(text)).collect()
    };
    let (inputs, outputs) = (side(kernel.inputs())?, side(kernel.outputs())?);
    for (port, surface) in kernel.inputs().iter().zip(&inputs) {
        let gain = if port.name == "w" { gain } else { 1.0 };
        let pattern = |i: usize| gain * ((i * 7 % 13) as f32 / 16.0 - 0.375);
        let fill = |x: &mut [f32]| x.iter_mut().enumerate().for_each(|(i, x)| *x = pattern(i));
        surface.write(fill).map_err(text)?;
    }
    kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>()).map_err(text)?;
    outputs.first().ok_or("the program has no output")?.read(|y| y.to_vec()).map_err(text)
}

fn most_apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ferrane_cpu::CpuEngine;
    use ferrane_engine::Profile;
    use ferrane_sim::SimEngine;

    use super::*;
    use crate::bench::Effort;

    fn on(engine: Arc<dyn Engine>) -> Bench {
        let (weights, effort) = (ChainWeights::Shared, Effort::default());
        Bench { engine, title: "test".into(), threads: 1, weights, effort }
    }

    /// Probes that could not tell an engine without the chip's oddities from one with them would show nothing.
    #[test]
    fn probes_tell_engines_apart() {
        let cpu = on(Arc::new(CpuEngine::new(1)));
        let m4 = on(Arc::new(SimEngine::new(Profile::built_in("m4").unwrap(), 1)));
        assert_eq!((reload(&m4), mask(&m4)), (Ok(0.0), Ok(0.0)));
        // Weights of 3 in place of 1 add twice the largest input, 6/16.
        assert_eq!(reload(&cpu), Ok(0.75));
        assert!(mask(&cpu).unwrap() > 0.01);
        for bench in [&cpu, &m4] {
            assert!((runtime_weights(bench).unwrap() - 2.0).abs() < 1e-6);
        }
        assert_eq!(compile_limit(&cpu), Ok(None));
        // Those that the other probes compiled count.
        assert_eq!(compile_limit(&m4), Ok(Some(119)));
    }
}
