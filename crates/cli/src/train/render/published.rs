//! The published trainer's lines, for the dashboard that reads them.
//!
//! The dashboard takes a JSON object a line with the fields below from stderr, finds the model in lines of text, and passes
//! over what it does not know. Their *step* is a micro-batch and their *batch* an update; here an update writes one of each,
//! and its times are those of all its micro-batches, backward passes included, where theirs were of the forward pass alone.

use std::io::{self, Write};

use ferrane_train::metrics::Metrics;
use ferrane_train::run::{Event, RunSettings};
use serde_json::{Value, json};

/// What the published trainer takes for the engine's peak.
const PEAK_TFLOPS: f64 = 15.8;

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
            Event::Started { train_tokens, vocab, .. } => {
                self.header(*train_tokens, *vocab).iter().try_for_each(|line| writeln!(to, "{line}"))?;
            }
            Event::Step(metrics) => {
                self.step(metrics).iter().try_for_each(|line| writeln!(to, "{line}"))?;
            }
            _ => return Ok(()),
        }
        to.flush()
    }

    fn header(&self, tokens: u64, vocab: usize) -> [String; 5] {
        let RunSettings { shape, seq, micro_batches, lr, betas: [b1, b2], .. } = &self.settings;
        let shape = ferrane_model::ModelConfig { vocab, ..shape.clone() };
        let millions = |count: u64| count as f64 / 1e6;
        let (transformer, embedding) = (shape.transformer_parameters(), shape.embedding_parameters());
        [
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
            format!("Accum {micro_batches} steps per recompile | Adam LR={lr:.1e} b1={b1} b2={b2}"),
            format!("Token data: {tokens} tokens"),
        ]
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
        let lines = published().header(20_658_981, 32_000);
        assert_eq!(lines[0], "=== ANE Training: stories110m (12 layers) ===");
        assert_eq!(lines[1], "dim=768 hidden=2048 heads=12 seq=256 vocab=32000 layers=12");
        assert_eq!(lines[2], "Params: 109.53M (transformer 84.95M + embed 24.58M)");
    }

    #[test]
    fn without_a_modelled_engine_there_is_no_performance() {
        let mut out = Vec::new();
        published().show(&Event::Step(metrics()), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }
}
