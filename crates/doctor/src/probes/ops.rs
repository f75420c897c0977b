//! Ops that some source says are refused, or are in one spelling.

use ferrane_engine::WeightFiles;

use crate::finding::{Found, Trouble};
use crate::mil::{Mil, SAFE, blob, constant, conv, convolution, diagonal, extents, op, port, weight};
use crate::rig::{Answer, Rig};

const ELEMENTS: usize = SAFE[0] * SAFE[1];

/// Inputs that tell places apart.
fn ramp() -> Vec<f32> {
    (0..ELEMENTS).map(|i| i as f32 % 11.0 - 5.0).collect()
}

/// Whether a program is refused, and how.
fn refused(rig: &Rig, mil: &Mil, weights: &WeightFiles) -> Result<Option<String>, Trouble> {
    let ramp = ramp();
    let inputs: Vec<&[f32]> = mil.inputs.iter().map(|_| &ramp[..]).collect();
    match rig.ask(mil, weights, &inputs)? {
        Answer::Refused(error) => Ok(Some(error.to_string())),
        Answer::Values(_) => Ok(None),
    }
}

/// Whether a quirk holds by which a program is refused.
fn quirk(rig: &Rig, name: &str, mil: &Mil, weights: &WeightFiles) -> Result<Found, Trouble> {
    Ok(match refused(rig, mil, weights)? {
        Some(how) => Found::default().quirk(name, true).note(how),
        None => Found::default().quirk(name, false),
    })
}

/// The program must be taken for a question about a variant of it to make sense.
fn must_take(rig: &Rig, mil: &Mil, weights: &WeightFiles) -> Result<(), Trouble> {
    match refused(rig, mil, weights)? {
        None => Ok(()),
        Some(how) => Err(Trouble::Unclear(format!("what should be taken is refused: {how}"))),
    }
}

pub(super) fn several_inputs(rig: &Rig) -> Result<Found, Trouble> {
    let inputs = [("a", SAFE), ("b", SAFE), ("c", SAFE)];
    let body = port("t", SAFE, "add(x = a, y = b)") + &port("y", SAFE, "add(x = t, y = c)");
    quirk(rig, "multiple-inputs", &Mil::of(inputs, body), &WeightFiles::none())
}

pub(super) fn concat(rig: &Rig) -> Result<Found, Trouble> {
    let shape = [2 * SAFE[0], SAFE[1]];
    let named = constant("int32", "axis", "1") + &constant("bool", "no", "false");
    let program = |constants: &str, arguments: &str| {
        let relu = port("r", SAFE, "relu(x = x)");
        let concat = port("y", shape, &format!("concat({arguments}, values = (x, r))"));
        Mil::new(SAFE, format!("{constants}{relu}{concat}"))
    };
    let none = WeightFiles::none();
    let x = ramp();
    let mil = program(&named, "axis = axis, interleave = no");
    let mut found = match rig.ask(&mil, &none, &[&x])? {
        Answer::Refused(error) => Found::default().quirk("concat-refused", true).note(error.to_string()),
        Answer::Values(y) => {
            let right = x.iter().copied().chain(x.iter().map(|x| x.max(0.0)));
            if !y[0].iter().copied().eq(right) {
                return Err(Trouble::Unclear("it is taken, and its result is wrong".into()));
            }
            Found::default().quirk("concat-refused", false)
        }
    };
    for (what, constants, arguments) in [
        ("with an inline axis", constant("bool", "no", "false"), "axis = int32(1), interleave = no"),
        ("with nothing named", String::new(), "axis = int32(1), interleave = bool(false)"),
        ("without interleave", constant("int32", "axis", "1"), "axis = axis"),
    ] {
        let taken = refused(rig, &program(&constants, arguments), &none)?.is_none();
        found = found.note(format!("{what}: {}", if taken { "taken" } else { "refused" }));
    }
    Ok(found)
}

pub(super) fn gelu(rig: &Rig) -> Result<Found, Trouble> {
    let with = |mode: &str| {
        let mode = constant("string", "mode", &format!("\"{mode}\""));
        Mil::new(SAFE, mode + &port("y", SAFE, "gelu(mode = mode, x = x)"))
    };
    let (none, x) = (WeightFiles::none(), ramp());
    must_take(rig, &with("EXACT"), &none)?;
    let exact = rig.values(&with("EXACT"), &none, &[&x])?;
    let tanh = rig.ask(&with("TANH_APPROXIMATION"), &none, &[&x])?;
    let modes = match tanh {
        Answer::Refused(_) => "TANH_APPROXIMATION is refused",
        Answer::Values(y) if y == exact => "EXACT and TANH_APPROXIMATION give the same bits",
        Answer::Values(_) => "EXACT and TANH_APPROXIMATION differ",
    };
    let without = Mil::new(SAFE, port("y", SAFE, "gelu(x = x)"));
    Ok(quirk(rig, "gelu-without-mode", &without, &none)?.note(modes))
}

pub(super) fn matmul(rig: &Rig) -> Result<Found, Trouble> {
    let program = |constants: &str, arguments: &str| {
        let [c, w] = SAFE;
        let body = extents("split", &[1, 1, c, w])
            + &extents("join", &[1, w, 1, w])
            + &op("m", &[1, 1, c, w], "reshape(shape = split, x = x)")
            + &op("p", &[1, 1, w, w], &format!("matmul({arguments}, x = m, y = m)"))
            + &port("y", [w, w], "reshape(shape = join, x = p)");
        Mil::new(SAFE, constants.to_owned() + &body)
    };
    let none = WeightFiles::none();
    let named = constant("bool", "yes", "true") + &constant("bool", "no", "false");
    let found = quirk(rig, "matmul-refused", &program(&named, "transpose_x = yes, transpose_y = no"), &none)?;
    if found.findings[0].value == crate::Measured::Flag(true) {
        return Ok(found);
    }
    let inline = program("", "transpose_x = bool(true), transpose_y = bool(false)");
    Ok(found.and(quirk(rig, "matmul-inline-transpose", &inline, &none)?))
}

/// The weight file of `2 · x`.
fn twice() -> Result<WeightFiles, Trouble> {
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &diagonal(256, 2.0))?;
    Ok(files)
}

pub(super) fn conv_bias(rig: &Rig) -> Result<Found, Trouble> {
    let mut files = twice()?;
    weight(&mut files, "b", &[1.0; 256])?;
    let w = blob("w", "fp16", &[256, 256, 1, 1], "w");
    must_take(rig, &Mil::new(SAFE, w.clone() + &conv("y", SAFE, "w", "x")), &files)?;
    let biased = conv("y", SAFE, "w", "x").replace("conv(", "conv(bias = b, ");
    let mil = Mil::new(SAFE, w + &blob("b", "fp16", &[256], "b") + &biased);
    quirk(rig, "conv-bias", &mil, &files)
}

/// `y = W · x` of two inputs; the batch is folded into the channels of `x` and `y`.
fn runtime_conv(batch: usize) -> Mil {
    let [c, w] = SAFE;
    let folded = [batch, c, 1, w];
    let body = extents("fold", &folded)
        + &extents("unfold", &[1, batch * c, 1, w])
        + &extents("square", &[c, c, 1, 1])
        + &op("k", &[c, c, 1, 1], "reshape(shape = square, x = w)")
        + &op("v", &folded, "reshape(shape = fold, x = x)")
        + &convolution("t", &folded, "valid", "k", "v")
        + &port("y", [batch * c, w], "reshape(shape = unfold, x = t)");
    Mil::of([("w", [c, c]), ("x", [batch * c, w])], body)
}

pub(super) fn conv_weight(rig: &Rig) -> Result<Found, Trouble> {
    const KEY: &str = "ports.runtime_conv_weights";
    let none = WeightFiles::none();
    let w = diagonal(256, 2.0);
    let x = vec![3.0; 2 * ELEMENTS];
    let found = match rig.ask(&runtime_conv(1), &none, &[&w, &x])? {
        Answer::Refused(error) => return Ok(Found::default().flag(KEY, false).note(error.to_string())),
        Answer::Values(y) if y[0].iter().all(|y| *y == 6.0) => Found::default().flag(KEY, true),
        Answer::Values(y) => {
            let note = format!("taken, but 2 · 3 is {}: the weight is ignored", y[0][0]);
            return Ok(Found::default().flag(KEY, false).note(note));
        }
    };
    Ok(found.and(quirk(rig, "dynamic-conv-batch", &runtime_conv(2), &none)?))
}

pub(super) fn cast(rig: &Rig) -> Result<Found, Trouble> {
    let to = constant("string", "to", "\"fp32\"");
    let y = port("y", SAFE, "cast(dtype = to, x = x)").replace("tensor<fp16", "tensor<fp32");
    quirk(rig, "cast-io", &Mil::new(SAFE, to + &y), &WeightFiles::none())
}

pub(super) fn rsqrt(rig: &Rig) -> Result<Found, Trouble> {
    let sum = constant("tensor<int32, [1]>", "axes", "[1]")
        + &constant("bool", "keep", "true")
        + &port("q", SAFE, "mul(x = x, y = x)")
        + &port("s", [1, SAFE[1]], "reduce_sum(axes = axes, keep_dims = keep, x = q)");
    let none = WeightFiles::none();
    must_take(rig, &Mil::new(SAFE, sum.clone() + &port("y", SAFE, "mul(x = x, y = s)")), &none)?;
    let root =
        constant("fp16", "epsilon", "0.00001") + &port("r", [1, SAFE[1]], "rsqrt(epsilon = epsilon, x = s)");
    let mil = Mil::new(SAFE, sum + &root + &port("y", SAFE, "mul(x = x, y = r)"));
    quirk(rig, "rsqrt-after-reduce", &mil, &none)
}

pub(super) fn softmax(rig: &Rig) -> Result<Found, Trouble> {
    let over = |channels: usize| {
        let axis = constant("int32", "axis", "1");
        let shape = [channels, SAFE[1]];
        Mil::new(shape, axis + &port("y", shape, "softmax(axis = axis, x = x)"))
    };
    let none = WeightFiles::none();
    must_take(rig, &over(SAFE[0]), &none)?;
    quirk(rig, "softmax-power-of-two", &over(320), &none)
}

pub(super) fn topk(rig: &Rig) -> Result<Found, Trouble> {
    let [c, _] = SAFE;
    let constants =
        constant("int32", "k", "4") + &constant("int32", "axis", "3") + &constant("bool", "up", "false");
    let largest = format!(
        "tensor<fp16, [1, {c}, 1, 4]> y, tensor<int32, [1, {c}, 1, 4]> i = topk(ascending = up, axis = axis, k = k, \
         x = x)[name = string(\"y\")];\n"
    );
    quirk(rig, "topk", &Mil::new(SAFE, constants + &largest), &WeightFiles::none())
}
