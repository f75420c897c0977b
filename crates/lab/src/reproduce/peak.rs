//! Peak throughput, and what the published weight files do.

use ferrane_engine::legalise;

use super::claims::table_id;
use super::outcome::Findings;
use super::{Figure, ruled_how, timed_how};
use crate::bench::measure::text;
use crate::bench::programs::{self, Arithmetic, Chain};
use crate::bench::{Bench, Benchmark, ChainWeights, Metric, Report, published};
use crate::chart::{Axis, Chart};

pub(super) fn run(bench: &Bench) -> Result<(Findings, Option<Figure>), String> {
    let report = bench.run(Benchmark::Peak, |_| ());
    let mut findings = Findings::default();
    of_table(&mut findings, bench, &report, Benchmark::Peak);
    for channels in [512, 384, 256] {
        let found = published_header(bench, channels).map(|()| 1.0);
        findings.refusable(format!("header-{channels}"), found, ruled_how(bench));
    }
    let figure = Figure {
        chart: bars(bench, &report)?,
        caption: "Rates of the ten published configurations, by depth and channels. The write-up's program failed on the last \
                  five; on a Mac mini M4 it ran."
            .into(),
    };
    Ok((findings, Some(figure)))
}

/// The rates of a benchmark's rows.
pub(super) fn of_table(findings: &mut Findings, bench: &Bench, report: &Report, benchmark: Benchmark) {
    for row in &report.rows {
        let rate = row.values.get(&Metric::Tflops).copied();
        let found = rate.ok_or_else(|| row.failure.clone().unwrap_or_else(|| "it has no rate".into()));
        findings.refusable(table_id(benchmark, &row.config), found, timed_how(bench));
    }
}

/// Compiles a chain whose weight file says what the published ones say: 524,288 bytes, whatever the channels.
fn published_header(bench: &Bench, channels: usize) -> Result<(), String> {
    /// Where a file's first chunk says how many bytes it has.
    const SIZE: std::ops::Range<usize> = 72..80;
    let weights = ChainWeights::Shared;
    let chain = Chain { depth: 32, channels, width: 64, arithmetic: Arithmetic::Float, weights };
    let program =
        legalise(chain.function(bench.compute()).map_err(text)?, bench.engine.profile()).map_err(text)?;
    let mut files = programs::weights(program.main()).map_err(text)?;
    let paths: Vec<String> = files.iter().map(|(path, _)| path.to_owned()).collect();
    for path in paths {
        let mut bytes = files.file(&path).map_err(text)?.to_vec();
        bytes[SIZE].copy_from_slice(&(512 * 512 * 2u64).to_le_bytes());
        files.insert(path, bytes);
    }
    bench.engine.compile(&program, &files).map(drop).map_err(text)
}

fn bars(bench: &Bench, report: &Report) -> Result<Chart, String> {
    let rates = |of: &Report| {
        let rate = |config: &str| {
            let row = of.rows.iter().find(|row| row.config == config);
            row.and_then(|row| row.values.get(&Metric::Tflops)).copied().unwrap_or(f64::NAN)
        };
        report.rows.iter().map(|row| rate(&row.config)).collect::<Vec<_>>()
    };
    let names = report.rows.iter().map(|row| row.config.trim_end_matches(" 64").to_owned());
    let mut chart = Chart::new("Peak throughput", Axis::names("", names), Axis::linear("TFLOPS").from_zero());
    for name in ["write-up", "m4-mini"] {
        let there = published(Benchmark::Peak, name).map_err(text)?;
        chart = chart.bars(format!("{}, published", there.on), rates(&there));
    }
    Ok(chart.bars(format!("here, {}", timed_how(bench)), rates(report)))
}
