//! Benchmarks on the engines that are here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrane_cpu::CpuEngine;
use ferrane_engine::{
    Engine, EngineError, Kernel, Port, Profile, Recovering, Surface, SurfaceError, WeightFiles,
};
use ferrane_lab::bench::{Basis, Bench, Benchmark, ChainWeights, Effort, Metric, Report, published};
use ferrane_mil::Verified;
use ferrane_sim::SimEngine;

/// One run of each thing: nothing here looks at how long it took.
fn bench(engine: Arc<dyn Engine>) -> Bench {
    let effort = Effort { warmup: 0, runs: 1, budget: Duration::ZERO };
    Bench { engine, title: "test".into(), threads: 2, weights: ChainWeights::Shared, effort }
}

fn sim(chip: &str) -> Bench {
    bench(Arc::new(SimEngine::new(Profile::built_in(chip).unwrap(), 2)))
}

fn run(bench: &Bench, benchmark: Benchmark) -> Report {
    let mut told = 0;
    let report = bench.run(benchmark, |_| told += 1);
    assert_eq!(told, report.rows.len(), "every row is told of");
    report
}

fn value(report: &Report, config: &str, metric: Metric) -> f64 {
    let row =
        report.rows.iter().find(|row| row.config == config).unwrap_or_else(|| panic!("{config}: {report:?}"));
    *row.values.get(&metric).unwrap_or_else(|| panic!("{metric:?} of {row:?}"))
}

#[test]
fn the_model_is_within_a_tenth_of_what_was_published_of_the_m4() {
    let report = run(&sim("m4"), Benchmark::Peak);
    assert_eq!(report.basis, Basis::Modelled);
    let there = published(Benchmark::Peak, "m4-mini").unwrap();
    let metric = report.common_metric(&there).unwrap();
    assert_eq!((metric, report.rows.len()), (Metric::Tflops, 10));
    for (config, here, there) in report.beside(&there, metric) {
        let ratio = here.unwrap() / there.unwrap();
        assert!((ratio - 1.0).abs() < 0.1, "{config}: {ratio}");
    }
    let of_peak = value(&report, "128x 512ch 64", Metric::OfPeak);
    let tflops = value(&report, "128x 512ch 64", Metric::Tflops);
    let peak = Profile::built_in("m4").unwrap().speed.fp16_tflops.unwrap().value;
    assert!((of_peak - tflops / peak).abs() < 1e-9, "per cent of peak are TFLOPS over the chip's peak");
}

/// With weights of its own each layer of 512 channels waits for memory, which no published chain does.
#[test]
fn layers_with_weights_of_their_own_are_slower_and_never_compared_with_published_ones() {
    let shared = run(&sim("m4"), Benchmark::Peak);
    let own = run(&Bench { weights: ChainWeights::Own, ..sim("m4") }, Benchmark::Peak);
    for (shared, own) in shared.rows.iter().zip(&own.rows) {
        assert_eq!(own.config, format!("{} own", shared.config));
        assert!(own.values[&Metric::Ms] > shared.values[&Metric::Ms], "{own:?}");
        assert_eq!(own.values[&Metric::Gflop], shared.values[&Metric::Gflop]);
    }
    assert_eq!(own.common_metric(&published(Benchmark::Peak, "m4-mini").unwrap()), None);
}

#[test]
fn a_model_without_classes_says_that_all_are_alike() {
    let report = run(&sim("m5"), Benchmark::Qos);
    assert!(report.notes.iter().any(|note| note.contains("no classes")), "{report:?}");
    assert!(report.rows.iter().all(|row| row.values == report.rows[0].values && row.failure.is_none()));
    assert_eq!(report.common_metric(&published(Benchmark::Qos, "m5").unwrap()), Some(Metric::CompileMs));
}

/// An engine with classes, which remembers in which of them it compiled what.
struct Classed(CpuEngine, u32, Arc<Mutex<Vec<u32>>>);

impl Engine for Classed {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn profile(&self) -> &Profile {
        self.0.profile()
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        self.0.surface(port, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        self.2.lock().unwrap().push(self.1);
        self.0.compile(program, weights)
    }

    fn with_qos(&self, class: u32) -> Option<Arc<dyn Engine>> {
        Some(Arc::new(Self(CpuEngine::new(1), class, Arc::clone(&self.2))))
    }
}

#[test]
fn where_there_are_classes_each_is_timed() {
    let compiled = Arc::default();
    let classed = Recovering::new(Arc::new(Classed(CpuEngine::new(1), 21, Arc::clone(&compiled))));
    let report = run(&bench(Arc::new(classed)), Benchmark::Qos);
    assert!(report.rows.iter().all(|row| row.values.contains_key(&Metric::Ms)), "{report:?}");
    let mut classes = compiled.lock().unwrap().clone();
    classes.dedup();
    assert_eq!(classes, [0, 1, 5, 10, 21, 33, 47, 63]);
}

#[test]
fn what_the_engine_refuses_is_a_row_with_its_reason() {
    let report = run(&bench(Arc::new(CpuEngine::new(1))), Benchmark::Qos);
    assert_eq!(report.rows.len(), 8);
    for row in &report.rows {
        assert!(
            row.values.is_empty() && row.failure.as_ref().unwrap().contains("quality-of-service"),
            "{row:?}"
        );
    }
    // One process cannot compile for ever, which the simulated engine enforces.
    let tired = sim("m4");
    let reports: Vec<Report> = (0..30).map(|_| run(&tired, Benchmark::Dispatch)).collect();
    assert!(reports[0].rows.iter().all(|row| row.failure.is_none()), "{:?}", reports[0]);
    let failures: Vec<_> = reports[29].rows.iter().filter_map(|row| row.failure.as_ref()).collect();
    assert!(failures.len() == 6 && failures[0].contains("new process"), "{failures:?}");
}

#[test]
fn the_cpu_is_timed_on_non_zero_numbers() {
    let cpu = bench(Arc::new(CpuEngine::new(2)));
    let report = run(&cpu, Benchmark::Dispatch);
    assert_eq!(report.basis, Basis::Measured);
    for row in &report.rows {
        assert!(row.failure.is_none() && row.values[&Metric::Ms] > 0.0, "{row:?}");
        assert!(!row.values.contains_key(&Metric::OfPeak), "this machine's peak is not known: {row:?}");
    }
}

#[test]
fn a_step_is_modelled_kernel_by_kernel() {
    let report = run(&sim("m4"), Benchmark::Train);
    // 12 layers of 6 kernels.
    assert_eq!(value(&report, "stories110m 256 tokens", Metric::Dispatches), 72.0);
    assert!(value(&report, "stories110m 256 tokens", Metric::EngineMs) > 5.0);
    assert!(value(&report, "stories110m 256 tokens", Metric::Mj) > 0.0);
    let there = published(Benchmark::Train, "m4").unwrap();
    assert_eq!(report.common_metric(&there), Some(Metric::ForwardMs));
    let forward = value(&report, "stories110m 256 tokens baked", Metric::ForwardMs);
    assert!((forward / 9.6 - 1.0).abs() < 0.15, "{forward}");
}

#[test]
fn int8_rows_have_the_ratio_to_fp16() {
    let profile = Profile::built_in("m4").unwrap();
    let report = run(&bench(Arc::new(SimEngine::new(profile, 2))), Benchmark::Int8);
    for pair in report.rows.chunks(2) {
        assert!(pair[1].failure.is_none(), "{pair:?}");
        let (float, int8) = (pair[0].values[&Metric::Ms], pair[1].values[&Metric::Ms]);
        let ratio = value(&report, &pair[1].config, Metric::Ratio);
        assert!((ratio - float / int8).abs() < 1e-9 && ratio > 1.2, "{pair:?}");
    }
}

#[test]
fn a_report_survives_json() {
    let report = run(&sim("m4"), Benchmark::Compile);
    let text = serde_json::to_string(&report).unwrap();
    let read: Report = serde_json::from_str(&text).unwrap();
    assert_eq!((read.rows.len(), read.basis), (report.rows.len(), report.basis));
    for (config, a, b) in read.beside(&report, Metric::CompileMs) {
        // The last digit may differ.
        assert!((a.unwrap() / b.unwrap() - 1.0).abs() < 1e-12, "{config}");
    }
}
