//! `ferrane mil run`: executing a program on arrays.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ferrane_cpu::{CompileError, Executable, Options};
use ferrane_engine::{Engine, Port, Surface, WeightFiles};
use ferrane_mil::pass::{flatten_ports, order_ports};
use ferrane_mil::{DType, Function, Program, TensorType, ValueId, Verified, verify};
use ferrane_sim::SimEngine;
use ferrane_train::run::{EngineChoice, Numerics};
use half::f16;

use super::explain_numerics;
use super::npy;
use super::source::{self, LoadError};
use super::weights::{self, FolderWeights};
use crate::engine::{self, RuleFlags, Wanted, assuming, tell, threads};
use crate::failure::Failure;
use crate::profile::Flags;

/// Run a program on arrays of NumPy and write every output as an array.
///
/// An output goes to DIR/NAME.npy in its MIL type; types that NumPy lacks are written in the next wider one it has.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A .mil file, a folder with model.mil or a package; @model_path/ is the folder of the text
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The array of an input; once for each
    #[arg(long = "input", value_name = "NAME=FILE.npy", value_parser = parse_input)]
    inputs: Vec<(String, PathBuf)>,
    /// The folder for the outputs
    #[arg(long, value_name = "DIR", required_unless_present = "explain_numerics")]
    out: Option<PathBuf>,
    /// What executes it
    #[arg(long, value_name = "ENGINE", default_value = "cpu")]
    engine: Which,
    /// f32 keeps all values in fp32 (cpu, its default); fast rounds every result to its MIL type (both; the default of
    /// sim); faithful computes as the chip was measured to (sim)
    #[arg(long, value_name = "NUMERICS")]
    numerics: Option<Keep>,
    #[command(flatten)]
    profile: Flags,
    #[command(flatten)]
    rules: RuleFlags,
    /// Run it N times and say how long compiling and the fastest run took; arrays are read and written outside that time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Tell of every op how far its results are from fp32, and how many saturated (sim, faithful)
    #[arg(long)]
    explain_numerics: bool,
    /// Tell it as JSON
    #[arg(long, requires = "explain_numerics")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// The CPU: any program whose ops have a kernel
    Cpu,
    /// A simulated Neural Engine, with its limits and rules
    Sim,
    /// This machine's Neural Engine
    Ane,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    F32,
    Fast,
    Faithful,
}

fn parse_input(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.into(), file.into())),
        _ => Err("write NAME=FILE.npy".into()),
    }
}

/// The outputs: name, type, elements.
type Outputs = Vec<(String, TensorType, Vec<f32>)>;

/// How long compiling and the fastest run took.
struct Timing {
    compile: Duration,
    run: Duration,
}

/// Runs `times` times.
fn fastest(times: u32, mut run: impl FnMut() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let mut best = Duration::MAX;
    for _ in 0..times {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let numerics = match (args.engine, args.numerics) {
        (Which::Cpu, Some(Keep::Faithful)) => {
            return Err(Failure::usage("`numerics` faithful: the CPU computes as it does; use --engine sim"));
        }
        (Which::Sim, Some(Keep::F32)) => {
            return Err(Failure::usage(
                "`numerics` f32: the simulated engine rounds as the real one; use fast or faithful",
            ));
        }
        (Which::Ane, Some(_)) => {
            return Err(Failure::usage("`numerics`: the Neural Engine computes as it does; leave it out"));
        }
        (engine, given) if args.explain_numerics && (engine, given) != (Which::Sim, Some(Keep::Faithful)) => {
            return Err(Failure::usage(
                "`explain-numerics` tells of faithful numerics; add --engine sim --numerics faithful",
            ));
        }
        (Which::Cpu, None) => Keep::F32,
        (Which::Sim | Which::Ane, None) => Keep::Fast,
        (_, Some(numerics)) => numerics,
    };
    if args.engine == Which::Cpu && (args.rules.lenient || !args.rules.assume.is_empty()) {
        return Err(Failure::usage(
            "--assume and --lenient are about the simulated engine; give --engine sim",
        ));
    }
    let model = source::load(&args.path).map_err(LoadError::into_failure)?;
    let program = source::verified(&model, &args.path)?;
    refuse_huge(program.main())?;
    let inputs = read_inputs(program.main(), &args.inputs)?;
    let weights = FolderWeights::new(&model.folder);
    let times = args.repeat.unwrap_or(1);
    let (outputs, timing) = match args.engine {
        Which::Cpu => {
            let numerics = match numerics {
                Keep::F32 => ferrane_cpu::Numerics::F32,
                Keep::Fast | Keep::Faithful => ferrane_cpu::Numerics::Declared,
            };
            on_cpu(program.main(), &weights, &inputs, numerics, times)?
        }
        Which::Sim => {
            let numerics = match numerics {
                Keep::Faithful => ferrane_sim::Numerics::Faithful,
                Keep::F32 | Keep::Fast => ferrane_sim::Numerics::Fast,
            };
            let engine = SimEngine::new(assuming(args.profile.or_m4()?, &args.rules.assume)?, threads())
                .with_numerics(numerics)
                .lenient(args.rules.lenient);
            if let Some(caveat) = engine.caveat() {
                writeln!(io::stderr(), "{}: {caveat}", engine.profile().name)?;
            }
            let (outputs, timing) = on_engine(&program, &weights, &inputs, &engine, times)?;
            if args.explain_numerics {
                let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
                let rows =
                    ferrane_sim::explain(program.main(), &weights, &inputs, engine.profile(), threads());
                explain_numerics::show(&rows.map_err(Failure::failed)?, args.json)?;
            }
            (outputs, timing)
        }
        Which::Ane => {
            let wanted = Wanted {
                engine: EngineChoice::Ane,
                numerics: Numerics::Fast,
                assume: &args.rules.assume,
                lenient: args.rules.lenient,
                faults: None,
            };
            let (engine, _) = engine::open(&wanted, || args.profile.or_default(EngineChoice::Ane))?;
            on_engine(&program, &weights, &inputs, &*engine, times)?
        }
    };
    if let Some(folder) = &args.out {
        write_outputs(folder, &outputs)?;
    }
    if args.repeat.is_some() {
        let [compile, run] = [timing.compile, timing.run].map(|t| t.as_secs_f64() * 1e3);
        writeln!(io::stdout(), "compiled in {compile:.3} ms, fastest of {times} runs {run:.3} ms")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A text of a few bytes can name tensors of terabytes.
fn refuse_huge(f: &Function) -> Result<(), Failure> {
    const MOST: usize = 1 << 31;
    let tensors = f.values.iter().filter_map(|v| v.ty.as_tensor());
    let elements = tensors.fold(0usize, |n, t| n.saturating_add(t.elements()));
    match elements > MOST {
        true => Err(Failure::Failed(format!(
            "the values of `{}` have {elements} elements in all, more than the {MOST} that are run here",
            f.name
        ))),
        false => Ok(()),
    }
}

/// The elements of each input, in the function's order.
fn read_inputs(f: &Function, given: &[(String, PathBuf)]) -> Result<Vec<Vec<f32>>, Failure> {
    let mut files = BTreeMap::new();
    for (name, file) in given {
        if files.insert(name.as_str(), file).is_some() {
            return Err(Failure::Usage(format!("--input {name} is given twice")));
        }
    }
    let names: Vec<&str> = f.inputs.iter().map(|&v| f.name_of(v)).collect();
    if let Some(unknown) = files.keys().find(|name| !names.contains(name)) {
        return Err(Failure::Usage(format!(
            "the program has no input `{unknown}`; it has {}",
            names.join(", ")
        )));
    }
    let read = |&v: &ValueId| {
        let name = f.name_of(v);
        let ty = tensor(f, v)?;
        let file = files.get(name).ok_or_else(|| {
            Failure::Usage(format!("the input `{name}`, a {ty}, is not given; add --input {name}=FILE.npy"))
        })?;
        let array = npy::read(file).map_err(Failure::Failed)?;
        if array.shape != ty.shape {
            return Err(Failure::Failed(format!(
                "{} has shape {:?}, but the input `{name}` is {ty}",
                file.display(),
                array.shape
            )));
        }
        array.values.iter().map(|&x| element(x, ty.dtype)).collect::<Result<Vec<f32>, String>>().map_err(
            |why| Failure::Failed(format!("{} for the input `{name}`, a {ty}: {why}", file.display())),
        )
    };
    f.inputs.iter().map(read).collect()
}

fn tensor(f: &Function, v: ValueId) -> Result<&TensorType, Failure> {
    f.tensor_type(v).ok_or_else(|| {
        let value = f.value(v);
        Failure::Failed(format!("`{}` is a {}; only tensors can be given and returned", value.name, value.ty))
    })
}

/// `x` as an element of `dtype` that is held in fp32: rounded for floats, refused where an integer has no place.
fn element(x: f64, dtype: DType) -> Result<f32, String> {
    let y = x as f32;
    if dtype == DType::Fp16 {
        return Ok(f16::from_f64(x).to_f32());
    }
    if dtype == DType::Bool {
        return if x == 0.0 || x == 1.0 { Ok(y) } else { Err(format!("{x} is neither 0 nor 1")) };
    }
    if !dtype.is_int() {
        return Ok(y);
    }
    let bits = dtype.bits() as i32;
    let (least, past) = match dtype.name().starts_with('u') {
        true => (0.0, 2f64.powi(bits)),
        false => (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1)),
    };
    if x.fract() != 0.0 || x < least || x >= past {
        return Err(format!("{x} is not an {dtype}"));
    }
    match x.abs() < PAST_WHOLE {
        true => Ok(y),
        false => Err(format!("{x} cannot be held: integers are exact here below {PAST_WHOLE}")),
    }
}

/// From here on fp32, in which engines hold all values, does not tell an integer from its neighbour.
const PAST_WHOLE: f64 = 16_777_216.0;

fn on_cpu(
    f: &Function,
    weights: &FolderWeights,
    inputs: &[Vec<f32>],
    numerics: ferrane_cpu::Numerics,
    times: u32,
) -> Result<(Outputs, Timing), Failure> {
    let options = Options::new(numerics, threads());
    let explained = |error: CompileError| {
        let why = weights.failure().map_or(String::new(), |why| format!(": {why}"));
        Failure::Failed(format!("{error}{why}"))
    };
    let start = Instant::now();
    let mut executable = Executable::compile(f, weights, options).map_err(explained)?;
    let compile = start.elapsed();
    let mut outputs = Vec::with_capacity(f.outputs.len());
    for &v in &f.outputs {
        let ty = tensor(f, v)?.clone();
        let zeros = vec![0.0; ty.elements()];
        outputs.push((f.name_of(v).to_owned(), ty, zeros));
    }
    let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
    let mut slices: Vec<&mut [f32]> =
        outputs.iter_mut().map(|(_, _, elements)| elements.as_mut_slice()).collect();
    let run = fastest(times, || executable.run(&inputs, &mut slices).map_err(Failure::failed))?;
    Ok((outputs, Timing { compile, run }))
}

/// Runs the program as the trainer runs kernels: ports shaped as surfaces, in the order the engine binds them.
fn on_engine(
    program: &Verified,
    files: &FolderWeights,
    inputs: &[Vec<f32>],
    engine: &dyn Engine,
    times: u32,
) -> Result<(Outputs, Timing), Failure> {
    let declared = program.main();
    let function = order_ports(&flatten_ports(declared, 1).map_err(Failure::failed)?);
    let flat = Program {
        version: program.program().version,
        attrs: program.program().attrs.clone(),
        functions: vec![function],
    };
    let flat = verify(flat).map_err(|errors| Failure::failed(&errors[0]))?;
    let mut weights = WeightFiles::none();
    for path in weights::paths(flat.program()) {
        weights.insert(path.clone(), files.file(&path).map_err(Failure::Failed)?.to_vec());
    }
    let equal = engine.profile().ports.equal_allocation.value;
    let start = Instant::now();
    let compiled = engine.compile(&flat, &weights);
    let compile = start.elapsed();
    tell(engine)?;
    let mut kernel = compiled.map_err(Failure::failed)?;
    let surfaces = |ports: &[Port]| {
        let most = ports.iter().map(Port::bytes).max().unwrap_or(0);
        let surface = |port: &Port| engine.surface(port, if equal { most } else { port.bytes() });
        ports.iter().map(surface).collect::<Result<Vec<Surface>, _>>().map_err(Failure::failed)
    };
    let (sources, sinks) = (surfaces(kernel.inputs())?, surfaces(kernel.outputs())?);
    for (port, surface) in kernel.inputs().iter().zip(&sources) {
        let at = declared.inputs.iter().position(|&v| declared.name_of(v) == port.name);
        let elements = at.map(|at| &inputs[at]).into_iter().flatten();
        surface
            .write(|to| to.iter_mut().zip(elements).for_each(|(to, &from)| *to = from))
            .map_err(Failure::failed)?;
    }
    let ports: Vec<String> = kernel.outputs().iter().map(|p| p.name.clone()).collect();
    let (from, to): (Vec<&Surface>, Vec<&Surface>) = (sources.iter().collect(), sinks.iter().collect());
    let run = fastest(times, || kernel.evaluate(&from, &to).map_err(Failure::failed));
    tell(engine)?;
    let run = run?;
    let mut outputs = Vec::with_capacity(ports.len());
    for &v in &declared.outputs {
        let name = declared.name_of(v);
        let surface = ports.iter().position(|p| p == name).map(|at| &sinks[at]);
        let elements = surface.map(|s| s.read(<[f32]>::to_vec)).transpose().map_err(Failure::failed)?;
        outputs.push((name.to_owned(), tensor(declared, v)?.clone(), elements.unwrap_or_default()));
    }
    Ok((outputs, Timing { compile, run }))
}

fn write_outputs(folder: &Path, outputs: &Outputs) -> Result<(), Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::Failed(format!("cannot create {}: {error}", folder.display())))?;
    for (name, ty, elements) in outputs {
        if ty.dtype.is_int() && elements.iter().any(|x| x.is_nan()) {
            return Err(Failure::Failed(format!(
                "the output `{name}`, a {ty}, has an element that is not exact: a step computed an integer of \
                 {PAST_WHOLE} or more, or divided by zero"
            )));
        }
        let path = folder.join(format!("{name}.npy"));
        let bytes = npy::write(ty.dtype, &ty.shape, elements)
            .map_err(|why| Failure::Failed(format!("the output `{name}`: {why}")))?;
        fs::write(&path, bytes)
            .map_err(|error| Failure::Failed(format!("cannot write {}: {error}", path.display())))?;
        writeln!(io::stdout(), "{}: {ty}", path.display())?;
    }
    Ok(())
}
