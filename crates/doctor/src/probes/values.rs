//! Results that some source says are wrong without an error.

use ferrane_engine::WeightFiles;
use half::f16;

use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{Mil, SAFE, blob, constant, conv, diagonal, extents, noise, op, port, weight, weight_int8};
use crate::rig::Rig;

const ELEMENTS: usize = SAFE[0] * SAFE[1];

/// All fp16 numbers from 1 up, ascending: as many as an input has elements.
pub(super) fn from_one() -> Vec<f32> {
    (f16::ONE.to_bits()..=f16::MAX.to_bits()).map(|bits| f16::from_bits(bits).to_f32()).collect()
}

/// A quirk by which results are right up to some magnitude, that of the last number that is right, and not above it.
pub(super) fn up_to(name: &str, x: &[f32], right: impl Fn(usize) -> bool) -> Found {
    match (0..x.len()).find(|&i| !right(i)) {
        None => Found::default().quirk(name, false),
        Some(0) => Found::default().quirk(name, true).note("no result is right, however small"),
        Some(first) => Found::default().quirk(name, true).threshold(name, f64::from(x[first - 1])),
    }
}

/// A quirk by which results are wrong from some magnitude on, which lies behind the last number that is right.
fn from(name: &str, x: &[f32], right: impl Fn(usize) -> bool) -> Found {
    let key = format!("quirks.{name}.threshold");
    match (0..x.len()).find(|&i| !right(i)) {
        None => Found::default().quirk(name, false),
        Some(0) => Found::default().quirk(name, true).note("no result is right, however small"),
        Some(first) => Found::default().quirk(name, true).with(
            &key,
            Measured::Number(f64::from(x[first - 1])),
            Sharpness::UpTo(f64::from(x[first])),
        ),
    }
}

pub(super) fn slice(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let cut = [c, w - 1];
    let body = constant("tensor<int32, [4]>", "begin", "[0, 0, 0, 1]")
        + &constant("tensor<int32, [4]>", "size", &format!("[1, {c}, 1, {}]", w - 1))
        + &port("y", cut, "slice_by_size(begin = begin, size = size, x = x)");
    // The first element of each row is cut off.
    let numbers = &from_one()[ELEMENTS - c * (w - 1)..];
    let x: Vec<f32> = numbers.chunks(w - 1).flat_map(|row| [&[1.0], row].concat()).collect();
    let y = rig.values(&Mil::new(SAFE, body), &WeightFiles::none(), &[&x])?;
    Ok(up_to("slice-scale", numbers, |i| y[0][i] == numbers[i]))
}

pub(super) fn slices(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let half = w / 2 - 1;
    let sizes = constant("tensor<int32, [4]>", "size", &format!("[1, {c}, 1, {half}]"))
        + &constant("tensor<int32, [4]>", "one", "[0, 0, 0, 1]")
        + &constant("tensor<int32, [4]>", "other", &format!("[0, 0, 0, {}]", w / 2))
        + &constant("int32", "axis", "3")
        + &constant("bool", "no", "false");
    let body = sizes
        + &port("a", [c, half], "slice_by_size(begin = one, size = size, x = x)")
        + &port("b", [c, half], "slice_by_size(begin = other, size = size, x = x)")
        + &port("y", [c, 2 * half], "concat(axis = axis, interleave = no, values = (a, b))");
    let x: Vec<f32> = (0..ELEMENTS).map(|i| (i % 2048) as f32).collect();
    let y = rig.values(&Mil::new(SAFE, body), &WeightFiles::none(), &[&x])?;
    let expected = x.chunks(w).flat_map(|row| [&row[1..=half], &row[w / 2..w / 2 + half]]).flatten();
    Ok(Found::default().quirk("concat-of-slices", !y[0].iter().eq(expected)))
}

pub(super) fn int8_activations(rig: &Rig) -> Result<Found, Trouble> {
    let [c, _] = SAFE;
    let mut files = WeightFiles::none();
    weight_int8(&mut files, "w", diagonal(c, 1.0).into_iter().map(|v| v as i64).collect())?;
    // A sixteenth, so that no sum is beyond what the array holds.
    let body = blob("w", "int8", &[c, c, 1, 1], "w")
        + &constant("int32", "axis", "0")
        + &constant("fp16", "step", "0.0625")
        + &constant("int8", "zero", "0")
        + &op(
            "d",
            &[c, c, 1, 1],
            "constexpr_affine_dequantize(axis = axis, quantized_data = w, scale = step, zero_point = zero)",
        )
        + &conv("y", SAFE, "d", "x");
    let x = from_one();
    let y = rig.values(&Mil::new(SAFE, body), &files, &[&x])?;
    Ok(up_to("int8-activation-limit", &x, |i| y[0][i] == 0.0625 * x[i]))
}

pub(super) fn softplus(rig: &Rig) -> Result<Found, Trouble> {
    let x = from_one();
    let y = rig.values(&Mil::new(SAFE, port("y", SAFE, "softplus(x = x)")), &WeightFiles::none(), &[&x])?;
    Ok(from("softplus-zero", &x, |i| y[0][i] > 0.5 * x[i]))
}

pub(super) fn round(rig: &Rig) -> Result<Found, Trouble> {
    let x = from_one();
    let y = rig.values(&Mil::new(SAFE, port("y", SAFE, "round(x = x)")), &WeightFiles::none(), &[&x])?;
    // Half-way cases may go either way.
    let right = |i: usize| (y[0][i] - x[i]).abs() <= 0.5;
    Ok(from("round-1024", &x, right))
}

pub(super) fn gather(rig: &Rig) -> Result<Found, Trouble> {
    const WIDTH: usize = 4096;
    let shape = [8, WIDTH];
    // Odd indices, which fp16 cannot tell from their neighbours from 2048 up: all that are near, and some far off.
    let half = SAFE[1] / 2;
    let mut indices: Vec<usize> = (0..half).flat_map(|i| [2048 - half + 2 * i + 1, 1025 + 96 * i]).collect();
    indices.sort_unstable();
    let body = constant(&format!("tensor<int32, [{}]>", indices.len()), "indices", &format!("{indices:?}"))
        + &constant("int32", "axis", "3")
        + &port("y", [8, indices.len()], "gather(axis = axis, indices = indices, x = x)");
    let x: Vec<f32> = (0..8 * WIDTH).map(|i| (i % WIDTH % 1000) as f32).collect();
    let y = rig.values(&Mil::new(shape, body), &WeightFiles::none(), &[&x])?;
    let numbers: Vec<f32> = indices.iter().map(|i| *i as f32).collect();
    Ok(from("gather-index", &numbers, |i| y[0][i] == x[indices[i]]))
}

pub(super) fn layer_norm(rig: &Rig) -> Result<Found, Trouble> {
    const NAME: &str = "layer-norm-gamma";
    let limit = crate::search::largest(&[1024, 4096, 10_239, 16_384], |width| {
        let width = width as usize;
        let (shape, rows) = ([8, width], [8, 1, 1, width]);
        let mut files = WeightFiles::none();
        weight(&mut files, "g", &noise(width, 1.0))?;
        let body = blob("g", "fp16", &[width], "g")
            + &constant("tensor<int32, [1]>", "axes", "[3]")
            + &constant("fp16", "epsilon", "0.00001")
            + &extents("rows", &rows)
            + &extents("back", &[1, 8, 1, width])
            + &op("r", &rows, "reshape(shape = rows, x = x)")
            + &op("n", &rows, "layer_norm(axes = axes, epsilon = epsilon, gamma = g, x = r)")
            + &port("y", shape, "reshape(shape = back, x = n)");
        let x = noise(8 * width, 1.0);
        Ok(matches!(rig.ask(&Mil::new(shape, body), &files, &[&x])?, crate::rig::Answer::Values(_)))
    })?;
    Ok(match limit {
        crate::search::Limit::At(most) => {
            Found::default().quirk(NAME, true).threshold(NAME, (most + 1) as f64)
        }
        crate::search::Limit::Beyond(_) => Found::default().quirk(NAME, false),
    })
}

pub(super) fn transposed_products(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let body = constant("bool", "no", "false")
        + &extents("perm", &[0, 1, 3, 2])
        + &extents("split", &[1, 1, c, w])
        + &extents("join", &[1, c, 1, w])
        + &op("m", &[1, 1, c, w], "reshape(shape = split, x = x)")
        + &op("t", &[1, 1, w, c], "transpose(perm = perm, x = m)")
        + &op("s", &[1, 1, w, w], "matmul(transpose_x = no, transpose_y = no, x = t, y = m)")
        + &op("u", &[1, 1, w, w], "transpose(perm = perm, x = s)")
        + &op("p", &[1, 1, c, w], "matmul(transpose_x = no, transpose_y = no, x = m, y = u)")
        + &port("y", SAFE, "reshape(shape = join, x = p)");
    // Sums of ones: 256 of them, then 64 of those.
    let y = rig.values(&Mil::new(SAFE, body), &WeightFiles::none(), &[&vec![1.0; ELEMENTS]])?;
    let right = y[0].iter().all(|y| *y == (c * w) as f32);
    Ok(Found::default().quirk("two-transposed-matmuls", !right))
}

/// Attention of zero queries: the mean of the values that the mask leaves. `mask` is its shape.
fn attention(heads: usize, rows: usize, mask: Option<usize>) -> Mil {
    let width = SAFE[1];
    let shape = [1, heads, rows, width];
    let mut body = extents("split", &shape)
        + &extents("join", &[1, heads * rows, 1, width])
        + &op("q", &shape, "reshape(shape = split, x = a)")
        + &op("v", &shape, "reshape(shape = split, x = x)");
    let mut arguments = String::new();
    let mut inputs = vec![("a", [heads * rows, width])];
    if let Some(planes) = mask {
        body += &extents("planes", &[1, planes, rows, rows]);
        body += &op("m", &[1, planes, rows, rows], "reshape(shape = planes, x = b)");
        arguments = "attn_mask = m, ".to_owned();
        inputs.push(("b", [planes * rows, rows]));
    }
    inputs.push(("x", [heads * rows, width]));
    let call = format!("scaled_dot_product_attention({arguments}key = q, query = q, value = v)");
    body += &op("o", &shape, &call);
    Mil::of(inputs, body + &port("y", [heads * rows, width], "reshape(shape = join, x = o)"))
}

/// Values by row, so that a mean tells which rows it is of.
fn by_row(heads: usize, rows: usize) -> Vec<f32> {
    (0..heads * rows * SAFE[1]).map(|i| (i / SAFE[1] % rows) as f32).collect()
}

pub(super) fn mask(rig: &Rig) -> Result<Found, Trouble> {
    let (heads, rows) = (4, 64);
    let (zeros, x) = (vec![0.0; heads * rows * SAFE[1]], by_row(heads, rows));
    // Leaves each row the one key of the plane's number.
    let plane =
        |number: usize| (0..rows * rows).map(move |i| if i % rows == number { 0.0 } else { -10_000.0 });
    let one: Vec<f32> = plane(5).collect();
    let y = rig.values(&attention(heads, rows, Some(1)), &WeightFiles::none(), &[&zeros, &one, &x])?;
    let mean = (rows - 1) as f32 / 2.0;
    let found = match y[0][0] {
        5.0 => Found::default().quirk("sdpa-mask-ignored", false),
        ignored if (ignored - mean).abs() < 0.5 => {
            return Ok(Found::default().quirk("sdpa-mask-ignored", true));
        }
        other => return Err(Trouble::Unclear(format!("attention to row 5 gives {other}"))),
    };
    let each: Vec<f32> = (0..heads).flat_map(plane).collect();
    let y = rig.values(&attention(heads, rows, Some(heads)), &WeightFiles::none(), &[&zeros, &each, &x])?;
    let rows_seen: Vec<f32> = (0..heads).map(|head| y[0][head * rows * SAFE[1]]).collect();
    Ok(match rows_seen[..] {
        [0.0, 1.0, 2.0, 3.0] => found.quirk("sdpa-mask-plane", false),
        [0.0, 0.0, 0.0, 0.0] => found.quirk("sdpa-mask-plane", true),
        _ => found.note(format!("heads attend to rows 0, 1, 2, 3, and see {rows_seen:?}")),
    })
}

pub(super) fn attention_range(rig: &Rig) -> Result<Found, Trouble> {
    const NAME: &str = "sdpa-range";
    let limit = crate::search::largest(&[64, 511, 1024], |rows| {
        let rows = rows as usize;
        let (zeros, x) = (vec![0.0; rows * SAFE[1]], by_row(1, rows));
        let y = rig.values(&attention(1, rows, None), &WeightFiles::none(), &[&zeros, &x])?;
        let mean = (rows - 1) as f32 / 2.0;
        Ok(y[0].iter().all(|y| (y / mean - 1.0).abs() < 0.02))
    })?;
    Ok(match limit {
        crate::search::Limit::At(most) => {
            Found::default().quirk(NAME, true).threshold(NAME, (most + 1) as f64)
        }
        crate::search::Limit::Beyond(_) => Found::default().quirk(NAME, false),
    })
}

pub(super) fn sums(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let body = constant("tensor<int32, [1]>", "axes", "[1]")
        + &constant("bool", "keep", "true")
        + &port("y", [1, w], "reduce_sum(axes = axes, keep_dims = keep, x = x)");
    // Whoever adds them up in fp16, one after the other, loses each one or takes it for two.
    let x: Vec<f32> = (0..c * w).map(|i| if i < w { 2048.0 } else { 1.0 }).collect();
    let sum = rig.values(&Mil::new(SAFE, body), &WeightFiles::none(), &[&x])?[0][0];
    let right = f16::from_f32((2048 + c - 1) as f32).to_f32();
    let how = match sum == right || sum == right + 1.0 {
        true => "in more than fp16",
        false => "in fp16",
    };
    Ok(Found::default().note(format!("2048 and {} ones are {sum}: added up {how}, or in a tree", c - 1)))
}
