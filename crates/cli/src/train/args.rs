//! The flags of `ferrane train`, which are also the keys of its TOML file.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{CommandFactory as _, Parser, value_parser};
use ferrane_model::config::RopeScaling;
use ferrane_train::data::Order;
use ferrane_train::run::{EngineChoice, Numerics, OptimizerKind, PlanChoice, WeightsMode};
use ferrane_train::schedule::Decay;
use ferrane_train::tiny::{TinyPreset, WhileCompiling};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Train a model and leave a run folder with its settings, metrics, checkpoints and the model.
///
/// Without arguments: trains preset nano on built-in stories in a minute or two. Every flag is also a key of CONFIG.toml;
/// flags win over the file, the file over the defaults. The run folder's config.toml has every setting.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Settings, one `flag = value` a line; a `[shape]` table changes the model's shape
    #[arg(value_name = "CONFIG.toml")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) given: Given,
}

/// What a user may say: each flag, each key. Absent means: as the layer below.
#[derive(clap::Args, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Given {
    /// Shape to train from scratch: nano, stories260k, stories15m, stories42m, stories110m, or a folder with config.json [default: nano]
    #[arg(long, value_name = "PRESET|DIR", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// Start from the weights, shape and tokenizer of a Hugging Face folder, or the weights and shape of a llama2.c file
    #[arg(long, value_name = "DIR|FILE.bin", help_heading = "Model")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) init: Option<PathBuf>,

    /// Built-in stories, a UTF-8 text (documents separated by <|endoftext|>), flat little-endian tokens, or a folder of such as `ferrane data prepare` makes [default: stories]
    #[arg(long, value_name = "stories|FILE.txt|FILE.bin|DIR", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    /// Bytes of a token in FILE.bin: 2 or 4 [default: 2]
    #[arg(long, value_name = "2|4", help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_bytes: Option<usize>,
    /// Which windows a step reads: every one once an epoch, shuffled; random ones; or all in order, wrapping [default: shuffled]
    #[arg(long, value_name = "shuffled|random|sequential", value_parser = parse_named::<Order>, help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) order: Option<Order>,
    /// Train only the tokens that occur in the data: the softmax runs over them alone, the others' rows stay as they were, and the saved model has all
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false", hide_possible_values = true, help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compact_vocab: Option<bool>,
    /// Seed of fresh weights, order, stories and samples [default: 1]
    #[arg(long, value_name = "S", value_parser = value_parser!(u64).range(..=i64::MAX as u64), help_heading = "Data")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,

    /// Optimiser updates of the whole run [default: 2200 with nano, else 1000]
    #[arg(long, value_name = "N", help_heading = "Step")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<u64>,
    /// Forward and backward passes whose gradients a step averages [default: 1]
    #[arg(long, value_name = "N", help_heading = "Step")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) micro_batches: Option<usize>,
    /// Sequences in a micro-batch [default: 2 with nano, else 1]
    #[arg(long, value_name = "N", help_heading = "Step")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) batch_size: Option<usize>,
    /// Tokens in a sequence [default: 256]
    #[arg(long, value_name = "N", help_heading = "Step")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<usize>,

    /// Peak learning rate [default: 0.004 with nano, else 0.0005]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lr: Option<f64>,
    /// How the learning rate goes after warm-up; wsd stays at the peak and falls at the end [default: cosine]
    #[arg(long, value_name = "constant|cosine|linear|wsd", value_parser = parse_named::<Decay>, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schedule: Option<Decay>,
    /// Steps in which the learning rate rises to its peak [default: 60 with nano, else 100]
    #[arg(long, value_name = "N", help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warmup: Option<u64>,
    /// Last learning rate as a fraction of the peak [default: 0.02 with nano, else 0.1]
    #[arg(long, value_name = "R", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_lr_ratio: Option<f64>,
    /// Last part of the run, in which a wsd schedule falls [default: 0.2]
    #[arg(long, value_name = "R", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decay_ratio: Option<f64>,
    /// Rule that updates the weights [default: adamw]
    #[arg(long, value_name = "adamw|lion|sgd", value_parser = parse_named::<OptimizerKind>, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) optimizer: Option<OptimizerKind>,
    /// Decay of the moments of adamw and lion [default: 0.9,0.99 with nano or lion, else 0.9,0.95]
    #[arg(long, value_name = "B1,B2", value_parser = parse_betas, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) betas: Option<Betas>,
    /// AdamW's epsilon [default: 1e-8]
    #[arg(long, value_name = "E", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eps: Option<f64>,
    /// Momentum of sgd [default: 0.9]
    #[arg(long, value_name = "M", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) momentum: Option<f64>,
    /// Decoupled weight decay, for matrices only [default: 0.1]
    #[arg(long, value_name = "W", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weight_decay: Option<f64>,
    /// Largest global gradient norm; 0 does not clip [default: 1]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clip: Option<f64>,
    /// Weight of the squared log of the softmax's sum in what is minimised; 0 for none [default: 0]
    #[arg(long, value_name = "W", allow_negative_numbers = true, help_heading = "Optimiser")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) z_loss: Option<f64>,

    /// Where MIL programs run: auto (the Neural Engine where there is one, else sim), ane, ane-client (by its other door), sim or cpu [default: auto]
    #[arg(long, value_name = "ENGINE", value_parser = parse_engine, help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) engine: Option<EngineChoice>,
    /// The chip whose profile the engine follows [default: this machine's with ane, else m4]
    #[arg(long, value_name = "CHIP", help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) chip: Option<String>,
    /// A profile of your own in TOML, followed instead of --chip; the run keeps a copy
    #[arg(long, value_name = "FILE", help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<PathBuf>,
    /// How sim computes: fast (fp16 results, fp32 accumulation) or faithful [default: fast]
    #[arg(long, value_name = "fast|faithful", value_parser = parse_numerics, help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) numerics: Option<Numerics>,
    /// Turn a rule of the chip off, e.g. concat-ok; once for each. `ferrane mil explain` lists the rules
    #[arg(long, value_name = "RULE-ok", help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) assume: Option<Vec<String>>,
    /// Report what the chip's rules refuse, and go on
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false", hide_possible_values = true, help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lenient: Option<bool>,
    /// Faults for sim to have: KIND@N or KIND@NxTIMES, several with commas (compile, slow-compile, load, slots, eval, timeout, daemon-restart) or seed=S:rate=R
    #[arg(long, value_name = "SPEC", help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) faults: Option<String>,

    /// How layers are cut into kernels: six (as published), extras, five, fused, fused-recompute, or auto (the cheapest by the chip's cost model; `ferrane mil cost --plan all` compares them) [default: six; with engine cpu, five]
    #[arg(long, value_name = "PLAN", value_parser = parse_named::<PlanChoice>, help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<PlanChoice>,
    /// Where kernels have their weights: streamed (inputs, compiled once), baked (constants, compiled again after each step; averages 10 micro-batches by default), or reload (files replaced under kernels; refused where outputs show that the engine goes on with the old ones) [default: streamed]
    #[arg(long, value_name = "streamed|baked|reload", value_parser = parse_weights, help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<WeightsMode>,
    /// Programs one process compiles at most; the run then goes on in a new one [default: what the engine says]
    #[arg(long, value_name = "N", help_heading = "Engine")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compile_budget: Option<usize>,

    /// Run the published two-layer demonstration instead of training a model: baked weights, and a new process whenever 100 programs are compiled
    #[arg(long, value_name = "tiny-mlp", value_parser = parse_named::<TinyPreset>, help_heading = "Demonstration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preset: Option<TinyPreset>,
    /// With --preset tiny-mlp, what happens while kernels are compiled: the next pass waits, or, as published, old kernels make another update at half the rate [default: wait]
    #[arg(long, value_name = "wait|half-rate", value_parser = parse_named::<WhileCompiling>, help_heading = "Demonstration")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) while_compiling: Option<WhileCompiling>,

    /// Folder of the run; must be new or empty [default: runs/NAME-N]
    #[arg(long, value_name = "DIR", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with a run where its last whole checkpoint left it; a larger --steps trains it further
    #[arg(long, value_name = "RUN", conflicts_with = "out", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<PathBuf>,
    /// Steps between checkpoints; 0 saves at the end only [default: 200]
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint_every: Option<u64>,
    /// Checkpoints that stay [default: 2]
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<usize>,
    /// Steps between evaluations on held-out data; 0 evaluates at the end only. Holds out the end of FILE.bin if not 0 [default: 0]
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eval_every: Option<u64>,
    /// Steps between samples; 0 samples at the end only [default: 0]
    #[arg(long, value_name = "N", help_heading = "Run")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sample_every: Option<u64>,

    /// Say nothing but warnings and errors
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false", hide_possible_values = true, help_heading = "Output")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) quiet: Option<bool>,
    /// One JSON object an event on stdout
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "true|false", hide_possible_values = true, help_heading = "Output")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) json: Option<bool>,

    /// Further lines on stderr: `published` is the format of the published trainer, for its dashboard
    #[arg(long, value_name = "published", value_parser = parse_named::<Telemetry>, help_heading = "Output")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) telemetry: Option<Telemetry>,

    /// Changes to the model's shape; in files only.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shape: Option<ShapeChanges>,
}

/// Whose format further lines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Telemetry {
    /// The published trainer's.
    Published,
}

/// β₁ and β₂.
pub(crate) type Betas = [f64; 2];

/// The `[shape]` table of a file: what differs from the preset or folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct ShapeChanges {
    pub(crate) dim: Option<usize>,
    pub(crate) hidden: Option<usize>,
    pub(crate) layers: Option<usize>,
    pub(crate) heads: Option<usize>,
    pub(crate) kv_heads: Option<usize>,
    pub(crate) head_dim: Option<usize>,
    pub(crate) vocab: Option<usize>,
    pub(crate) max_seq: Option<usize>,
    pub(crate) rms_eps: Option<f32>,
    pub(crate) rope_theta: Option<f32>,
    pub(crate) rope_scaling: Option<RopeScaling>,
    pub(crate) qk_norm: Option<bool>,
    pub(crate) residual_scale: Option<f32>,
    pub(crate) tied: Option<bool>,
}

/// The keys of `[shape]`.
pub(crate) const SHAPE_KEYS: [&str; 14] = [
    "dim",
    "hidden",
    "layers",
    "heads",
    "kv-heads",
    "head-dim",
    "vocab",
    "max-seq",
    "rms-eps",
    "rope-theta",
    "rope-scaling",
    "qk-norm",
    "residual-scale",
    "tied",
];

/// The keys of a file: every flag, and `shape`.
pub(crate) fn keys() -> Vec<String> {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        given: Given,
    }
    let command = Flags::command();
    let flags = command.get_arguments().filter_map(|flag| flag.get_long()).map(str::to_owned);
    flags.filter(|flag| flag != "help").chain(["shape".to_owned()]).collect()
}

pub(crate) fn parse_engine(text: &str) -> Result<EngineChoice, String> {
    parse_named(text)
}

pub(crate) fn parse_numerics(text: &str) -> Result<Numerics, String> {
    parse_named(text)
}

pub(crate) fn parse_weights(text: &str) -> Result<WeightsMode, String> {
    parse_named(text)
}

/// A name as files spell it. The error lists the names there are.
fn parse_named<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer};
    let from: StrDeserializer<'_, Error> = text.into_deserializer();
    T::deserialize(from).map_err(|error| error.to_string())
}

fn parse_betas(text: &str) -> Result<Betas, String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|part| f64::from_str(part.trim()).ok()).collect();
    numbers
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "expected two numbers such as 0.9,0.95".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let words = std::iter::once("train").chain(line.split_whitespace());
        Ok(Command::try_parse_from(words)?.args)
    }

    /// One value for every key; a key missing here or there is a compile or a parse error.
    const FILE: &str = r#"
        model = "nano"
        init = "m"
        data = "a.bin"
        token-bytes = 4
        order = "sequential"
        compact-vocab = true
        seed = 3
        steps = 10
        micro-batches = 2
        batch-size = 4
        seq = 32
        lr = 0.01
        schedule = "linear"
        warmup = 5
        min-lr-ratio = 0.2
        decay-ratio = 0.3
        optimizer = "lion"
        momentum = 0.8
        z-loss = 1e-4
        betas = [0.8, 0.9]
        eps = 1e-6
        weight-decay = 0.0
        clip = 0.0
        engine = "cpu"
        chip = "m4"
        profile = "p.toml"
        numerics = "fast"
        assume = ["concat-ok", "slots-ok"]
        lenient = true
        faults = "eval@3"
        plan = "fused"
        weights = "baked"
        compile-budget = 90
        preset = "tiny-mlp"
        while-compiling = "half-rate"
        out = "o"
        checkpoint-every = 7
        keep = 3
        eval-every = 2
        sample-every = 1
        quiet = true
        json = true
        telemetry = "published"
    "#;

    #[test]
    fn every_flag_is_a_key_and_means_the_same() {
        let from_file: Given = toml::from_str(FILE).unwrap();
        let flags = "--model nano --init m --data a.bin --token-bytes 4 --order sequential --compact-vocab --seed 3 --steps 10 \
            --micro-batches 2 --batch-size 4 --seq 32 --lr 0.01 --schedule linear --warmup 5 --min-lr-ratio 0.2 \
            --decay-ratio 0.3 --optimizer lion --momentum 0.8 --z-loss 1e-4 \
            --betas 0.8,0.9 --eps 1e-6 --weight-decay 0 --clip 0 --engine cpu --chip m4 --profile p.toml --numerics fast \
            --assume concat-ok --assume slots-ok --lenient --faults eval@3 \
            --plan fused --weights baked --compile-budget 90 --preset tiny-mlp --while-compiling half-rate --out o \
            --checkpoint-every 7 --keep 3 --eval-every 2 --sample-every 1 --quiet --json \
            --telemetry published";
        assert_eq!(parse(flags).unwrap().given, from_file);
        let set = toml::Table::try_from(&from_file).unwrap();
        let mut missing: Vec<String> = keys().into_iter().filter(|key| !set.contains_key(key)).collect();
        missing.sort();
        assert_eq!(missing, ["resume", "shape"]);
    }

    #[test]
    fn every_flag_is_documented() {
        let command = <Command as clap::CommandFactory>::command();
        for flag in command.get_arguments() {
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() > 10, "{:?}", flag.get_id());
        }
    }

    #[test]
    fn bad_values_say_what_would_be_good() {
        let refusal = |line: &str| parse(line).err().unwrap().to_string();
        assert!(refusal("--schedule cosin").contains("cosine"));
        assert!(refusal("--engine gpu").contains("sim"));
        assert!(refusal("--betas 0.9").contains("0.9,0.95"));
        assert!(refusal("--step 3").contains("--steps"));
        assert!(refusal("--resume a --out b").contains("--out"));
    }

    #[test]
    fn a_shape_has_the_keys_it_is_said_to_have() {
        let all: String = SHAPE_KEYS
            .iter()
            .map(|key| {
                format!(
                    "{key} = {}\n",
                    match *key {
                        "tied" | "qk-norm" => "true",
                        "rms-eps" | "rope-theta" | "residual-scale" => "1.5",
                        "rope-scaling" => {
                            "{ factor = 8, low-freq-factor = 1, high-freq-factor = 4, original-max-seq = 64 }"
                        }
                        _ => "2",
                    }
                )
            })
            .collect();
        let changes: ShapeChanges = toml::from_str(&all).unwrap();
        assert_eq!(toml::Table::try_from(&changes).unwrap().len(), SHAPE_KEYS.len());
    }
}
