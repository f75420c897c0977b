//! Published cases of the engine's arithmetic, each as a MIL program through the engine.

use ferrane_engine::{Engine, OpSaturation, Profile, Surface, WeightFiles};
use ferrane_mil::{text, verify};
use ferrane_sim::{Numerics, SimEngine};
use half::f16;

const INF: f32 = f32::INFINITY;
/// Wide enough for every chip.
const WIDTH: usize = 64;

/// Runs the ops of `body`, which read `x0`, `x1` and so on, `[1, C, 1, 64]` each, and define `y`. What is given of an
/// input is its first elements; the rest is 0.
fn run_all(
    chip: &str,
    threads: usize,
    inputs: &[(usize, &[f32])],
    body: &str,
) -> (Vec<f32>, Vec<OpSaturation>) {
    let profile = Profile::built_in(chip).unwrap();
    let ((major, minor), opset) = (profile.dialect.version.value, profile.dialect.opset.value.name());
    let params: Vec<String> = (0..inputs.len())
        .map(|i| format!("tensor<fp16, [1, {}, 1, {}]> x{i}", inputs[i].0, width(inputs[i])))
        .collect();
    let source = format!(
        "program({major}.{minor})\n{{\nfunc main<{opset}>({}) {{\n{body}\n}} -> (y);\n}}\n",
        params.join(", ")
    );
    let parsed = text::parse(&source).unwrap_or_else(|e| panic!("{source}\n{e:?}"));
    let program = verify(parsed.program).unwrap_or_else(|e| panic!("{source}\n{e:#?}"));
    // About values, whatever the compiler thinks of the program.
    let engine = SimEngine::new(profile, threads).lenient(true).with_numerics(Numerics::Faithful);
    let mut kernel =
        engine.compile(&program, &WeightFiles::none()).unwrap_or_else(|e| panic!("{source}\n{e}"));
    let most = kernel.inputs().iter().map(ferrane_engine::Port::bytes).max().unwrap();
    let surface = |port| engine.surface(port, most).unwrap();
    let sources: Vec<Surface> = kernel.inputs().iter().map(surface).collect();
    for (source, (_, elements)) in sources.iter().zip(inputs) {
        // NaN goes in as it is.
        source.as_host().unwrap().memory.write()[..elements.len()].copy_from_slice(elements);
    }
    let sinks: Vec<Surface> =
        kernel.outputs().iter().map(|port| engine.surface(port, port.bytes()).unwrap()).collect();
    kernel.evaluate(&sources.iter().collect::<Vec<_>>(), &sinks.iter().collect::<Vec<_>>()).unwrap();
    (sinks[0].read(<[f32]>::to_vec).unwrap(), kernel.take_saturation())
}

fn width((channels, elements): (usize, &[f32])) -> usize {
    elements.len().div_ceil(channels).max(WIDTH)
}

fn run(chip: &str, inputs: &[(usize, &[f32])], body: &str) -> Vec<f32> {
    run_all(chip, 2, inputs, body).0
}

/// `op` of each of `x`.
fn unary(chip: &str, op: &str, x: &[f32]) -> Vec<f32> {
    let w = width((1, x));
    let mut y = run(chip, &[(1, x)], &format!("tensor<fp16, [1, 1, 1, {w}]> y = {op};"));
    y.truncate(x.len());
    y
}

/// `Σ terms·weight + bias` by a convolution and by a matrix product, which agree where there is no bias.
fn sum(chip: &str, terms: &[f32], weight: f32, bias: Option<f32>) -> f32 {
    let k = terms.len();
    let spread: Vec<f32> = terms.iter().flat_map(|t| std::iter::once(*t).chain([0.0; WIDTH - 1])).collect();
    let list = vec![format!("{weight:?}"); k].join(", ");
    let conv = |bias: &str| {
        format!(
            "tensor<fp16, [1, {k}, 1, 1]> w = const()[val = tensor<fp16, [1, {k}, 1, 1]>([{list}])];
             tensor<fp16, [1, 1, 1, {WIDTH}]> y = conv({bias} weight = w, x = x0);"
        )
    };
    match bias {
        Some(bias) => {
            // The arithmetic of a bias is the hardware's (751K study); the in-memory door refuses the argument.
            let b = format!("tensor<fp16, [1]> b = const()[val = tensor<fp16, [1]>([{bias:?}])];\n");
            run(chip, &[(k, &spread)], &(b + &conv("bias = b,")))[0]
        }
        None => {
            let y = run(chip, &[(k, &spread)], &conv(""))[0];
            let product = run(
                chip,
                &[(k, &spread)],
                &format!(
                    "tensor<fp16, [1, 1, 1, {k}]> w = const()[val = tensor<fp16, [1, 1, 1, {k}]>([{list}])];
                     tensor<fp16, [1, 1, {k}, {WIDTH}]> x = reshape(shape = tensor<int32, [4]>([1, 1, {k}, {WIDTH}]), x = x0);
                     bool no = const()[val = bool(false)];
                     tensor<fp16, [1, 1, 1, {WIDTH}]> y = matmul(transpose_x = no, transpose_y = no, x = w, y = x);"
                ),
            )[0];
            assert!(y == product, "{terms:?}·{weight}: conv {y}, matmul {product}");
            y
        }
    }
}

/// Both measured generations.
fn on_both(test: impl Fn(&str)) {
    ["m4", "m6"].into_iter().for_each(test);
}

#[test]
fn products_overflow_from_32768_for_good() {
    on_both(|chip| {
        for (x, y) in [(32736.0, 32736.0), (32752.0, 32752.0), (32768.0, INF), (40000.0, INF), (65504.0, INF)]
        {
            assert_eq!((sum(chip, &[x], 1.0, None), sum(chip, &[-x], 1.0, None)), (y, -y), "{chip} {x}");
        }
        let sums: &[(&[f32], f32)] = &[
            (&[16376.0, 16376.0], 32752.0),
            (&[16384.0, 16376.0], 32768.0),
            (&[16384.0, 16384.0], INF),
            (&[30000.0, 2752.0], 32752.0),
            (&[30000.0, 2768.0], INF),
            (&[16384.0, 16384.0, -16384.0, -16384.0, 1.0], INF),
        ];
        for (terms, y) in sums {
            assert_eq!(sum(chip, terms, 1.0, None), *y, "{chip} {terms:?}");
        }
    });
}

#[test]
fn products_round_ties_away_and_lose_small_ones_by_their_exponents() {
    on_both(|chip| {
        for (terms, y) in [([2048.0, 1.0], 2050.0), ([-2048.0, -1.0], -2050.0), ([4096.0, 2.0], 4100.0)] {
            assert_eq!(sum(chip, &terms, 1.0, None), y, "{chip} {terms:?}");
        }
        let unit = 2f32.powi(-16);
        // Kept from an exponent sum of -16, and then rounded away from zero; else gone whatever it is worth.
        assert_eq!(sum(chip, &[1.5 * 2f32.powi(-8)], 1.5 * 2f32.powi(-8), None), 2.0 * unit);
        assert_eq!(sum(chip, &[1.9375 * 2f32.powi(-8)], 1.9375 * 2f32.powi(-9), None), 0.0);
        // Sums of values below the normal ones are 0.
        assert_eq!(sum(chip, &[2f32.powi(-24); 64], 1.0, None), 0.0);
    });
}

#[test]
fn exponent_31_is_a_number_to_products() {
    on_both(|chip| {
        for (bits, value) in [(0x7c00, 65536.0), (0xfc00, -65536.0), (0x7e00, 98304.0), (0x7fff, 131008.0)] {
            assert_eq!(
                sum(chip, &[f16::from_bits(bits).to_f32()], 0.0625, None),
                value * 0.0625,
                "{bits:#x}"
            );
        }
        assert_eq!(sum(chip, &[-0.0], 1.0, None).to_bits(), 0);
    });
}

#[test]
fn sums_start_at_the_bias() {
    for (bias, terms, y) in [
        (-16384.0, vec![16384.0, 16384.0], 16384.0),
        (-16384.0, vec![16384.0, 16384.0, 16384.0], INF),
        (-16384.0, vec![32752.0], 16368.0),
        (32.0, vec![32752.0], INF),
        (32.0, vec![16384.0, 16368.0], INF),
        (-1.0, vec![1.0], 0.0),
    ] {
        on_both(|chip| assert_eq!(sum(chip, &terms, 1.0, Some(bias)), y, "{chip} {bias} + {terms:?}"));
    }
}

#[test]
fn wider_convolutions_are_the_same_sums() {
    // A 1×3 window over 2 channels, padded by one: at the border a term is missing.
    let (mut x, k) = (vec![0.0; 2 * WIDTH], 3);
    x[..3].copy_from_slice(&[16384.0, 16384.0, -16384.0]);
    x[WIDTH..WIDTH + 3].copy_from_slice(&[1.0, 2.0, 3.0]);
    let body = format!(
        "tensor<fp16, [1, 2, 1, {k}]> w = const()[val = tensor<fp16, [1, 2, 1, {k}]>([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])];
         string p = const()[val = string(\"custom\")];
         tensor<int32, [4]> pad = const()[val = tensor<int32, [4]>([0, 0, 1, 1])];
         tensor<fp16, [1, 1, 1, {WIDTH}]> y = conv(pad = pad, pad_type = p, weight = w, x = x0);"
    );
    on_both(|chip| {
        let y = run(chip, &[(2, &x)], &body);
        // 16384 + 16384 is over, whatever comes after; −16384 + 3 is rounded.
        assert_eq!(y[..4], [INF, INF, 5.0, -16384.0], "{chip}");
    });
}

#[test]
fn elementwise_results_use_the_whole_range_and_are_never_nan() {
    on_both(|chip| {
        let cases = [
            ("add", 2048.0, 1.0, 2050.0),
            ("add", 16384.0, 16384.0, 32768.0),
            ("add", 65504.0, 0.0, 65504.0),
            ("add", f32::NAN, 1.0, INF),
            ("add", INF, -INF, 0.0),
            ("add", 2f32.powi(-24), 0.0, 2f32.powi(-24)),
            ("mul", 256.0, 256.0, INF),
            ("mul", 200.0, 200.0, 40000.0),
            ("mul", 0.0, INF, 0.0),
            ("mul", 2f32.powi(-12), 2f32.powi(-12), 2f32.powi(-24)),
            ("sub", 2048.0, 1.0, 2047.0),
            ("sub", INF, INF, 0.0),
            ("maximum", -1.0, 3.0, 3.0),
            ("minimum", -1.0, 3.0, -1.0),
        ];
        for (op, a, b, y) in cases {
            let body = format!("tensor<fp16, [1, 1, 1, {WIDTH}]> y = {op}(x = x0, y = x1);");
            let found = run(chip, &[(1, &[a]), (1, &[b])], &body)[0];
            assert_eq!(found, y, "{chip}: {op} of {a} and {b}");
        }
    });
}

#[test]
fn special_values_of_functions() {
    on_both(|chip| {
        let cases = [
            ("exp(x = x0)", 11.094, INF),
            ("square(x = x0)", 256.0, INF),
            ("log(epsilon = fp16(0.0), x = x0)", 0.0, -45440.0),
            ("log(epsilon = fp16(0.0), x = x0)", -1.0, 0.0),
            ("sqrt(x = x0)", -1.0, 0.0),
            ("rsqrt(epsilon = fp16(0.0), x = x0)", -1.0, 0.0),
            ("inverse(epsilon = fp16(0.0), x = x0)", -0.0, INF),
            ("softplus(x = x0)", INF, 0.0),
            ("softplus(x = x0)", 11.094, 0.0),
            ("softsign(x = x0)", INF, 0.0),
            ("round(x = x0)", 1024.0, 1025.0),
            ("sigmoid(x = x0)", -9.945, 0.0),
            ("sigmoid(x = x0)", 8.32, 1.0),
        ];
        for (op, x, y) in cases {
            let x = f16::from_f32(x).to_f32();
            assert_eq!(unary(chip, op, &[x])[0], y, "{chip}: {op} of {x}");
        }
        assert!(unary(chip, "exp(x = x0)", &[f16::from_f32(11.086).to_f32()])[0].is_finite());
        assert!(unary(chip, "square(x = x0)", &[255.0])[0].is_finite());
    });
}

/// The error function, by Simpson's rule.
fn erf(x: f64) -> f64 {
    let (n, h) = (2000, x / 2000.0);
    let f = |i: i32| (-(h * f64::from(i)).powi(2)).exp();
    let sum: f64 = (1..n).map(|i| f(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    (f(0) + f(n) + sum) * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
}

#[test]
fn tables_err_as_published() {
    type Case = (&'static str, fn(f64) -> f64, f64, f64);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let cases: [Case; 7] = [
        ("sigmoid(x = x0)", sigmoid, 12.0, 3.4e-3),
        ("tanh(x = x0)", f64::tanh, 6.0, 1.6e-3),
        ("gelu(mode = string(\"EXACT\"), x = x0)", |x| x / 2.0 * (1.0 + erf(x / 2f64.sqrt())), 8.0, 6.2e-3),
        (
            "gelu(mode = string(\"TANH_APPROXIMATION\"), x = x0)",
            |x| x / 2.0 * (1.0 + erf(x / 2f64.sqrt())),
            8.0,
            6.2e-3,
        ),
        ("silu(x = x0)", |x| x / (1.0 + (-x).exp()), 12.0, 1.5e-2),
        ("erf(x = x0)", erf, 4.0, 8.6e-4),
        ("sin(x = x0)", f64::sin, 8.0, 6.3e-4),
    ];
    on_both(|chip| {
        for (op, exact, bound, published) in cases {
            let x: Vec<f32> =
                (0..4096).map(|i| f16::from_f64(bound * (f64::from(i) / 2048.0 - 1.0)).to_f32()).collect();
            let y = unary(chip, op, &x);
            let errors = x.iter().zip(&y).map(|(&x, &y)| (f64::from(y) - exact(f64::from(x))).abs());
            let most = errors.fold(0.0, f64::max);
            assert!((0.8 * published..1.05 * published).contains(&most), "{chip}: {op} errs by {most:.3e}");
        }
        let positive: Vec<f32> = (0..4096)
            .map(|i| f16::from_f64(2f64.powf(f64::from(i) / 4096.0 * 16.0 - 6.0)).to_f32())
            .collect();
        let ulps = |op: &str, exact: fn(f64) -> f64, x: &[f32]| {
            let y = unary(chip, op, x);
            let of = |(&x, &y): (&f32, &f32)| {
                let exact = exact(f64::from(x));
                (f64::from(y) - exact).abs() / (exact.abs().log2().floor().max(-14.0) - 10.0).exp2()
            };
            x.iter().zip(&y).map(of).fold(0.0, f64::max)
        };
        let log = unary(chip, "log(epsilon = fp16(0.0), x = x0)", &positive);
        let errors = positive.iter().zip(&log).map(|(&x, &y)| (f64::from(y) - f64::from(x).ln()).abs());
        let most = errors.fold(0.0, f64::max);
        assert!((0.8 * 6.6e-3..1.05 * 6.6e-3).contains(&most), "{chip}: log errs by {most:.3e}");
        let exp = ulps(
            "exp(x = x0)",
            f64::exp,
            &(0..4096).map(|i| f16::from_f64(f64::from(i) / 190.0 - 12.0).to_f32()).collect::<Vec<_>>(),
        );
        assert!((7.0..9.15).contains(&exp), "{chip}: exp errs by {exp} ulp");
        let sqrt = ulps("sqrt(x = x0)", f64::sqrt, &positive);
        assert!((0.9..1.25).contains(&sqrt), "{chip}: sqrt errs by {sqrt} ulp");
        let rsqrt = ulps("rsqrt(epsilon = fp16(0.0), x = x0)", |x| 1.0 / x.sqrt(), &positive);
        assert!((1.5..2.15).contains(&rsqrt), "{chip}: rsqrt errs by {rsqrt} ulp");
    });
}

#[test]
fn softmax_and_sums_of_published_rows() {
    on_both(|chip| {
        let mut x = vec![-30000.0; WIDTH];
        x[..4].copy_from_slice(&[1000.0, 1.0, 2.0, 3.0]);
        let softmax = "softmax(axis = int32(-1), x = x0)";
        assert_eq!(unary(chip, softmax, &x)[..4], [1.0, 0.0, 0.0, 0.0], "{chip}");
        x[..4].fill(7.0);
        assert_eq!(unary(chip, softmax, &x)[..5], [0.25, 0.25, 0.25, 0.25, 0.0], "{chip}");
        // Along the channels as well.
        let mut columns = vec![0.0; 4 * WIDTH];
        (0..4).for_each(|c| columns[c * WIDTH] = [1000.0, 1.0, 2.0, 3.0][c]);
        let body = format!("tensor<fp16, [1, 4, 1, {WIDTH}]> y = softmax(axis = int32(1), x = x0);");
        let y = run(chip, &[(4, &columns)], &body);
        let column = |i: usize| -> Vec<f32> { (0..4).map(|c| y[c * WIDTH + i]).collect() };
        assert_eq!((column(0), column(1)), (vec![1.0, 0.0, 0.0, 0.0], vec![0.25; 4]), "{chip}");

        let sum = |n: usize| {
            let mut x = vec![0.0; n.next_multiple_of(WIDTH)];
            x[..n].fill(1.0);
            let body = "tensor<fp16, [1, 1, 1, 1]> y = reduce_sum(axes = tensor<int32, [1]>([3]), keep_dims = bool(true), x = x0);";
            run(chip, &[(1, &x)], body)[0]
        };
        assert_eq!([sum(2048), sum(2049), sum(16000)], [2048.0, 2050.0, 16000.0], "{chip}");
    });
}

#[test]
fn m1_rounds_ties_to_even_and_loses_large_values_in_slices() {
    let add = format!("tensor<fp16, [1, 1, 1, {WIDTH}]> y = add(x = x0, y = x1);");
    assert_eq!(run("m1", &[(1, &[2048.0]), (1, &[1.0])], &add)[0], 2048.0);
    let x: Vec<f32> = (0..WIDTH).map(|i| [0.0, 4094.0, 4096.0, -5000.0, 0.1][i % 5]).collect();
    let x: Vec<f32> = x.iter().map(|x| f16::from_f32(*x).to_f32()).collect();
    let slice = |begin: usize| {
        format!(
            "tensor<fp16, [1, 1, 1, 4]> y = slice_by_size(begin = tensor<int32, [4]>([0, 0, 0, {begin}]), \
             size = tensor<int32, [4]>([1, 1, 1, 4]), x = x0);"
        )
    };
    assert_eq!(run("m1", &[(1, &x)], &slice(1)), [4094.0, INF, -INF, x[4]]);
    assert_eq!(run("m1", &[(1, &x)], &slice(0)), x[..4]);
    assert_eq!(run("m4", &[(1, &x)], &slice(1)), x[1..5]);
    assert!(
        SimEngine::new(Profile::built_in("m1").unwrap(), 1)
            .with_numerics(Numerics::Faithful)
            .caveat()
            .is_some()
    );
    assert!(
        SimEngine::new(Profile::built_in("m4").unwrap(), 1)
            .with_numerics(Numerics::Faithful)
            .caveat()
            .is_none()
    );
}

#[test]
fn attention_ignores_its_mask_where_the_profile_says_so() {
    let (seq, dim) = (4, WIDTH);
    let shape = format!("[1, 1, {seq}, {dim}]");
    let part = |i: usize| {
        format!("tensor<fp16, {shape}> p{i} = reshape(shape = tensor<int32, [4]>({shape}), x = x{i});\n")
    };
    let attend = |mask: &str| {
        format!(
            "{}{}{}{mask}tensor<fp16, {shape}> a = scaled_dot_product_attention({}key = p1, query = p0, value = p2);
             tensor<fp16, [1, {seq}, 1, {dim}]> y = reshape(shape = tensor<int32, [4]>([1, {seq}, 1, {dim}]), x = a);",
            part(0),
            part(1),
            part(2),
            if mask.is_empty() { "" } else { "attn_mask = m, " },
        )
    };
    let values: Vec<f32> =
        (0..seq * dim).map(|i| f16::from_f32((i % 7) as f32 / 8.0 - 0.3).to_f32()).collect();
    let inputs: Vec<(usize, &[f32])> = vec![(seq, &values); 3];
    let mask: Vec<&str> =
        (0..seq * seq).map(|i| if i % seq > i / seq { "-10000.0" } else { "0.0" }).collect();
    let mask = format!(
        "tensor<fp16, [{seq}, {seq}]> m = const()[val = tensor<fp16, [{seq}, {seq}]>([{}])];\n",
        mask.join(", ")
    );
    let free = run("m4", &inputs, &attend(""));
    assert_eq!(run("m4", &inputs, &attend(&mask)), free);
    assert!(free.iter().any(|y| *y != free[0]));
}

#[test]
fn saturations_are_told_by_op() {
    let body = format!(
        "tensor<fp16, [1, 1, 1, {WIDTH}]> big = mul(x = x0, y = x0);
         tensor<fp16, [1, 1, 1, {WIDTH}]> y = add(x = big, y = x0);"
    );
    for threads in [1, 2, 3] {
        let (y, saturated) = run_all("m4", threads, &[(1, &[300.0, 2.0, -256.0])], &body);
        assert_eq!(y[..3], [INF, 6.0, INF]);
        let told: Vec<_> = saturated.iter().map(|s| (s.value.as_str(), s.op.name(), s.saturated)).collect();
        // What an infinite operand makes is not the op's own.
        assert_eq!(told, [("big", "mul", 2)]);
    }
}
