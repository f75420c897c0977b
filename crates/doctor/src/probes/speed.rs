//! How fast the engine is: what each thing takes that is added, so that what all programs take alike falls out.

use std::sync::Arc;

use ferrane_engine::WeightFiles;
use ferrane_mil::Opset;

use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{
    Mil, SAFE, blob, constant, conv, convolution, extents, noise, op, path, port, weight, weight_int8,
};
use crate::rig::{Loaded, Rig};
use crate::search::{Limit, largest};

/// A program with inputs that are not zero, for hardware is quicker on zeros.
pub(super) fn load(rig: &Rig, mil: &Mil, weights: &WeightFiles) -> Result<Loaded, Trouble> {
    let loaded = rig.compile(&rig.program(mil)?, weights)?;
    for surface in &loaded.inputs {
        surface.write(|to| to.copy_from_slice(&noise(to.len(), 1.0)))?;
    }
    Ok(loaded)
}

fn seconds(rig: &Rig, mil: &Mil, weights: &WeightFiles) -> Result<f64, Trouble> {
    rig.seconds(&mut load(rig, mil, weights)?)
}

/// Seconds that each thing more takes, from a program of `few` and one of `many`.
fn each(
    rig: &Rig,
    (few, many): (usize, usize),
    weights: &WeightFiles,
    mil: impl Fn(usize) -> Mil,
) -> Result<f64, Trouble> {
    let (short, long) = (seconds(rig, &mil(few), weights)?, seconds(rig, &mil(many), weights)?);
    match (long - short) / (many - few) as f64 {
        each if each > 0.0 => Ok(each),
        _ => Err(Trouble::Unclear(format!("{many} ops take {long:.3e} s, and {few} of them {short:.3e} s"))),
    }
}

/// `count` statements from `x` to `y`, each by its number, its result and its operand.
fn chain(count: usize, link: impl FnMut(usize, &str, &str) -> String) -> String {
    chain_between(("x", "y"), count, link)
}

fn chain_between(
    (first, last): (&str, &str),
    count: usize,
    mut link: impl FnMut(usize, &str, &str) -> String,
) -> String {
    let (mut body, mut x) = (String::new(), first.to_owned());
    for i in 1..=count {
        let y = if i == count { last.to_owned() } else { format!("t{i}") };
        body += &link(i, &y, &x);
        x = y;
    }
    body
}

/// Functions one after the other, of two kinds so that none can be left out.
pub(super) fn functions(shape: [usize; 2], count: usize) -> Mil {
    let link =
        |i: usize, y: &str, x: &str| port(y, shape, &format!("{}(x = {x})", ["sigmoid", "tanh"][i % 2]));
    Mil::new(shape, chain(count, link))
}

pub(super) fn dispatch(rig: &Rig) -> Result<Found, Trouble> {
    let none = WeightFiles::none();
    let elements = |width: usize| (SAFE[0] * width) as f64;
    let function = each(rig, (1, 9), &none, |count| functions([SAFE[0], 1024], count))? / elements(1024);
    let (narrow, wide) = (256, 2048);
    let time = |width| seconds(rig, &functions([SAFE[0], width], 1), &none);
    let (short, long) = (time(narrow)?, time(wide)?);
    let element = (long - short) / (elements(wide) - elements(narrow));
    let floor = short - element * elements(narrow);
    if floor <= 0.0 || element <= function {
        return Err(Trouble::Unclear(format!(
            "{short:.3e} s for {narrow} columns, {long:.3e} s for {wide}, {function:.3e} s a function of an element"
        )));
    }
    // An element goes in and comes out, 2 bytes each.
    Ok(Found::default()
        .timed("speed.dispatch_us", floor * 1e6)
        .timed("speed.activations_gbs", 4.0 / (element - function) / 1e9)
        .timed("cost.elementwise_gps", 1.0 / function / 1e9))
}

pub(super) fn reductions(rig: &Rig) -> Result<Found, Trouble> {
    let shape = [SAFE[0], 1024];
    let program = |count| {
        let link = |_: usize, y: &str, x: &str| port(y, shape, &format!("softmax(axis = axis, x = {x})"));
        Mil::new(shape, constant("int32", "axis", "1") + &chain(count, link))
    };
    let softmax = each(rig, (1, 5), &WeightFiles::none(), program)?;
    Ok(Found::default().timed("cost.reduction_gps", (shape[0] * shape[1]) as f64 / softmax / 1e9))
}

/// Convolutions of `channels`, each by a weight of its own.
fn convolutions(channels: usize, count: usize) -> Mil {
    let shape = [channels, SAFE[1]];
    let link = |i: usize, y: &str, x: &str| {
        let w = format!("w{i}");
        blob(&w, "fp16", &[channels, channels, 1, 1], &w) + &conv(y, shape, &w, x)
    };
    Mil::new(shape, chain(count, link))
}

/// The scale of random weights that keeps results as large as what they are made of.
fn scale(channels: usize) -> f32 {
    (3.0 / channels as f32).sqrt()
}

pub(super) fn weights(rig: &Rig) -> Result<Found, Trouble> {
    // Large enough for memory to be what is waited for.
    let (channels, most) = (2048, 9);
    let files = numbered(&one_weight(channels, 1, channels)?, most)?;
    let float = each(rig, (1, most), &files, |count| convolutions(channels, count))?;
    let int8 = numbered(&one_byte_weight(channels)?, most)?;
    let small = each(rig, (1, most), &int8, |count| stored_as_int8(channels, count))?;
    Ok(Found::default()
        .timed("speed.weights_gbs", (2 * channels * channels) as f64 / float / 1e9)
        .quirk("int8-weights-fold", small > 0.8 * float)
        .note(format!("int8 weights take {:.2} times the time of fp16", small / float)))
}

/// The same with weights stored as int8.
fn stored_as_int8(channels: usize, count: usize) -> Mil {
    let shape = [channels, SAFE[1]];
    let link = |i: usize, y: &str, x: &str| {
        let (q, w) = (format!("w{i}"), format!("d{i}"));
        blob(&q, "int8", &[channels, channels, 1, 1], &q)
            + &dequantized(&w, &q, channels)
            + &conv(y, shape, &w, x)
    };
    Mil::new(shape, byte_scale(channels) + &chain(count, link))
}

fn byte_scale(channels: usize) -> String {
    constant("int32", "axis", "0")
        + &constant("fp16", "step", &format!("{:?}", scale(channels) / 127.0))
        + &constant("int8", "zero", "0")
}

fn dequantized(name: &str, stored: &str, channels: usize) -> String {
    let call = format!(
        "constexpr_affine_dequantize(axis = axis, quantized_data = {stored}, scale = step, zero_point = zero)"
    );
    op(name, &[channels, channels, 1, 1], &call)
}

/// The one file as `w1`, `w2` and so on.
fn numbered(one: &WeightFiles, count: usize) -> Result<WeightFiles, Trouble> {
    let file = one.only().map_err(|error| Trouble::Program(error.to_string()))?;
    let mut files = WeightFiles::none();
    (1..=count).for_each(|i| files.insert(path(&format!("w{i}")), Arc::clone(file)));
    Ok(files)
}

/// Convolutions that share one weight.
pub(super) fn sharing(shape: [usize; 2], count: usize) -> Mil {
    let [c, _] = shape;
    let link = |_: usize, y: &str, x: &str| conv(y, shape, "w", x);
    Mil::new(shape, blob("w", "fp16", &[c, c, 1, 1], "w") + &chain(count, link))
}

/// The weight of a convolution, or of one the other way round.
pub(super) fn one_weight(channels: usize, taps: usize, to: usize) -> Result<WeightFiles, Trouble> {
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &noise(to * channels * taps, scale(channels * taps)))?;
    Ok(files)
}

/// The same of int8.
pub(super) fn one_byte_weight(channels: usize) -> Result<WeightFiles, Trouble> {
    let mut files = WeightFiles::none();
    weight_int8(&mut files, "w", noise(channels * channels, 127.0).into_iter().map(|v| v as i64).collect())?;
    Ok(files)
}

/// Said where [`takes_bytes`] is false.
pub(super) const NO_BYTES: &str = "the op set it takes has no activations of int8";

/// Whether a program can have int8 activations.
pub(super) fn takes_bytes(rig: &Rig) -> bool {
    rig.dialect.opset >= Opset::Ios17
}

/// Convolutions of int8 by int8 that share one weight.
pub(super) fn by_bytes(shape: [usize; 2], count: usize) -> Mil {
    let [c, w] = shape;
    let link = |i: usize, y: &str, x: &str| {
        let quantized = format!(
            "tensor<int8, [1, {c}, 1, {w}]> q{i} = quantize(input = {x}, output_dtype = narrow, scale = unit)\
             [name = string(\"q{i}\")];\n"
        );
        let back = port(&format!("b{i}"), shape, &format!("dequantize(input = q{i}, scale = unit)"));
        quantized + &back + &conv(y, shape, "d", &format!("b{i}"))
    };
    let constants = constant("string", "narrow", "\"int8\"") + &constant("fp16", "unit", "0.125");
    let w = blob("w", "int8", &[c, c, 1, 1], "w") + &byte_scale(c) + &dequantized("d", "w", c);
    Mil::new(shape, constants + &w + &chain(count, link))
}

pub(super) fn array(rig: &Rig) -> Result<Found, Trouble> {
    let (channels, [narrow, wide]) = (256, [64, 512]);
    let files = one_weight(channels, 1, channels)?;
    let time = |width| each(rig, (1, 9), &files, |count| sharing([channels, width], count));
    let (short, long) = (time(narrow)?, time(wide)?);
    // A convolution takes the work of its columns, and of as many more as half fill the array.
    let column = (long - short) / (wide - narrow) as f64;
    let work = 2.0 * (channels * channels) as f64;
    if column <= 0.0 {
        return Err(Trouble::Unclear(format!("{short:.3e} s for {narrow} columns, {long:.3e} s for {wide}")));
    }
    Ok(Found::default()
        .timed("cost.mac_tflops", work / column / 1e12)
        .timed("cost.half_width", short / column - narrow as f64))
}

pub(super) fn int8(rig: &Rig) -> Result<Found, Trouble> {
    if !takes_bytes(rig) {
        return Ok(Found::default().note(NO_BYTES));
    }
    let shape @ [channels, _] = [256, 512];
    let float = each(rig, (1, 9), &one_weight(channels, 1, channels)?, |count| sharing(shape, count))?;
    let int8 = each(rig, (1, 9), &one_byte_weight(channels)?, |count| by_bytes(shape, count))?;
    Ok(speedup("speed.int8_speedup", "int8 products", float / int8))
}

pub(super) fn conv3(rig: &Rig) -> Result<Found, Trouble> {
    const CHANNELS: usize = 128;
    const FLAT: [usize; 2] = [CHANNELS, 512];
    let folded = [1, CHANNELS, 16, 32];
    let time = |edge: usize| {
        each(rig, (1, 5), &one_weight(CHANNELS, edge * edge, CHANNELS)?, |count| {
            let link = |_: usize, y: &str, x: &str| convolution(y, &folded, "same", "w", x);
            let body = extents("fold", &folded)
                + &extents("unfold", &[1, CHANNELS, 1, 512])
                + &blob("w", "fp16", &[CHANNELS, CHANNELS, edge, edge], "w")
                + &op("f", &folded, "reshape(shape = fold, x = x)")
                + &chain_between(("f", "s"), count, link)
                + &port("y", FLAT, "reshape(shape = unfold, x = s)");
            Mil::new(FLAT, body)
        })
    };
    Ok(speedup("cost.conv3_speedup", "products of 3x3 convolutions", 9.0 * time(1)? / time(3)?))
}

/// A speed-up as a finding, if it is one: profiles leave out those that are none.
fn speedup(key: &str, what: &str, times: f64) -> Found {
    match times > 1.05 {
        true => Found::default().timed(key, times),
        false => Found::default().note(format!("{what} have {times:.2} times the rate of others")),
    }
}

pub(super) fn working_set(rig: &Rig) -> Result<Found, Trouble> {
    /// Channels; so many columns of them are 16 KiB.
    const ROWS: usize = 512;
    let function = |pieces: u64| {
        let shape = [ROWS, 16 * pieces as usize];
        let time = each(rig, (2, 4), &WeightFiles::none(), |count| functions(shape, count))?;
        Ok::<f64, Trouble>(time / pieces as f64)
    };
    let small = function(16)?;
    let limit = largest(&[16, 64, 128, 256, 512], |pieces| Ok(function(pieces)? < 1.3 * small))?;
    let megabytes = |pieces: u64| (pieces * 16 * 1024) as f64 / 1e6;
    match limit {
        Limit::At(most) => Ok(Found::default().with(
            "speed.working_set_mb",
            Measured::Number(megabytes(most)),
            Sharpness::UpTo(megabytes(most + 1)),
        )),
        Limit::Beyond(most) => {
            Err(Trouble::Unclear(format!("values of {} MB are as quick as small ones", megabytes(most))))
        }
    }
}

/// The published peak programs: so many convolutions of so many channels, and as many columns as 64 x 64, or 64.
pub(super) const DEPTH: usize = 128;
pub(super) const WIDE: [usize; 2] = [512, 4096];
const NARROW: [usize; 2] = [512, 64];
/// Rows, depth and columns of the published product.
const LARGE: usize = 2048;

pub(super) fn peak(rig: &Rig) -> Result<Found, Trouble> {
    let rate = |[channels, width]: [usize; 2], mil: fn([usize; 2], usize) -> Mil, files: &WeightFiles| {
        let time = seconds(rig, &mil([channels, width], DEPTH), files)?;
        Ok::<f64, Trouble>((2 * channels * channels * width * DEPTH) as f64 / time / 1e12)
    };
    let weight = one_weight(WIDE[0], 1, WIDE[0])?;
    let product = 2.0 * (LARGE as f64).powi(3) / seconds(rig, &product(LARGE), &WeightFiles::none())? / 1e12;
    let found = Found::default()
        .timed("speed.narrow_tflops", rate(NARROW, sharing, &weight)?)
        .timed("speed.fp16_tflops", rate(WIDE, sharing, &weight)?)
        .timed("speed.matmul_tflops", product);
    Ok(match takes_bytes(rig) {
        true => found.timed("speed.int8_tops", rate(WIDE, by_bytes, &one_byte_weight(WIDE[0])?)?),
        false => found.note(NO_BYTES),
    })
}

/// `y = a · b` of square matrices.
fn product(n: usize) -> Mil {
    let square = [1, 1, n, n];
    let body = constant("bool", "no", "false")
        + &extents("square", &square)
        + &extents("flat", &[1, n, 1, n])
        + &op("p", &square, "reshape(shape = square, x = a)")
        + &op("q", &square, "reshape(shape = square, x = b)")
        + &op("r", &square, "matmul(transpose_x = no, transpose_y = no, x = p, y = q)")
        + &port("y", [n, n], "reshape(shape = flat, x = r)");
    Mil::of([("a", [n, n]), ("b", [n, n])], body)
}

pub(super) fn compile_time(rig: &Rig) -> Result<Found, Trouble> {
    // What a program of the published pipeline has on average: 17 ops and 5.7 MB of weights.
    let (narrow, wide) = (1024, 1392);
    let (x, h) = ([narrow, SAFE[1]], [wide, SAFE[1]]);
    let body = blob("u", "fp16", &[wide, narrow, 1, 1], "u")
        + &blob("v", "fp16", &[narrow, wide, 1, 1], "v")
        + &conv("h", h, "u", "x")
        + &conv("c", x, "v", "h")
        + &chain(15, |i, y, before| {
            let before = if i == 1 { "c" } else { before };
            port(y, x, &format!("{}(x = {before})", ["sigmoid", "tanh"][i % 2]))
        });
    let mil = Mil::new(x, body);
    let fresh = || {
        let mut files = WeightFiles::none();
        // Nothing the system may have compiled before.
        let mut values = noise(narrow * wide, scale(narrow));
        values[0] = rig.unlike_before();
        weight(&mut files, "u", &values)?;
        weight(&mut files, "v", &values)?;
        Ok::<WeightFiles, Trouble>(files)
    };
    let mut times = (0..3).map(|_| rig.compile_seconds(&mil, &fresh()?)).collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    let found = Found::default().timed("compile.program_ms", times[1] * 1e3);
    if rig.is_modelled() {
        return Ok(found);
    }
    let files = fresh()?;
    rig.compile_seconds(&mil, &files)?;
    Ok(found.timed("compile.cached_ms", rig.compile_seconds(&mil, &files)? * 1e3))
}
