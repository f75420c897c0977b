//! Tests as files: every `tests/mil/**/*.mil` of the repository is a test.
//!
//! The first line says what is tested:
//!
//! * `// test: text`: the program is read; printing it and reading that gives the same program.
//! * `// test: verify`: the program is read and verified.
//! * `// test: run`: the program is read, verified, and run for each `// run: x = 1 2; w = 3 -> y = 3 6 ~ 0.01` (inputs and
//!   outputs by name, one number for all elements or one for each; the tolerance is relative to the largest), by the
//!   interpreter and by the executor, which must agree with each other to fp32 rounding.
//! * `// test: chip NAME`: the program is read, verified, and checked against the rules of that chip.
//! * `// test: pass NAME`: what stands before the line `// after` becomes what stands behind it. Both are interpreted on the
//!   same inputs and must agree, where the interpreter executes them.
//!
//! Errors, warnings and notes that are expected stand on their line: `// error: MIL0101 part of the message`. All that are
//! found must be expected and the reverse. `FERRANE_BLESS=1 cargo test -p ferrane-cpu --test filetests` writes what comes after
//! passes into the files; read the difference before committing it.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use common::NoWeights;
use ferrane_cpu::{Executable, Numerics};
use ferrane_engine::{Profile, legality};
use ferrane_mil::diagnostic::{Diagnostics, Severity};
use ferrane_mil::interp::{Options, Tensor, Values, interpret};
use ferrane_mil::text::{Dialect, Parsed, parse, print, structural_difference};
use ferrane_mil::{Function, Program, TensorType, ValueId, pass, verify};
use libtest_mimic::{Arguments, Failed, Trial};

const AFTER: &str = "\n// after\n";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/mil");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no tests in {}", root.display());
    let trial = |file: PathBuf| {
        let name = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
        Trial::test(name, move || run(&file).map_err(Failed::from))
    };
    libtest_mimic::run(&arguments, files.into_iter().map(trial).collect()).exit_code()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "mil") {
            files.push(path);
        }
    }
}

fn run(file: &Path) -> Result<(), String> {
    let source = fs::read_to_string(file).map_err(|e| e.to_string())?;
    let header = source.lines().next().and_then(|line| line.strip_prefix("// test: "));
    let words: Vec<&str> = header.ok_or("the first line must be `// test: …`")?.split_whitespace().collect();
    match words[..] {
        ["text"] => text(&source),
        ["verify"] => verified(&source, None).map(|_| ()),
        ["chip", name] => verified(&source, Some(name)).map(|_| ()),
        ["run"] => runs(&source),
        ["pass", name] => rewrite(file, &source, name),
        _ => Err(format!("there is no test `{}`", words.join(" "))),
    }
}

fn text(source: &str) -> Result<(), String> {
    let (found, parsed) = match parse(source) {
        Ok(parsed) => (parsed.warnings.clone(), Some(parsed)),
        Err(errors) => (errors, None),
    };
    compare(source, &found)?;
    parsed.map_or(Ok(()), |parsed| round_trip(&parsed.program))
}

fn round_trip(program: &Program) -> Result<(), String> {
    let dialect = Dialect::of(program);
    let canonical = print(program, dialect).map_err(|e| e.to_string())?;
    let again = parse(&canonical).map_err(|e| format!("{e}\n{canonical}"))?.program;
    match structural_difference(program, &again) {
        Some(difference) => Err(format!("printing changes the program: {difference}\n{canonical}")),
        None => Ok(()),
    }
}

/// The program, if it verifies, and is legal on `chip`, as expected.
fn verified(source: &str, chip: Option<&str>) -> Result<Option<Program>, String> {
    let Parsed { program, source_map, warnings } = parse(source).map_err(|e| e.to_string())?;
    let mut found = warnings;
    let errors = verify(program.clone()).err();
    if let Some(errors) = &errors {
        found.0.extend(Diagnostics::of_verifier(errors, &program, Some(&source_map)));
    }
    if let Some(chip) = chip {
        let profile = Profile::built_in(chip).map_err(|e| e.to_string())?;
        found.0.extend(legality::check(&program, Some(&source_map), &profile).0);
    }
    found.locate(source);
    compare(source, &found)?;
    round_trip(&program)?;
    Ok(errors.is_none().then_some(program))
}

/// Every diagnostic must be expected on its line and every expected one found.
fn compare(source: &str, found: &Diagnostics) -> Result<(), String> {
    let mut expected = Vec::new();
    for (i, line) in source.lines().enumerate() {
        let marks = [
            (Severity::Error, "// error: "),
            (Severity::Warning, "// warning: "),
            (Severity::Note, "// note: "),
        ];
        for (severity, mark) in marks {
            // Several may stand on a line.
            for text in line.split(mark).skip(1) {
                let text = text.split(" // ").next().unwrap_or(text);
                let (code, message) = text.split_once(' ').unwrap_or((text, ""));
                expected.push((i + 1, severity, code.trim().to_owned(), message.trim().to_owned()));
            }
        }
    }
    let mut problems = Vec::new();
    for d in found.iter() {
        let line = d.position.map_or(1, |p| p.line);
        let fits = |(l, s, code, message): &(usize, Severity, String, String)| {
            *l == line
                && *s == d.severity
                && *code == d.code.to_string()
                && d.message.contains(message.as_str())
        };
        match expected.iter().position(fits) {
            Some(at) => drop(expected.remove(at)),
            None => problems.push(format!("not expected: line {line}: {d}")),
        }
    }
    problems.extend(expected.iter().map(|e| format!("not found: line {}: {} {} {}", e.0, e.1, e.2, e.3)));
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn runs(source: &str) -> Result<(), String> {
    let program = verified(source, None)?.ok_or("a program with errors cannot run")?;
    let f = program.main().ok_or("no function")?;
    let directives: Vec<&str> =
        source.lines().filter_map(|line| line.trim().strip_prefix("// run: ")).collect();
    if directives.is_empty() {
        return Err("there is no `// run:`".into());
    }
    directives
        .into_iter()
        .try_for_each(|directive| run_once(f, directive).map_err(|e| format!("{directive}: {e}")))
}

fn run_once(f: &Function, directive: &str) -> Result<(), String> {
    let (inputs, rest) = directive.split_once("->").ok_or("write `inputs -> outputs`")?;
    let (outputs, tolerance) = match rest.split_once('~') {
        Some((outputs, tolerance)) => (outputs, tolerance.trim().parse::<f64>().map_err(|e| e.to_string())?),
        None => (rest, 0.0),
    };
    let inputs = tensors(f, inputs)?;
    let values = interpret(f, &inputs, &|_, _| None, rounding()).map_err(|e| e.to_string())?;
    for (name, expected) in tensors(f, outputs)? {
        let given = values.named(&name).ok_or(format!("no value `{name}`"))?;
        let largest = expected.data.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
        let same = |(a, b): (&f64, &f64)| {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * largest
        };
        if !given.data.iter().zip(&expected.data).all(same) {
            return Err(format!("`{name}` is {:?}", given.data));
        }
    }
    executed(f, &inputs, &values)
}

/// What the executor makes of the inputs must be what the interpreter made of them.
fn executed(f: &Function, inputs: &HashMap<String, Tensor>, expected: &Values<'_>) -> Result<(), String> {
    let given: Vec<Vec<f32>> = f
        .inputs
        .iter()
        .map(|&v| inputs.get(f.name_of(v)).map(|t| t.data.iter().map(|&x| x as f32).collect()))
        .collect::<Option<_>>()
        .ok_or("an input is missing")?;
    let given: Vec<&[f32]> = given.iter().map(Vec::as_slice).collect();
    let options = ferrane_cpu::Options::new(Numerics::Declared, 1);
    let mut executable = Executable::compile(f, &NoWeights, options).map_err(|e| e.to_string())?;
    let elements = |&v: &ValueId| vec![0.0f32; f.tensor_type(v).map_or(0, TensorType::elements)];
    let mut made: Vec<Vec<f32>> = f.outputs.iter().map(elements).collect();
    let mut slices: Vec<&mut [f32]> = made.iter_mut().map(Vec::as_mut_slice).collect();
    executable.run(&given, &mut slices).map_err(|e| e.to_string())?;
    for ((name, expected), made) in expected.outputs().zip(&made) {
        let largest = expected.data.iter().filter(|x| x.is_finite()).fold(1e-3, |m: f64, x| m.max(x.abs()));
        // A step of fp16 at the largest element, for the executor sums in fp32 and the interpreter in f64.
        let same = |(a, b): (&f32, &f64)| {
            let a = f64::from(*a);
            a == *b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= largest / 1024.0
        };
        if !made.iter().zip(&expected.data).all(same) {
            return Err(format!("the executor makes `{name}` {made:?}, the interpreter {:?}", expected.data));
        }
    }
    Ok(())
}

fn rounding() -> Options {
    Options { round_to_dtype: true, ..Options::default() }
}

/// `x = 1 2; y = 3` as tensors of the types of those values.
fn tensors(f: &Function, text: &str) -> Result<HashMap<String, Tensor>, String> {
    let mut all = HashMap::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, numbers) = part.split_once('=').ok_or("write `name = numbers`")?;
        let name = name.trim();
        let ty = f.find(name).and_then(|v| f.tensor_type(v)).ok_or(format!("no tensor `{name}`"))?;
        let numbers = numbers.split_whitespace().map(|n| n.parse::<f64>().map_err(|e| format!("{n}: {e}")));
        let mut data = numbers.collect::<Result<Vec<f64>, _>>()?;
        if data.len() == 1 {
            data = vec![data[0]; ty.elements()];
        }
        if data.len() != ty.elements() {
            return Err(format!("{} numbers for `{name}`, a {ty}", data.len()));
        }
        all.insert(name.to_owned(), Tensor::new(ty.shape.clone(), data));
    }
    Ok(all)
}

fn rewrite(file: &Path, source: &str, name: &str) -> Result<(), String> {
    let (before, after) = source.split_once(AFTER).unwrap_or((source, ""));
    let program = parse(before).map_err(|e| e.to_string())?.program;
    let f = program.main().ok_or("no function")?.clone();
    let result = apply(name, &program)?;
    if let Err(errors) = verify(result.clone()) {
        return Err(format!("the result does not verify: {}", errors[0]));
    }
    same_values(&f, result.main().ok_or("no function")?)?;
    let given = print(&result, Dialect::of(&result)).map_err(|e| e.to_string())?;
    if std::env::var_os("FERRANE_BLESS").is_some() {
        return fs::write(file, format!("{before}{AFTER}{given}")).map_err(|e| e.to_string());
    }
    match given == after {
        true => Ok(()),
        false => Err(format!("the result is\n{given}")),
    }
}

fn apply(name: &str, program: &Program) -> Result<Program, String> {
    let of_function: fn(&Function) -> Result<Function, pass::PassError> = match name {
        "dce" => |f| Ok(pass::dce(f)),
        "fold" => pass::fold,
        "cse" => |f| Ok(pass::cse(f)),
        "clean_up" => |f| Ok(pass::clean_up(f)),
        "decompose" => pass::decompose,
        "split_bias" => pass::split_bias,
        "tile_products_32" => |f| pass::tile_products(f, 32),
        "uniform_outputs" => pass::uniform_outputs,
        "order_ports" => |f| Ok(pass::order_ports(f)),
        "lower_to_fp16" => pass::lower_to_fp16,
        "order_products" => pass::order_products,
        "widen_inputs_32" => |f| pass::widen_inputs(f, 32),
        "flatten_ports" => |f| pass::flatten_ports(f, 1),
        "weights_to_inputs" => |f| Ok(pass::weights_to_inputs(f)?.function),
        "transposed_weights" => |f| Ok(pass::transposed_weights(f)?.0),
        "to_verbose" => return Ok(pass::lower_dialect(program, Dialect::Verbose)),
        "to_modern" => return Ok(pass::lower_dialect(program, Dialect::Modern)),
        _ => return Err(format!("there is no pass `{name}`")),
    };
    let mut result = program.clone();
    for f in &mut result.functions {
        *f = of_function(f).map_err(|e| e.to_string())?;
    }
    Ok(result)
}

/// Interprets both on the same inputs. Where a pass changes the ports' shapes, or an op or weight cannot be interpreted,
/// the text alone decides.
fn same_values(before: &Function, after: &Function) -> Result<(), String> {
    let ports = |f: &Function| -> Vec<(String, TensorType)> {
        let mut all: Vec<_> = f
            .inputs
            .iter()
            .chain(&f.outputs)
            .filter_map(|&v| Some((f.name_of(v).to_owned(), f.tensor_type(v)?.clone())))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    if ports(before) != ports(after) {
        return Ok(());
    }
    let inputs: HashMap<String, Tensor> = before
        .inputs
        .iter()
        .filter_map(|&v| {
            let ty = before.tensor_type(v)?;
            let data: Vec<f64> = (0..ty.elements()).map(|i| ((i * 37 % 19) as f64 - 9.0) / 8.0).collect();
            Some((before.name_of(v).to_owned(), Tensor::new(ty.shape.clone(), data)))
        })
        .collect();
    let evaluate = |f| interpret(f, &inputs, &|_, _| None, rounding());
    let Ok(expected) = evaluate(before) else { return Ok(()) };
    let given = evaluate(after).map_err(|e| format!("the result cannot be run: {e}"))?;
    agree(&expected, &given)
}

fn agree(expected: &Values<'_>, given: &Values<'_>) -> Result<(), String> {
    for (name, a) in expected.outputs() {
        let b = given.named(name).ok_or(format!("the result has no `{name}`"))?;
        let largest = a.data.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        let far = |(x, y): (&f64, &f64)| (x - y).abs() > 4e-3 * largest;
        if a.data.iter().zip(&b.data).any(far) {
            return Err(format!("`{name}` is {:?} before and {:?} after", a.data, b.data));
        }
    }
    Ok(())
}
