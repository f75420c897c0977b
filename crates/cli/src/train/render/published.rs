//! The published trainer's lines, for the dashboard that reads them.
//!
//! The dashboard takes a JSON object a line with the fields below from stderr, finds the model and the report in lines of text,
//! and passes over what it does not know; its first version took steps from text, too. Their *step* is a micro-batch and their *batch* an update; here an update writes one of each,
//! and its times are those of all its micro-batches, backward passes included, where theirs were of the forward pass alone.

use std::io::{self, Write};

use ferrane_model::{flops::StepFlops, stage::Tokens};
use ferrane_train::metrics::Metrics;
use ferrane_train::run::{Event, ModelSummary, Report, RunSettings};
use serde_json::{Value, json};

/// What the published trainer takes for the engine's peak.
const PEAK_TFLOPS: f64 = 15.8;

/// Updates between those that are told in text, too.
const TEXT_EVERY: u64 = 10;

/// Writes a run's events in the published format.
#[derive(Debug)]
pub(crate) struct Published {
    settings: RunSettings,
    /// The best rate of the engine that a profile knows, in TFLOPS.
    peak: Option<f64>,
}

impl Published {
    pub(crate) fn new(settings: &RunSettings, peak: Option<f64>) -> Self {
        Self { settings: settings.clone(), peak }
    }

    /// Writes what an event is in the published format, if it is anything.
    pub(super) fn show(&self, event: &Event, to: &mut impl Write) -> io::Result<()> {
        match event {
            Event::Started { train_tokens, vocab, model, .. } => {
                let lines = self.header(*train_tokens, *vocab, model);
                lines.iter().try_for_each(|line| writeln!(to, "{line}"))?;
            }
            Event::Step(metrics) => {
                self.step(metrics).iter().try_for_each(|line| writeln!(to, "{line}"))?;
                if metrics.step == 1 || metrics.step.is_multiple_of(TEXT_EVERY) {
                    self.step_text(metrics).iter().try_for_each(|line| writeln!(to, "{line}"))?;
                }
            }
            Event::Restarting { step, compiles } => {
                writeln!(to, "[exec() restart step {step}, {compiles} compiles]")?;
            }
            Event::Finished { report, .. } => {
                self.report(report).iter().try_for_each(|line| writeln!(to, "{line}"))?;
            }
            _ => return Ok(()),
        }
        to.flush()
    }

    fn header(&self, tokens: u64, vocab: usize, model: &ModelSummary) -> Vec<String> {
        let RunSettings { shape, seq, micro_batches, lr, betas: [b1, b2], .. } = &self.settings;
        let shape = ferrane_model::ModelConfig { vocab, ..shape.clone() };
        let millions = |count: u64| count as f64 / 1e6;
        let (transformer, embedding) = (shape.transformer_parameters(), shape.embedding_parameters());
        let flops = self.flops(&shape);
        let (forward, attention, total) =
            (millions(flops.forward), millions(flops.attention), millions(flops.total()));
        let (kernels, weighted) = (model.kernels, model.kernels_with_weights);
        let mut lines = vec![
            format!("=== ANE Training: {} ({} layers) ===", self.settings.model, shape.layers),
            format!(
                "dim={} hidden={} heads={} seq={seq} vocab={} layers={}",
                shape.dim, shape.hidden, shape.heads, shape.vocab, shape.layers
            ),
            format!(
                "Params: {:.2}M (transformer {:.2}M + embed {:.2}M)",
                millions(shape.parameters()),
                millions(transformer),
                millions(embedding)
            ),
            format!("Kernels: {kernels} ({weighted} weight-bearing + {} static)", kernels - weighted),
            format!("Accum {micro_batches} steps per recompile | Adam LR={lr:.1e} b1={b1} b2={b2}"),
            format!(
                "FLOPs/step: fwd={forward:.0}M bwd_dx={forward:.0}M bwd_dW={forward:.0}M sdpa_bwd={attention:.0}M \
                 total={total:.0}M"
            ),
        ];
        if let Some(on_engine) = model.engine_flops {
            let on_engine = millions(on_engine);
            lines
                .push(format!("ANE FLOPs/step: {on_engine:.0}M (fwd+bwd_dx+sdpa_bwd) | CPU: dW+cls (cblas)"));
        }
        let megabytes = (tokens * self.settings.token_bytes as u64) as f64 / 1e6;
        lines.push(format!("Token data: {tokens} tokens ({megabytes:.1} MB)"));
        lines
    }

    /// Of a micro-batch, as theirs are.
    fn flops(&self, shape: &ferrane_model::ModelConfig) -> StepFlops {
        StepFlops::of(shape, Tokens { batch: self.settings.batch_size, seq: self.settings.seq })
    }

    fn step_text(&self, metrics: &Metrics) -> [String; 3] {
        let (accumulated, parts) = (self.settings.micro_batches, &metrics.parts);
        let each = |ms: f64| ms / accumulated as f64;
        [
            format!("step {:<4} loss={:.4}", metrics.step, metrics.loss),
            format!(
                "  [batch {accumulated}: compile={:.0}ms train={:.0}ms ({:.1}ms/step) compiles={}]",
                parts.compiling_ms,
                metrics.step_ms,
                each(metrics.step_ms),
                metrics.compiling.compiles
            ),
            format!(
                "    ane={:.1} io={:.1} cls={:.1} elem={:.1} rms={:.1} cblas_wait={:.1} ms/step",
                each(parts.engine_ms),
                each(parts.staging_ms),
                each(parts.head_ms),
                each(parts.update_ms),
                each(parts.norms_ms),
                each(parts.weight_gradients_ms)
            ),
        ]
    }

    fn report(&self, report: &Report) -> Vec<String> {
        let (wall, train) = (1e3 * report.wall_seconds, 1e3 * report.seconds.train);
        let percent = |ms: f64| 1e2 * ms / wall.max(1e-9);
        let each = report.ms_per_step / self.settings.micro_batches as f64;
        let flops = self.flops(&self.settings.shape).total() as f64;
        let mut lines = vec![
            "=== Efficiency Report ===".to_owned(),
            format!("Total steps:     {}", report.step),
            format!("Wall time:       {wall:.0} ms ({:.1} s)", report.wall_seconds),
            format!(
                "Compile time:    {:.0} ms ({:.1}%)",
                report.compiling.compile_ms,
                percent(report.compiling.compile_ms)
            ),
            format!("Train time:      {train:.0} ms ({:.1}%)", percent(train)),
            format!("Avg train:       {each:.1} ms/step"),
        ];
        if let Some(tflops) = report.neural_engine.and_then(|engine| engine.tflops) {
            lines.push(format!("ANE TFLOPS:      {tflops:.2} sustained, modelled"));
            lines
                .push(format!("ANE utilization: {:.1}% of {PEAK_TFLOPS} TFLOPS", 1e2 * tflops / PEAK_TFLOPS));
        }
        let energy = &report.measured_energy;
        lines.push(match energy.joules.zip(energy.watts) {
            Some((joules, watts)) => {
                format!("ANE energy:      {:.1} J ({:.2} W), {}", joules.ane, watts.ane, energy.how)
            }
            None => format!("ANE energy:      {}", energy.how),
        });
        lines.push(format!("Total TFLOPS:    {:.2} (ANE+CPU)", flops / (each * 1e9).max(1e-9)));
        lines
    }

    fn step(&self, metrics: &Metrics) -> Vec<Value> {
        let parts = &metrics.parts;
        let mut lines = vec![
            json!({
                "type": "step", "step": metrics.step, "loss": metrics.loss,
                "t_ane": parts.engine_ms, "t_io": parts.staging_ms, "t_cls": parts.head_ms,
                "t_elem": parts.update_ms, "t_rms": parts.norms_ms,
                "t_cblas_wait": parts.weight_gradients_ms, "compiles": metrics.compiling.compiles,
            }),
            json!({
                "type": "batch", "batch": self.settings.micro_batches, "compile_ms": parts.compiling_ms,
                "train_ms": metrics.step_ms,
                "ms_per_step": metrics.step_ms / self.settings.micro_batches as f64,
            }),
        ];
        if let (Some(modelled), Some(peak)) = (&metrics.modelled, self.peak) {
            let tflops = modelled.ane_utilisation * peak;
            lines.push(json!({
                "type": "perf", "ane_tflops": tflops, "ane_util_pct": 1e2 * tflops / PEAK_TFLOPS,
            }));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ferrane_model::Preset;
    use ferrane_train::compiling::Compiling;
    use ferrane_train::metrics::{Modelled, Parts};

    fn published() -> Published {
        let mut settings = RunSettings::defaults("stories110m", Preset::Stories110M.config());
        settings.micro_batches = 10;
        Published::new(&settings, Some(19.0))
    }

    fn metrics() -> Metrics {
        serde_json::from_value(json!({
            "step": 3, "loss": 2.5, "lr": 1e-3, "grad_norm": 1.0, "tokens": 30, "step_ms": 200.0,
            "tokens_per_second": 10.0, "loss_scale": 1.0,
        }))
        .unwrap()
    }

    fn keys(line: &Value) -> Vec<&str> {
        let mut keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        keys
    }

    /// The names that the dashboard looks up.
    #[test]
    fn lines_have_the_fields_the_dashboard_reads() {
        let metrics = Metrics {
            parts: Parts {
                engine_ms: 1.0,
                staging_ms: 2.0,
                head_ms: 3.0,
                norms_ms: 4.0,
                weight_gradients_ms: 5.0,
                update_ms: 6.0,
                compiling_ms: 7.0,
            },
            modelled: Some(Modelled { ane_ms: 50.0, ane_joules: 0.1, ane_utilisation: 0.5 }),
            compiling: Compiling { compiles: 72, compile_ms: 90.0, restarts: 0 },
            ..metrics()
        };
        let mut out = Vec::new();
        published().show(&Event::Step(metrics), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            keys(&lines[0]),
            ["compiles", "loss", "step", "t_ane", "t_cblas_wait", "t_cls", "t_elem", "t_io", "t_rms", "type"]
        );
        assert_eq!(keys(&lines[1]), ["batch", "compile_ms", "ms_per_step", "train_ms", "type"]);
        assert_eq!(keys(&lines[2]), ["ane_tflops", "ane_util_pct", "type"]);
        assert_eq!(
            lines.iter().map(|line| line["type"].as_str().unwrap()).collect::<Vec<_>>(),
            ["step", "batch", "perf"]
        );
        let times =
            ["t_ane", "t_io", "t_cls", "t_rms", "t_cblas_wait", "t_elem"].map(|key| lines[0][key].as_f64());
        assert_eq!(times, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].map(Some));
        assert_eq!((lines[1]["batch"].as_u64(), lines[1]["ms_per_step"].as_f64()), (Some(10), Some(20.0)));
        assert_eq!((lines[0]["compiles"].as_u64(), lines[1]["compile_ms"].as_f64()), (Some(72), Some(7.0)));
        assert_eq!(lines[2]["ane_tflops"].as_f64(), Some(9.5));
        let percent = lines[2]["ane_util_pct"].as_f64().unwrap();
        assert!((percent - 60.126).abs() < 1e-3, "{percent}");
    }

    #[test]
    fn the_header_is_the_published_one() {
        let summary = ModelSummary {
            dim: 768,
            hidden: 2048,
            heads: 12,
            kv_heads: 12,
            seq: 256,
            layers: 12,
            plan: ferrane_runtime::PlanChoice::Six,
            kernels: 72,
            kernels_with_weights: 60,
            weights: ferrane_runtime::WeightsMode::Baked,
            flops: 174_248_165_376,
            engine_flops: Some(93_012_885_504),
        };
        assert_eq!(
            published().header(20_658_981, 32_000, &summary),
            [
                "=== ANE Training: stories110m (12 layers) ===",
                "dim=768 hidden=2048 heads=12 seq=256 vocab=32000 layers=12",
                "Params: 109.53M (transformer 84.95M + embed 24.58M)",
                "Kernels: 72 (60 weight-bearing + 12 static)",
                "Accum 10 steps per recompile | Adam LR=5.0e-4 b1=0.9 b2=0.95",
                "FLOPs/step: fwd=43487M bwd_dx=43487M bwd_dW=43487M sdpa_bwd=6040M total=174248M",
                "ANE FLOPs/step: 93013M (fwd+bwd_dx+sdpa_bwd) | CPU: dW+cls (cblas)",
                "Token data: 20658981 tokens (41.3 MB)",
            ]
        );
    }

    /// What the dashboard's expressions pick out of text, each with the words around it that it needs.
    #[test]
    fn every_tenth_step_is_told_in_text_too() {
        let told = |step: u64| {
            let mut out = Vec::new();
            let metrics =
                Metrics { step, compiling: Compiling { compiles: 72, ..Default::default() }, ..metrics() };
            published().show(&Event::Step(metrics), &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            text.lines().filter(|line| !line.starts_with('{')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            told(20),
            [
                "step 20   loss=2.5000",
                "  [batch 10: compile=0ms train=200ms (20.0ms/step) compiles=72]",
                "    ane=0.0 io=0.0 cls=0.0 elem=0.0 rms=0.0 cblas_wait=0.0 ms/step",
            ]
        );
        assert_eq!((told(1).len(), told(3).len()), (3, 0));
    }

    #[test]
    fn without_a_modelled_engine_there_is_no_performance() {
        let mut out = Vec::new();
        published().show(&Event::Step(metrics()), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }
}
