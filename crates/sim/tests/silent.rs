//! Results that are wrong without an error, and how they are.

use ferrane_engine::{Engine, Profile, Surface, WeightFiles};
use ferrane_mil::{text, verify};
use ferrane_sim::SimEngine;

/// The output of a function on a chip, with rules turned off. `inputs` are `[1, C, 1, W]`.
fn run(chip: &str, off: &[&str], inputs: &str, body: &str, values: &[&[f32]]) -> Vec<f32> {
    let mut profile = Profile::built_in(chip).unwrap();
    off.iter().for_each(|rule| profile.assume(rule).unwrap());
    let source = format!("program(1.0) {{ func main<ios18>({inputs}) {{ {body} }} -> (y); }}");
    let program = verify(text::parse(&source).unwrap_or_else(|e| panic!("{e}")).program).unwrap();
    profile.assume("op-set").unwrap();
    let engine = SimEngine::new(profile, 1);
    let mut kernel = engine.compile(&program, &WeightFiles::none()).unwrap_or_else(|e| panic!("{e}"));
    let most = |ports: &[ferrane_engine::Port]| ports.iter().map(|port| port.bytes()).max().unwrap();
    let surface = |port, most| engine.surface(port, most).unwrap();
    let given: Vec<Surface> =
        kernel.inputs().iter().map(|port| surface(port, most(kernel.inputs()))).collect();
    given.iter().zip(values).for_each(|(to, values)| to.write(|to| to.copy_from_slice(values)).unwrap());
    let y = surface(&kernel.outputs()[0], most(kernel.outputs()));
    kernel.evaluate(&given.iter().collect::<Vec<_>>(), &[&y]).unwrap();
    y.read(<[f32]>::to_vec).unwrap()
}

fn ramp(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

fn constant(ty: &str, name: &str, value: &str) -> String {
    format!("{ty} {name} = const()[val = {ty}({value})]; ")
}

fn extents(name: &str, values: &[usize]) -> String {
    constant(&format!("tensor<int32, [{}]>", values.len()), name, &format!("{values:?}"))
}

/// `to = from` in another shape.
fn reshape(to: &str, from: &str, shape: &[usize]) -> String {
    extents(&format!("{to}_s"), shape)
        + &format!("tensor<fp16, {shape:?}> {to} = reshape(x = {from}, shape = {to}_s); ")
}

#[test]
fn a_concat_of_slices_takes_each_from_the_beginning_of_its_axis() {
    let x = "tensor<fp16, [1, 1, 1, 64]> x";
    let body = |second: &str| {
        extents("one", &[0, 0, 0, 1])
            + &extents("size", &[1, 1, 1, 8])
            + &constant("int32", "axis", "3")
            + &constant("bool", "no", "false")
            + "tensor<fp16, [1, 1, 1, 8]> a = slice_by_size(x = x, begin = one, size = size); "
            + second
            + "tensor<fp16, [1, 1, 1, 16]> y = concat(values = (a, b), axis = axis, interleave = no);"
    };
    let by_index = extents("begin", &[0, 0, 0, 30])
        + &extents("end", &[1, 1, 1, 0])
        + &extents("stride", &[1, 1, 1, 3])
        + &constant("tensor<bool, [4]>", "open", "[false, false, false, true]")
        + &extents("eight", &[0, 0, 0, 0])
        + "tensor<fp16, [1, 1, 1, 12]> c = slice_by_index(x = x, begin = begin, end = end, stride = stride, end_mask = open); "
        + "tensor<fp16, [1, 1, 1, 8]> b = slice_by_size(x = c, begin = eight, size = size); ";
    // Of two slices that begin inside, and of one: only those of a concat are displaced, and only from two up.
    let y = run("m3-pro", &[], x, &body(&by_index), &[&ramp(64)]);
    let right = [ramp(9)[1..].to_vec(), (0..8).map(|i| (30 + 3 * i) as f32).collect()].concat();
    assert_eq!(y, right);
    let direct = by_index
        .replace("[1, 1, 1, 12]> c", "[1, 1, 1, 12]> b")
        .replace("tensor<fp16, [1, 1, 1, 8]> b = slice_by_size(x = c, begin = eight, size = size); ", "");
    let body = body(&direct).replace("[1, 1, 1, 16]> y", "[1, 1, 1, 20]> y");
    let displaced = run("m3-pro", &[], x, &body, &[&ramp(64)]);
    assert_eq!(displaced, [ramp(8), (0..12).map(|i| (3 * i) as f32).collect()].concat());
    let right = run("m3-pro", &["concat-of-slices"], x, &body, &[&ramp(64)]);
    assert_eq!(right[..9], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 30.0]);
}

#[test]
fn indices_are_rounded_to_fp16_by_the_chips_rule() {
    let x = "tensor<fp16, [1, 1, 1, 4096]> x";
    let body = extents("i", &[2047, 2049, 2051, 4095])
        + &constant("int32", "axis", "3")
        + "tensor<fp16, [1, 1, 1, 4]> y = gather(x = x, indices = i, axis = axis);";
    // As large as fp16 is exact.
    let values: Vec<f32> = ramp(4096).iter().map(|i| i % 2048.0).collect();
    // The last one would be beyond the axis.
    assert_eq!(run("m4", &[], x, &body, &[&values]), [2047.0, 2.0, 4.0, 2047.0]);
    assert_eq!(run("m1", &[], x, &body, &[&values]), [2047.0, 0.0, 4.0, 2047.0]);
    assert_eq!(run("m4", &["gather-index"], x, &body, &[&values]), [2047.0, 1.0, 3.0, 2047.0]);
}

#[test]
fn indices_that_are_computed_are_rounded_too() {
    let x = "tensor<fp16, [1, 1, 1, 4096]> x";
    let body = constant("int32", "axis", "3")
        + &constant("int32", "k", "1")
        + "tensor<fp16, [1, 1, 1, 1]> v, tensor<int32, [1, 1, 1, 1]> i = topk(x = x, k = k, axis = axis); "
        + &constant("int32", "three", "3")
        + "tensor<fp16, [1, 1, 1, 1]> y = gather(x = x, indices = i, axis = axis, batch_dims = three);";
    let mut values = vec![0.0; 4096];
    (values[2051], values[2052]) = (9.0, 5.0);
    assert_eq!(run("m4", &[], x, &body, &[&values]), [5.0]);
    assert_eq!(run("m4", &["gather-index"], x, &body, &[&values]), [9.0]);
}

#[test]
fn weights_stored_in_fp8_above_the_threshold_are_infinite() {
    let x = "tensor<fp16, [1, 4, 1, 64]> x";
    let body = constant("tensor<fp8e4m3fn, [4, 1, 1, 1]>", "q", "[240, 256, -448, 1]")
        + &constant("tensor<fp16, [1, 1, 1, 1]>", "s", "[0.5]")
        + "tensor<fp16, [4, 1, 1, 1]> w = constexpr_blockwise_shift_scale(data = q, scale = s); "
        + "tensor<fp16, [1, 4, 1, 64]> y = conv(x = x, weight = w, groups = four); ";
    let body = constant("int32", "four", "4") + &body;
    let of_channels = |y: Vec<f32>| [0, 1, 2, 3].map(|c| y[64 * c]);
    let ones = [1.0; 4 * 64];
    let lost = [120.0, f32::INFINITY, f32::INFINITY, 0.5];
    assert_eq!(of_channels(run("m6", &[], x, &body, &[&ones])), lost);
    assert_eq!(of_channels(run("m6", &["fp8-codes"], x, &body, &[&ones])), [120.0, 128.0, -224.0, 0.5]);
}

/// Attention of zero queries over rows that hold their number.
fn attention(rows: usize, mask: &str) -> String {
    let shape = [1, 2, rows, 64];
    reshape("q", "a", &shape)
        + &reshape("v", "x", &shape)
        + &format!(
            "tensor<fp16, {shape:?}> o = scaled_dot_product_attention({mask}query = q, key = q, value = v); "
        )
        + &reshape("y", "o", &[1, 2 * rows, 1, 64])
}

fn by_row(rows: usize) -> Vec<f32> {
    (0..2 * rows * 64).map(|i| (i / 64 % rows) as f32).collect()
}

#[test]
fn a_mask_for_each_head_is_that_of_the_first() {
    let inputs =
        "tensor<fp16, [1, 64, 1, 64]> a, tensor<fp16, [1, 64, 1, 32]> b, tensor<fp16, [1, 64, 1, 64]> x";
    let body = reshape("m", "b", &[1, 2, 32, 32]) + &attention(32, "attn_mask = m, ");
    // The first head is left row 3, the second row 7.
    let mask: Vec<f32> =
        (0..2 * 32 * 32).map(|i| if i % 32 == [3, 7][i / 1024] { 0.0 } else { -1e4 }).collect();
    let zeros = vec![0.0; 64 * 64];
    let seen = |off: &[&str]| {
        let off = [off, &["input-width"]].concat();
        let y = run("m5", &off, inputs, &body, &[&zeros, &mask, &by_row(32)]);
        (y[0], y[32 * 64])
    };
    assert_eq!(seen(&["sdpa-mask-ignored"]), (3.0, 3.0));
    assert_eq!(seen(&["sdpa-mask-ignored", "sdpa-mask-plane"]), (3.0, 7.0));
    assert_eq!(seen(&[]), (15.5, 15.5));
}

#[test]
fn attention_beyond_its_range_is_not_what_it_should_be() {
    for rows in [511, 512] {
        let inputs = format!("tensor<fp16, [1, {0}, 1, 64]> a, tensor<fp16, [1, {0}, 1, 64]> x", 2 * rows);
        let zeros = vec![0.0; 2 * rows * 64];
        let y = |off: &[&str]| run("m5", off, &inputs, &attention(rows, ""), &[&zeros, &by_row(rows)]);
        let (wrong, right) = (y(&[]), y(&["sdpa-range"]));
        assert_eq!(wrong != right, rows == 512);
        assert!(wrong.iter().all(|y| y.is_finite()));
    }
}

#[test]
fn the_second_product_that_a_transpose_feeds_is_infinite() {
    let x = "tensor<fp16, [1, 64, 1, 64]> x";
    let transposed = |to: &str, from: &str| {
        format!("tensor<fp16, [1, 1, 64, 64]> {to} = transpose(x = {from}, perm = perm); ")
    };
    let product = |to: &str, x: &str, y: &str| {
        format!(
            "tensor<fp16, [1, 1, 64, 64]> {to} = matmul(x = {x}, y = {y}, transpose_x = no, transpose_y = no); "
        )
    };
    let begin = extents("perm", &[0, 1, 3, 2])
        + &constant("bool", "no", "false")
        + &reshape("m", "x", &[1, 1, 64, 64])
        + &transposed("t", "m")
        + &product("s", "t", "m");
    let ones = vec![1.0; 64 * 64];
    let one = begin.clone() + &reshape("y", "s", &[1, 64, 1, 64]);
    // A transpose of other axes is none of matrices, as in attention over several sequences.
    let others = constant("bool", "no", "false")
        + &extents("perm", &[2, 0, 1, 3])
        + &reshape("m", "x", &[1, 8, 8, 64])
        + "tensor<fp16, [8, 1, 8, 64]> t = transpose(x = m, perm = perm); "
        + &constant("bool", "yes", "true")
        + "tensor<fp16, [8, 1, 8, 8]> s = matmul(x = t, y = t, transpose_x = no, transpose_y = yes); "
        + "tensor<fp16, [8, 1, 8, 64]> p = matmul(x = s, y = t, transpose_x = no, transpose_y = no); "
        + &reshape("y", "p", &[1, 64, 1, 64]);
    assert!(run("m5", &[], x, &others, &[&vec![1.0; 64 * 64]]).iter().all(|y| *y == 512.0));
    assert!(run("m5", &[], x, &one, &[&ones]).iter().all(|y| *y == 64.0));
    let two = begin + &transposed("u", "s") + &product("p", "m", "u") + &reshape("y", "p", &[1, 64, 1, 64]);
    assert!(run("m5", &[], x, &two, &[&ones]).iter().all(|y| *y == f32::INFINITY));
    assert!(run("m4", &[], x, &two, &[&ones]).iter().all(|y| *y == 4096.0));
}
