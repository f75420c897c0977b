//! What a probe sees: an engine without its profile.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferrane_engine::{Engine, EngineError, Kernel, Port, Surface, WeightFiles};
use ferrane_mil::{Opset, Verified, text, verify};

use crate::finding::Trouble;
use crate::mil::{Mil, SAFE, port};

/// The MIL that programs are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// `program(major.minor)`
    pub version: (u32, u32),
    /// `func main<opset>`
    pub opset: Opset,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-{}", self.version.0, self.version.1, self.opset.name())
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (version, opset) = text.split_once('-')?;
            let (major, minor) = version.split_once('.')?;
            let version = (major.parse().ok()?, minor.parse().ok()?);
            Some(Self { version, opset: Opset::from_name(opset)? })
        };
        parts().ok_or_else(|| format!("`{text}` is not a dialect such as 1.3-ios18"))
    }
}

/// What an engine does with a program.
pub(crate) enum Answer {
    /// It gives these outputs.
    Values(Vec<Vec<f32>>),
    /// It refuses, though it takes the plainest program.
    Refused(EngineError),
}

/// Tells what the Neural Engine draws.
pub trait Meter {
    /// The mean watts while `work` runs.
    ///
    /// # Errors
    /// Why it cannot be told.
    fn watts(&self, work: &mut dyn FnMut()) -> Result<f64, String>;
}

/// For machines without a meter.
pub struct NoMeter;

impl Meter for NoMeter {
    fn watts(&self, _work: &mut dyn FnMut()) -> Result<f64, String> {
        Err("this machine does not tell what it draws".to_owned())
    }
}

/// An engine under examination.
pub(crate) struct Rig<'a> {
    meter: &'a dyn Meter,
    engine: Arc<dyn Engine>,
    pub(crate) dialect: Dialect,
    /// Programs given to the compiler so far.
    compiles: Cell<u64>,
}

impl<'a> Rig<'a> {
    pub(crate) fn new(engine: Arc<dyn Engine>, dialect: Dialect, meter: &'a dyn Meter) -> Self {
        Self { meter, engine, dialect, compiles: Cell::new(0) }
    }

    /// Programs given to the compiler so far, those it refused among them.
    pub(crate) fn compiles(&self) -> u64 {
        self.compiles.get()
    }

    /// True where time is only modelled, so that a large program costs the host more than it tells.
    pub(crate) fn is_modelled(&self) -> bool {
        self.engine.clock().is_some()
    }

    /// The program in the dialect under examination.
    pub(crate) fn program(&self, mil: &Mil) -> Result<Verified, Trouble> {
        self.program_in(mil, self.dialect)
    }

    pub(crate) fn program_in(&self, mil: &Mil, dialect: Dialect) -> Result<Verified, Trouble> {
        let input = |(name, [c, w]): &(&str, [usize; 2])| format!("tensor<fp16, [1, {c}, 1, {w}]> {name}");
        let inputs: Vec<String> = mil.inputs.iter().map(input).collect();
        let ((major, minor), opset) = (dialect.version, dialect.opset.name());
        let (inputs, body, outputs) = (inputs.join(", "), &mil.body, mil.outputs);
        let source = format!(
            "program({major}.{minor})\n{{\nfunc main<{opset}>({inputs}) {{\n{body}\n}} -> ({outputs});\n}}\n"
        );
        let parsed = text::parse(&source).map_err(|errors| Trouble::Program(errors.to_string()))?;
        verify(parsed.program).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Trouble::Program(errors.join("; "))
        })
    }

    /// Compiles and loads, as the engine will have it.
    pub(crate) fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Loaded, Compiling> {
        self.compiles.set(self.compiles.get() + 1);
        let kernel = self.engine.compile(program, weights).map_err(Compiling::Refused)?;
        let side = |ports: &[Port]| -> Result<Vec<Surface>, Trouble> {
            let most = ports.iter().map(Port::bytes).max().unwrap_or(0);
            ports.iter().map(|port| Ok(self.engine.surface(port, most)?)).collect()
        };
        let (inputs, outputs) = (side(kernel.inputs())?, side(kernel.outputs())?);
        Ok(Loaded { kernel, inputs, outputs })
    }

    /// A surface that claims so many bytes.
    pub(crate) fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, Trouble> {
        Ok(self.engine.surface(port, allocation)?)
    }

    /// Compiles a program and evaluates it once. A refusal counts only if the plainest program is still taken after it.
    pub(crate) fn ask(&self, mil: &Mil, weights: &WeightFiles, inputs: &[&[f32]]) -> Result<Answer, Trouble> {
        let program = self.program(mil)?;
        let error = match self.compile(&program, weights) {
            Ok(mut loaded) => match loaded.run(inputs)? {
                Ok(values) => return Ok(Answer::Values(values)),
                Err(error) => error,
            },
            Err(Compiling::Refused(error)) => error,
            Err(Compiling::Trouble(trouble)) => return Err(trouble),
        };
        self.control()?;
        Ok(Answer::Refused(error))
    }

    /// Whether the engine compiles and loads a program. A refusal counts only if it still does so with the plainest one.
    pub(crate) fn takes(&self, mil: &Mil, weights: &WeightFiles) -> Result<bool, Trouble> {
        match self.compile(&self.program(mil)?, weights) {
            Ok(_) => Ok(true),
            Err(Compiling::Refused(_)) => self.plainest(self.dialect).map(|_| false),
            Err(Compiling::Trouble(trouble)) => Err(trouble),
        }
    }

    /// The values a program gives; a refusal settles nothing.
    pub(crate) fn values(
        &self,
        mil: &Mil,
        weights: &WeightFiles,
        inputs: &[&[f32]],
    ) -> Result<Vec<Vec<f32>>, Trouble> {
        match self.ask(mil, weights, inputs)? {
            Answer::Values(values) => Ok(values),
            Answer::Refused(error) => {
                Err(Trouble::Unclear(format!("the program that would tell is refused: {error}")))
            }
        }
    }

    /// Evaluates the plainest program and looks at its results.
    pub(crate) fn control(&self) -> Result<(), Trouble> {
        self.control_in(self.dialect)
    }

    pub(crate) fn control_in(&self, dialect: Dialect) -> Result<(), Trouble> {
        let mut loaded = self.plainest(dialect)?;
        let x: Vec<f32> = (0..SAFE[0] * SAFE[1]).map(|i| i as f32 % 7.0 - 3.0).collect();
        let y = loaded.run(&[&x])?.map_err(|error| Trouble::Control(error.to_string()))?;
        match y[0].iter().zip(&x).all(|(y, x)| *y == x.max(0.0)) {
            true => Ok(()),
            false => Err(Trouble::Control("its relu is wrong".into())),
        }
    }

    /// The plainest program, loaded.
    fn plainest(&self, dialect: Dialect) -> Result<Loaded, Trouble> {
        let mil = Mil::new(SAFE, port("y", SAFE, "relu(x = x)"));
        match self.compile(&self.program_in(&mil, dialect)?, &WeightFiles::none()) {
            Ok(loaded) => Ok(loaded),
            Err(Compiling::Refused(error)) => Err(Trouble::Control(error.to_string())),
            Err(Compiling::Trouble(trouble)) => Err(trouble),
        }
    }

    /// A weight that differs from that of every run before, where it matters: a simulation has no cache.
    pub(crate) fn unlike_before(&self) -> f32 {
        if self.is_modelled() {
            return 0.5;
        }
        let random = RandomState::new().build_hasher().finish();
        // Any fp16 value from ½ to 1.
        0.5 + (random % 1024) as f32 / 2048.0
    }

    /// Seconds that one evaluation takes: by the engine's clock if it has one, else the median of many by the wall.
    pub(crate) fn seconds(&self, loaded: &mut Loaded) -> Result<f64, Trouble> {
        if let Some(before) = self.engine.clock() {
            loaded.evaluate()?;
            let passed = self.engine.clock().unwrap_or_default() - before;
            return Ok(passed.nanoseconds as f64 / 1e9);
        }
        for _ in 0..WARM_UP {
            loaded.evaluate()?;
        }
        let (begun, mut times) = (Instant::now(), Vec::new());
        while times.is_empty() || (times.len() < RUNS && begun.elapsed() < BUDGET) {
            let start = Instant::now();
            loaded.evaluate()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(times[times.len() / 2])
    }

    /// Watts that the engine draws while it evaluates: by its clock if it has one, else by the meter.
    pub(crate) fn watts(&self, loaded: &mut Loaded) -> Result<f64, Trouble> {
        if let Some(before) = self.engine.clock() {
            loaded.evaluate()?;
            let passed = self.engine.clock().unwrap_or_default() - before;
            return Ok(passed.nanojoules as f64 / passed.nanoseconds.max(1) as f64);
        }
        let mut done = Ok(());
        let watts = self.meter.watts(&mut || {
            let begun = Instant::now();
            while done.is_ok() && begun.elapsed() < METERED {
                done = loaded.evaluate();
            }
        });
        done?;
        watts.map_err(Trouble::Unclear)
    }

    /// Watts that it draws while nothing is asked of it; nothing where time is modelled, which does not pass then.
    pub(crate) fn idle_watts(&self) -> Result<f64, Trouble> {
        if self.is_modelled() {
            return Err(Trouble::Unclear("time is modelled, and none passes between evaluations".into()));
        }
        self.meter.watts(&mut || std::thread::sleep(METERED)).map_err(Trouble::Unclear)
    }

    /// Seconds that one evaluation takes right after `rest`, in which nothing is asked of the engine.
    pub(crate) fn seconds_after(&self, rest: Duration, loaded: &mut Loaded) -> Result<f64, Trouble> {
        std::thread::sleep(rest);
        let begun = Instant::now();
        loaded.evaluate()?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Seconds that compiling and loading takes: by the engine's clock if it has one, else by the wall.
    pub(crate) fn compile_seconds(&self, mil: &Mil, weights: &WeightFiles) -> Result<f64, Trouble> {
        let program = self.program(mil)?;
        let (before, start) = (self.engine.clock(), Instant::now());
        let compiled = self.compile(&program, weights);
        let wall = start.elapsed().as_secs_f64();
        compiled.map_err(Trouble::from)?;
        let modelled = self.engine.clock().zip(before).map(|(now, before)| now - before);
        Ok(modelled.map_or(wall, |passed| passed.compile_nanoseconds as f64 / 1e9))
    }
}

/// Evaluations that do not count, and those that do.
const WARM_UP: usize = 10;
const RUNS: usize = 50;
/// Time after which enough evaluations were timed.
const BUDGET: Duration = Duration::from_secs(2);
/// Time over which it is metered what is drawn: several of the seconds that meters sample.
const METERED: Duration = Duration::from_secs(6);

/// Why there is no kernel.
pub(crate) enum Compiling {
    /// The engine refuses.
    Refused(EngineError),
    /// Nothing to do with the program.
    Trouble(Trouble),
}

impl From<Trouble> for Compiling {
    fn from(trouble: Trouble) -> Self {
        Compiling::Trouble(trouble)
    }
}

impl From<Compiling> for Trouble {
    fn from(compiling: Compiling) -> Self {
        match compiling {
            Compiling::Refused(error) => {
                Trouble::Unclear(format!("the program that would tell is refused: {error}"))
            }
            Compiling::Trouble(trouble) => trouble,
        }
    }
}

/// A kernel with surfaces, those of a side claiming equal sizes.
pub(crate) struct Loaded {
    pub(crate) kernel: Box<dyn Kernel>,
    pub(crate) inputs: Vec<Surface>,
    pub(crate) outputs: Vec<Surface>,
}

impl Loaded {
    /// Writes inputs, evaluates, and reads outputs; or the engine's refusal.
    pub(crate) fn run(&mut self, inputs: &[&[f32]]) -> Result<Result<Vec<Vec<f32>>, EngineError>, Trouble> {
        for (surface, values) in self.inputs.iter().zip(inputs) {
            surface.write(|to| to.iter_mut().zip(values.iter()).for_each(|(to, value)| *to = *value))?;
        }
        let (inputs, outputs): (Vec<&Surface>, Vec<&Surface>) =
            (self.inputs.iter().collect(), self.outputs.iter().collect());
        if let Err(error) = self.kernel.evaluate(&inputs, &outputs) {
            return Ok(Err(error));
        }
        let read = |surface: &&Surface| surface.read(<[f32]>::to_vec);
        Ok(Ok(outputs.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Evaluates on whatever is in the surfaces.
    fn evaluate(&mut self) -> Result<(), Trouble> {
        let (inputs, outputs): (Vec<&Surface>, Vec<&Surface>) =
            (self.inputs.iter().collect(), self.outputs.iter().collect());
        self.kernel.evaluate(&inputs, &outputs).map_err(|error| Trouble::Unclear(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_read_as_it_is_written() {
        let dialect = Dialect { version: (1, 3), opset: Opset::Ios18 };
        assert_eq!(dialect.to_string().parse(), Ok(dialect));
        for wrong in ["", "1.3", "1-ios18", "1.3-ios99", "x.y-ios18"] {
            assert!(wrong.parse::<Dialect>().unwrap_err().contains("1.3-ios18"), "{wrong}");
        }
    }
}
