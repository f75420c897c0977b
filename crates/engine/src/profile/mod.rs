//! Profiles: what is known of one chip, system and door, as data with sources.
//!
//! A profile is a TOML file. Every number in it is a *figure*: a table with `value`, `source`, `confidence` and, where
//! they are known, `range` and `contradicted_by`. What chips share is written once: a file may say
//! `extends = "h16"` and then holds only what is its own. Families (`h13` … `h18`, and `ane` below them) speak for all their
//! chips; a figure that one chip measured and another inherits is marked [`Confidence::Extrapolated`] on the way, for
//! nobody measured it there.

mod load;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ferrane_mil::{DType, Opset, diagnostic::nearest};
use serde::{Deserialize, Deserializer, de::Error as _};

pub use load::ProfileError;

use crate::legality;

/// How sure a figure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Two or more independent measurements agree.
    Measured,
    /// One measurement.
    Single,
    /// Follows from other facts or from source code.
    Inferred,
    /// Carried over from another chip or system.
    Extrapolated,
    /// A property of Ferrane's own engines.
    Exact,
}

impl Confidence {
    /// The less sure of two. What is exact is surest.
    #[must_use]
    pub fn weaker(self, other: Self) -> Self {
        let rank = |c| match c {
            Confidence::Exact => 0,
            Confidence::Measured => 1,
            Confidence::Single => 2,
            Confidence::Inferred => 3,
            Confidence::Extrapolated => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Confidence::Measured => "measured",
            Confidence::Single => "measured once",
            Confidence::Inferred => "inferred",
            Confidence::Extrapolated => "extrapolated",
            Confidence::Exact => "exact",
        })
    }
}

/// A value with its source.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure<T> {
    /// The value.
    pub value: T,
    /// Who measured or stated it.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// Least and greatest value seen, where several were.
    #[serde(default)]
    pub range: Option<(f64, f64)>,
    /// What other sources say, where they contradict.
    #[serde(default)]
    pub contradicted_by: Option<String>,
}

/// The MIL text a compiler takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// `program(major.minor)`
    pub version: Figure<(u32, u32)>,
    /// `func main<opset>`
    #[serde(deserialize_with = "opset")]
    pub opset: Figure<Opset>,
    /// Scalars must be written `tensor<string, []>("x")`.
    pub verbose_scalars: Figure<bool>,
}

/// Extents and counts a compiler or engine refuses to go beyond.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Smallest width of an input, in elements.
    pub min_input_width: Figure<usize>,
    /// Largest width, height or inner extent of a product.
    pub max_extent: Figure<usize>,
    /// Largest number of channels.
    pub max_channels: Figure<usize>,
    /// Largest rank of a tensor.
    pub max_rank: Figure<usize>,
    /// Programs one process can hold loaded.
    pub slots: Figure<usize>,
    /// Programs one process can compile, those dropped again among them.
    pub compiles: Option<Figure<usize>>,
    /// Largest number of elements of a transpose.
    pub max_transpose: Option<Figure<usize>>,
    /// Widest convolution kernel, in elements.
    pub max_kernel_width: Option<Figure<usize>>,
    /// Highest convolution kernel, in elements.
    pub max_kernel_height: Option<Figure<usize>>,
    /// Longest axis of argmin and argmax.
    pub max_arg_axis: Option<Figure<usize>>,
    /// Most bytes of weights in one program.
    pub max_weight_bytes: Option<Figure<u64>>,
    /// Most convolutions in a row in one program.
    pub max_depth: Option<Figure<usize>>,
    /// Requests that can wait for the engine.
    pub queue: Option<Figure<usize>>,
}

/// How surfaces are bound.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// Inputs and outputs are bound in the alphabetical order of their names.
    pub alphabetical: Figure<bool>,
    /// All surfaces of a side must claim the same number of bytes.
    pub equal_allocation: Figure<bool>,
    /// Convolution weights may be computed or given as inputs.
    pub runtime_conv_weights: Figure<bool>,
}

/// The arithmetic of the engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numerics {
    /// How matrix products accumulate.
    pub accumulator: Figure<AccumulatorKind>,
    /// True if half-way cases are rounded away from zero, false if to even.
    pub ties_away: Figure<bool>,
    /// Magnitude of a sum at which it becomes infinite.
    pub accumulator_limit: Figure<f64>,
}

/// How matrix products accumulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccumulatorKind {
    /// Signed fixed point with 16 bits after the point.
    Fixed16,
    /// Tiles of unpublished rule; simulated as fixed point, as the best that is known.
    Tiles,
    /// Single precision.
    Fp32,
}

/// How fast the engine is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Speed {
    /// Time of the smallest evaluation, in microseconds.
    pub dispatch_us: Option<Figure<f64>>,
    /// The best that programs of many large convolutions reach, in fp16 TFLOPS.
    pub fp16_tflops: Option<Figure<f64>>,
    /// 128 convolutions of 512 channels, 64 wide, in TFLOPS.
    pub narrow_tflops: Option<Figure<f64>>,
    /// One large matrix product, in TFLOPS.
    pub matmul_tflops: Option<Figure<f64>>,
    /// The best with int8 weights and activations, in TOPS.
    pub int8_tops: Option<Figure<f64>>,
    /// How much faster int8 is than fp16.
    pub int8_speedup: Option<Figure<f64>>,
    /// Bandwidth of weights from memory, in GB/s.
    pub weights_gbs: Option<Figure<f64>>,
    /// Bandwidth of activations between programs and memory, in GB/s.
    pub activations_gbs: Option<Figure<f64>>,
    /// What fits into the engine before operands stream, in MB.
    pub working_set_mb: Option<Figure<f64>>,
    /// Engines that can work at once.
    pub engines: Option<Figure<usize>>,
    /// Time of the first evaluation after the engine has slept, in milliseconds.
    pub wake_ms: Option<Figure<f64>>,
    /// Idle time after which the engine sleeps, in seconds.
    pub sleep_s: Option<Figure<f64>>,
}

/// Parameters of the cost model that nobody published as such: they follow from points that somebody did publish.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CostFigures {
    /// Rate of the multiply-accumulate array on wide operands, dispatch apart, in fp16 TFLOPS.
    pub mac_tflops: Option<Figure<f64>>,
    /// Columns of an operand at which the array reaches half of that rate.
    pub half_width: Option<Figure<f64>>,
    /// How much faster a 3x3 convolution is than its operations say.
    pub conv3_speedup: Option<Figure<f64>>,
    /// Rate of ops on single elements, in 10⁹ elements a second.
    pub elementwise_gps: Option<Figure<f64>>,
    /// Rate of reductions, norms and softmax, in 10⁹ elements a second.
    pub reduction_gps: Option<Figure<f64>>,
    /// Rate of fp32 matrix products on the host of a trainer, in GFLOPS.
    pub host_gflops: Option<Figure<f64>>,
    /// Rate of the host's ops on single elements, in 10⁹ elements a second.
    pub host_gps: Option<Figure<f64>>,
}

/// What the engine draws, in watts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Power {
    /// Asleep.
    pub idle_w: Option<Figure<f64>>,
    /// Awake, with the multiply-accumulate array idle.
    pub active_w: Option<Figure<f64>>,
    /// Under full fp16 load.
    pub fp16_w: Option<Figure<f64>>,
    /// Under full int8 load.
    pub int8_w: Option<Figure<f64>>,
}

/// What a program costs before it runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compile {
    /// Compiling and loading a program of the published training pipeline, on average, in milliseconds.
    pub program_ms: Option<Figure<f64>>,
    /// What of that any program takes, as a share.
    pub fixed_share: Option<Figure<f64>>,
    /// What of that an op takes, as a share.
    pub op_share: Option<Figure<f64>>,
    /// What of that a megabyte of weights takes, as a share.
    pub megabyte_share: Option<Figure<f64>>,
    /// Compiling and loading one that is in the system's cache, in milliseconds.
    pub cached_ms: Option<Figure<f64>>,
    /// Loading alone, in milliseconds.
    pub load_ms: Option<Figure<f64>>,
}

/// What happens where a quirk is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The compiler refuses: `ANECCompile() FAILED`.
    RefuseCompile,
    /// The parser refuses: `InvalidMILProgram`.
    RefuseText,
    /// Loading fails: 0x50004 or 0x20004.
    FailLoad,
    /// Evaluation fails with status 0x1d.
    FailEvaluate,
    /// Wrong results and no error.
    Silent,
    /// Right and slow.
    Slow,
    /// The process, a service or the request is lost.
    Crash,
}

impl Effect {
    /// Its name in profiles and rules.
    pub fn name(self) -> &'static str {
        match self {
            Effect::RefuseCompile => "refuse-compile",
            Effect::RefuseText => "refuse-text",
            Effect::FailLoad => "fail-load",
            Effect::FailEvaluate => "fail-evaluate",
            Effect::Silent => "silent",
            Effect::Slow => "slow",
            Effect::Crash => "crash",
        }
    }
}

/// A rule of one chip and door, as data.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quirk {
    /// The rule in a sentence.
    pub what: String,
    /// What the system does.
    pub effect: Effect,
    /// The ops it is about; empty where it isn't about ops.
    #[serde(default)]
    pub ops: Vec<String>,
    /// The extent, magnitude or count from which it applies.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// Whether it holds here: some are known to be absent.
    pub holds: Figure<bool>,
}

/// What is known of one chip, system and door.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Short name, e.g. `m4`.
    pub name: String,
    /// What it describes, for people.
    pub title: String,
    /// Element type of computation.
    #[serde(deserialize_with = "dtype")]
    pub compute: Figure<DType>,
    /// The MIL text it takes.
    pub dialect: Dialect,
    /// What it refuses.
    pub limits: Limits,
    /// How surfaces are bound.
    pub ports: Ports,
    /// Its arithmetic.
    pub numerics: Numerics,
    /// Its speed.
    #[serde(default)]
    pub speed: Speed,
    /// Parameters of the cost model.
    #[serde(default)]
    pub cost: CostFigures,
    /// Its power.
    #[serde(default)]
    pub power: Power,
    /// What compiling costs.
    #[serde(default)]
    pub compile: Compile,
    /// Its rules beyond limits, by name.
    #[serde(default)]
    pub quirks: BTreeMap<String, Quirk>,
    /// Every figure as written, by its dotted key.
    #[serde(skip)]
    figures: BTreeMap<String, Figure<toml::Value>>,
    /// The ids of rules that were turned off.
    #[serde(skip)]
    assumed: BTreeSet<String>,
}

impl Profile {
    /// The names of the built-in profiles.
    pub fn names() -> impl Iterator<Item = &'static str> {
        load::CHIPS.iter().map(|(name, _)| *name)
    }

    /// A built-in profile.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`].
    pub fn built_in(name: &str) -> Result<Self, ProfileError> {
        match load::CHIPS.iter().find(|(n, _)| *n == name) {
            Some((name, text)) => Self::parse(name, text),
            None => Err(ProfileError::Unknown {
                name: name.into(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// Reads a profile from TOML, which may extend a built-in profile or family. `name` is for error messages.
    ///
    /// # Errors
    /// [`ProfileError`] for anything but exactly the known keys, and for figures that cannot be.
    pub fn parse(name: &str, text: &str) -> Result<Self, ProfileError> {
        load::profile(name, text)
    }

    /// Every figure, by its dotted key: for people and for checks.
    pub fn figures(&self) -> impl Iterator<Item = (&str, &Figure<toml::Value>)> {
        self.figures.iter().map(|(key, figure)| (key.as_str(), figure))
    }

    /// A figure by its dotted key, e.g. `speed.dispatch_us`.
    pub fn figure(&self, key: &str) -> Option<&Figure<toml::Value>> {
        self.figures.get(key)
    }

    /// A rule that holds here.
    #[must_use]
    pub fn quirk(&self, name: &str) -> Option<&Quirk> {
        self.quirks.get(name).filter(|quirk| quirk.holds.value)
    }

    /// Turns a rule off, as if the chip had it not. `name` is the id of a rule or a quirk, with or without `-ok` behind it:
    /// `concat-ok` assumes that concat is all right.
    ///
    /// # Errors
    /// [`ProfileError::UnknownRule`].
    pub fn assume(&mut self, name: &str) -> Result<(), ProfileError> {
        let id = name.strip_suffix("-ok").unwrap_or(name);
        let rule = legality::rule(id);
        let quirk = rule.map_or(Some(id), |rule| rule.quirk.as_deref());
        if rule.is_none() && !self.quirks.contains_key(id) {
            return Err(self.unknown_rule(id));
        }
        if let Some(quirk) = quirk.and_then(|quirk| self.quirks.get_mut(quirk)) {
            quirk.holds.value = false;
        }
        // What shapes and binds programs asks for figures, not for rules.
        match id {
            "input-width" => self.limits.min_input_width.value = 1,
            "extent" => self.limits.max_extent.value = i32::MAX as usize,
            "port-order" => self.ports.alphabetical.value = false,
            "port-sizes" => self.ports.equal_allocation.value = false,
            "conv-weight-runtime" => self.ports.runtime_conv_weights.value = true,
            _ => {}
        }
        self.assumed.insert(id.to_owned());
        Ok(())
    }

    /// True for a rule that was turned off.
    pub fn assumes(&self, id: &str) -> bool {
        self.assumed.contains(id)
    }

    fn unknown_rule(&self, id: &str) -> ProfileError {
        let ids = legality::rules().unwrap_or_default().iter().map(|rule| rule.id.as_str());
        let known: BTreeSet<&str> = ids.chain(self.quirks.keys().map(String::as_str)).collect();
        let nearest = nearest(id, known.iter().copied());
        let shares_word =
            |name: &&str| name.split('-').any(|word| word.len() > 2 && id.split('-').any(|w| w == word));
        let others = known.iter().copied().filter(|name| Some(*name) != nearest).filter(shares_word);
        let near: Vec<&str> = nearest.into_iter().chain(others).collect();
        ProfileError::UnknownRule {
            rule: id.into(),
            near: match near.is_empty() {
                true => String::new(),
                false => format!("near it: {}; ", near.join(", ")),
            },
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.title)
    }
}

/// Maps a figure given as text to its type.
fn named<'de, D: Deserializer<'de>, T>(
    d: D,
    what: &str,
    from_name: impl Fn(&str) -> Option<T>,
) -> Result<Figure<T>, D::Error> {
    let Figure { value, source, confidence, range, contradicted_by } = Figure::<String>::deserialize(d)?;
    let value = from_name(&value).ok_or_else(|| D::Error::custom(format!("`{value}` is not {what}")))?;
    Ok(Figure { value, source, confidence, range, contradicted_by })
}

fn dtype<'de, D: Deserializer<'de>>(d: D) -> Result<Figure<DType>, D::Error> {
    named(d, "an element type", DType::from_name)
}

fn opset<'de, D: Deserializer<'de>>(d: D) -> Result<Figure<Opset>, D::Error> {
    named(d, "an op set", Opset::from_name)
}

#[cfg(test)]
mod tests;
