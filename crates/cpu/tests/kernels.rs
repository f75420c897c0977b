//! Ops with kernels and lowerings of their own against the reference interpreter, over random shapes and arguments.

mod common;

use common::{Random, builder, check, check_with, fp16, ints, op};
use ferrane_mil::{Arg, Builder, Constant, DType, Opcode, Operand, TensorType, ValueId};

/// Random cases of each test.
const CASES: u64 = 24;

fn small(random: &mut Random) -> usize {
    1 + random.below(6)
}

fn shape(random: &mut Random, rank: usize) -> Vec<usize> {
    (0..rank).map(|_| small(random)).collect()
}

fn flag(random: &mut Random) -> bool {
    random.below(2) == 1
}

fn input(b: &mut Builder, name: &str, shape: &[usize]) -> ValueId {
    b.input(name, fp16(shape))
}

fn int(v: usize) -> Arg {
    Constant::int(v as i32).into()
}

fn sizes(v: &[usize]) -> Arg {
    ints(&v.iter().map(|&x| x as i32).collect::<Vec<_>>())
}

/// Small numbers as operands, which the text of a program would hold.
fn numbers(random: &mut Random, shape: &[usize]) -> Arg {
    let data = random.numbers(shape.iter().product());
    Constant::fp16_tensor(shape, &data).into()
}

/// Strides, dilations and padding for a window over `spatial` axes of `input` extents, as the op's arguments.
fn window(random: &mut Random, input: &[usize], kernel: &[usize], dilated: bool) -> Vec<(&'static str, Arg)> {
    let n = kernel.len();
    let some =
        |random: &mut Random, most: usize| -> Vec<usize> { (0..n).map(|_| 1 + random.below(most)).collect() };
    let mut args = vec![("strides", sizes(&some(random, 3)))];
    let dilations = if dilated { some(random, 2) } else { vec![1; n] };
    if dilated {
        args.push(("dilations", sizes(&dilations)));
    }
    let fits = (0..n).all(|d| (kernel[d] - 1) * dilations[d] < input[d]);
    let kind = if fits { random.below(4) } else { 3 };
    let name = ["valid", "same", "same_lower", "custom"][kind];
    args.push(("pad_type", Constant::string(name).into()));
    if kind == 3 {
        // Less than the window, so that each has an element.
        let reach = |d: usize| (kernel[d] - 1) * dilations[d];
        let pad: Vec<usize> =
            (0..2 * n).map(|i| reach(i / 2) - random.below(reach(i / 2).min(2) + 1)).collect();
        args.push(("pad", sizes(&pad)));
    }
    args
}

#[test]
fn convolutions_of_any_geometry() {
    for seed in 0..3 * CASES {
        let mut random = Random(seed);
        let spatial = 1 + random.below(if seed % 5 == 0 { 3 } else { 2 });
        let groups = [1, 1, 2, 3][random.below(4)];
        let depthwise = flag(&mut random);
        let inner = if depthwise { 1 } else { small(&mut random) };
        let out = groups * (1 + random.below(3));
        let pixels: Vec<usize> = (0..spatial).map(|_| 3 + random.below(7)).collect();
        let kernel: Vec<usize> = (0..spatial).map(|_| 1 + random.below(3)).collect();
        let mut b = builder();
        let x = input(&mut b, "x", &[&[1 + random.below(2), groups * inner], &pixels[..]].concat());
        let weight_shape = [&[out, inner], &kernel[..]].concat();
        let weight = match flag(&mut random) {
            true => input(&mut b, "w", &weight_shape).into(),
            false => numbers(&mut random, &weight_shape),
        };
        let mut args = vec![("x", x.into()), ("weight", weight), ("groups", int(groups))];
        args.extend(window(&mut random, &pixels, &kernel, true));
        if flag(&mut random) {
            args.push(("bias", numbers(&mut random, &[out])));
        }
        let y = op(&mut b, Opcode::Conv, args);
        check(&b.finish(&[y]), seed, false);
    }
}

#[test]
fn a_large_depthwise_kernel_and_a_convolution_of_views() {
    let mut b = builder();
    let x = input(&mut b, "x", &[1, 9, 8, 3]);
    let x = b.transpose(x, &[0, 3, 1, 2]).unwrap();
    let w = input(&mut b, "w", &[3, 1, 7, 6]);
    let depthwise = op(&mut b, Opcode::Conv, vec![("x", x.into()), ("weight", w.into()), ("groups", int(3))]);
    let y = b.slice_axis(x, 2, 1, 6).unwrap();
    let w = input(&mut b, "v", &[4, 3, 2, 2]);
    let dense = op(&mut b, Opcode::Conv, vec![("x", y.into()), ("weight", w.into())]);
    check(&b.finish(&[depthwise, dense]), 1, false);
}

#[test]
fn transposed_convolutions() {
    for seed in 0..2 * CASES {
        let mut random = Random(seed);
        let spatial = 1 + random.below(2);
        let groups = [1, 1, 2][random.below(3)];
        let (inner, out) = (small(&mut random), 1 + random.below(3));
        let pixels = shape(&mut random, spatial);
        let kernel: Vec<usize> = (0..spatial).map(|_| 1 + random.below(3)).collect();
        let steps: Vec<usize> = (0..spatial).map(|_| 1 + random.below(3)).collect();
        let apart: Vec<usize> = (0..spatial).map(|_| 1 + random.below(2)).collect();
        let mut b = builder();
        let x = input(&mut b, "x", &[&[1 + random.below(2), groups * inner], &pixels[..]].concat());
        let weight = input(&mut b, "w", &[&[groups * inner, out], &kernel[..]].concat());
        let mut args = vec![
            ("x", x.into()),
            ("weight", weight.into()),
            ("groups", int(groups)),
            ("strides", sizes(&steps)),
            ("dilations", sizes(&apart)),
        ];
        if flag(&mut random) {
            args.push(("bias", numbers(&mut random, &[groups * out])));
        }
        let y = op(&mut b, Opcode::ConvTranspose, args);
        check(&b.finish(&[y]), seed, false);
    }
    // Padding crops the result, and an output shape may exceed what the kernels reach.
    for (pad, out) in [([1, 0, 0, 1], None), ([1, 1, 1, 1], Some([1, 2, 8, 9]))] {
        let mut b = builder();
        let x = input(&mut b, "x", &[1, 3, 4, 4]);
        let w = input(&mut b, "w", &[3, 2, 3, 3]);
        let mut args = vec![
            ("x", x.into()),
            ("weight", w.into()),
            ("strides", ints(&[2, 2])),
            ("pad_type", Constant::string("custom").into()),
            ("pad", ints(&pad)),
        ];
        args.extend(out.map(|shape: [i32; 4]| ("output_shape", ints(&shape))));
        let y = op(&mut b, Opcode::ConvTranspose, args);
        check(&b.finish(&[y]), 2, false);
    }
}

#[test]
fn pools() {
    for seed in 0..3 * CASES {
        let mut random = Random(seed);
        let code = [Opcode::MaxPool, Opcode::AvgPool, Opcode::L2Pool][random.below(3)];
        let spatial = if code == Opcode::L2Pool { 2 } else { 1 + random.below(3) };
        let pixels: Vec<usize> = (0..spatial).map(|_| 4 + random.below(7)).collect();
        let kernel: Vec<usize> = (0..spatial).map(|_| 1 + random.below(4)).collect();
        let mut b = builder();
        let x = input(&mut b, "x", &[&[1 + random.below(2), small(&mut random)], &pixels[..]].concat());
        let mut args = vec![("x", x.into()), ("kernel_sizes", sizes(&kernel))];
        args.extend(window(&mut random, &pixels, &kernel, false));
        if code != Opcode::L2Pool {
            args.push(("ceil_mode", Constant::bool(flag(&mut random)).into()));
        }
        if code == Opcode::AvgPool {
            args.push(("exclude_padding_from_average", Constant::bool(flag(&mut random)).into()));
        }
        let y = op(&mut b, code, args);
        check(&b.finish(&[y]), seed, false);
    }
    // A window too large to be combined element by element.
    for code in [Opcode::MaxPool, Opcode::AvgPool] {
        let mut b = builder();
        let x = input(&mut b, "x", &[2, 3, 9, 9]);
        let args = vec![
            ("x", x.into()),
            ("kernel_sizes", ints(&[7, 8])),
            ("strides", ints(&[2, 1])),
            ("pad_type", Constant::string("valid").into()),
        ];
        let y = op(&mut b, code, args);
        check(&b.finish(&[y]), 4, false);
    }
}

#[test]
fn products() {
    for seed in 0..CASES {
        let mut random = Random(seed);
        let (inner, out) = (random.extent(), random.extent());
        let rank = 1 + random.below(3);
        let mut of = shape(&mut random, rank);
        *of.last_mut().unwrap() = inner;
        let mut b = builder();
        let x = input(&mut b, "x", &of);
        let w = input(&mut b, "w", &[out, inner]);
        let mut args = vec![("x", x.into()), ("weight", w.into())];
        if flag(&mut random) {
            args.push(("bias", numbers(&mut random, &[out])));
        }
        let y = op(&mut b, Opcode::Linear, args);
        check(&b.finish(&[y]), seed, false);
    }
    let equations: [(&str, &[usize], &[usize]); 7] = [
        ("nchw,nwhu->nchu", &[2, 3, 4, 5], &[2, 5, 4, 6]),
        ("ab,bc->ca", &[3, 4], &[4, 5]),
        ("abc,cd->abd", &[2, 3, 4], &[4, 5]),
        ("bhqd,bhkd->bhqk", &[2, 3, 4, 5], &[2, 3, 6, 5]),
        ("bqd,bkd->kbq", &[1, 4, 5], &[3, 6, 5]),
        ("ab,cd->adbc", &[2, 3], &[4, 5]),
        ("ab,ab->a", &[3, 4], &[3, 4]),
    ];
    for (i, (equation, x, y)) in equations.into_iter().enumerate() {
        let mut b = builder();
        let values = [input(&mut b, "x", x), input(&mut b, "y", y)].map(Operand::Value).to_vec();
        let args = vec![("values", Arg::Many(values)), ("equation", Constant::string(equation).into())];
        let z = op(&mut b, Opcode::Einsum, args);
        check(&b.finish(&[z]), i as u64, false);
    }
}

#[test]
fn normalisations() {
    for seed in 0..2 * CASES {
        let mut random = Random(seed);
        let code = [Opcode::LayerNorm, Opcode::BatchNorm, Opcode::InstanceNorm][random.below(3)];
        let rank = 3 + random.below(2);
        let of: Vec<usize> = (0..rank).map(|_| 2 + random.below(40 / rank)).collect();
        let mut b = builder();
        let x = input(&mut b, "x", &of);
        let mut args = vec![("x", x.into()), ("epsilon", Constant::fp16(0.125).into())];
        let along = match code {
            Opcode::LayerNorm => {
                let axes: Vec<usize> = (0..rank).filter(|_| flag(&mut random)).collect();
                let axes = if axes.is_empty() { vec![rank - 1] } else { axes };
                args.push(("axes", sizes(&axes)));
                axes.iter().map(|&a| of[a]).collect()
            }
            _ => vec![of[1]],
        };
        if code == Opcode::BatchNorm {
            args.push(("mean", numbers(&mut random, &along)));
            let variance: Vec<f32> = random.numbers(of[1]).iter().map(|x| x.abs()).collect();
            args.push(("variance", Constant::fp16_tensor(along.clone(), &variance).into()));
        }
        let both = flag(&mut random);
        for name in ["gamma", "beta"] {
            if both || (code == Opcode::LayerNorm && flag(&mut random)) {
                args.push((name, numbers(&mut random, &along)));
            }
        }
        let y = op(&mut b, code, args);
        check(&b.finish(&[y]), seed, false);
    }
    for (code, extra) in [
        (Opcode::L2Norm, vec![("epsilon", Constant::fp16(0.01).into())]),
        (
            Opcode::LocalResponseNorm,
            vec![("size", Constant::int(3).into()), ("alpha", Constant::fp16(0.5).into())],
        ),
        (Opcode::LocalResponseNorm, vec![("size", Constant::int(4).into())]),
    ] {
        let mut b = builder();
        let x = input(&mut b, "x", &[2, 5, 3, 4]);
        let mut args = vec![("x", x.into())];
        args.extend(extra);
        let y = op(&mut b, code, args);
        check(&b.finish(&[y]), 3, false);
    }
}

#[test]
fn attention() {
    for seed in 0..CASES {
        let mut random = Random(seed);
        let batch_rank = 1 + random.below(2);
        let batch = shape(&mut random, batch_rank);
        let (queries, keys) = (small(&mut random), 1 + random.below(20));
        let (width, values) = (small(&mut random), small(&mut random));
        let mut b = builder();
        let of = |l: usize, e: usize| [&batch[..], &[l, e]].concat();
        let q = input(&mut b, "q", &of(queries, width));
        let k = input(&mut b, "k", &of(keys, width));
        let v = input(&mut b, "v", &of(keys, values));
        let mut args = vec![("query", q.into()), ("key", k.into()), ("value", v.into())];
        match random.below(3) {
            0 => {}
            1 => args.push(("attn_mask", input(&mut b, "mask", &[queries, keys]).into())),
            _ => {
                // Every query sees the first key.
                let sees = (0..queries * keys).map(|i| i % keys == 0 || flag(&mut random)).collect();
                let mask = Constant::inline(
                    TensorType::new(DType::Bool, [queries, keys]),
                    ferrane_mil::Data::Bool(sees),
                );
                args.push(("attn_mask", mask.into()));
            }
        }
        let y = op(&mut b, Opcode::ScaledDotProductAttention, args);
        check(&b.finish(&[y]), seed, false);
    }
}

/// Inputs that hold indices in `low..high`.
fn with_indices(b: &mut Builder, of: &[usize]) -> ValueId {
    b.input("indices", TensorType::new(DType::Int32, of))
}

#[test]
fn gathers() {
    for seed in 0..2 * CASES {
        let mut random = Random(seed);
        let rank = 1 + random.below(3);
        let of = shape(&mut random, rank);
        let axis = random.below(rank);
        let (code, picks, batch) = match flag(&mut random) {
            true => {
                let batch = random.below(axis + 1);
                let more_rank = random.below(3);
                let more = shape(&mut random, more_rank);
                (Opcode::Gather, [&of[..batch], &more].concat(), batch)
            }
            false => {
                let mut picks = of.clone();
                picks[axis] = small(&mut random);
                (Opcode::GatherAlongAxis, picks, 0)
            }
        };
        let mut b = builder();
        let x = input(&mut b, "x", &of);
        let indices = with_indices(&mut b, &picks);
        let mut args = vec![("x", x.into()), ("indices", indices.into()), ("axis", int(axis))];
        if code == Opcode::Gather {
            args.push(("batch_dims", int(batch)));
        }
        let y = op(&mut b, code, args);
        let y = b.scale(y, 0.5).unwrap();
        // From the end, inside and beyond.
        let extent = of[axis] as f32;
        check_with(&b.finish(&[y]), seed, |name, random| match name {
            "indices" => random.below(2 * of[axis] + 2) as f32 - extent,
            _ => random.number(),
        });
    }
}

#[test]
fn slices_by_index() {
    for seed in 0..2 * CASES {
        let mut random = Random(seed);
        let rank = 1 + random.below(4);
        let of = shape(&mut random, rank);
        let (mut begin, mut end, mut stride, mut squeeze) = (vec![], vec![], vec![], vec![]);
        for &d in &of {
            let first = random.below(d) as i32;
            let last = first + random.below(d - first as usize) as i32;
            let step = 1 + random.below(3) as i32;
            let backwards = random.below(3) == 0 && first > 0;
            squeeze.push(rank > 1 && random.below(4) == 0);
            let (b, e, s) = if backwards { (last, first - 1, -step) } else { (first, last + 1, step) };
            begin.push(b);
            end.push(e);
            stride.push(s);
        }
        let bools = |v: Vec<bool>| -> Arg {
            Constant::inline(TensorType::new(DType::Bool, [v.len()]), ferrane_mil::Data::Bool(v)).into()
        };
        let mut b = builder();
        let x = input(&mut b, "x", &of);
        let masks = (0..rank).map(|_| random.below(4) == 0).collect();
        let args = vec![
            ("x", x.into()),
            ("begin", ints(&begin)),
            ("end", ints(&end)),
            ("stride", ints(&stride)),
            ("end_mask", bools(masks)),
            ("squeeze_mask", bools(squeeze)),
        ];
        let y = op(&mut b, Opcode::SliceByIndex, args);
        let z = b.unary(Opcode::Exp, y).unwrap();
        check(&b.finish(&[y, z]), seed, false);
    }
}

#[test]
fn truth_values_and_choice() {
    use Opcode::*;
    for seed in 0..CASES {
        let mut random = Random(seed);
        let rank = 1 + random.below(3);
        let of = shape(&mut random, rank);
        let part: Vec<usize> = of.iter().map(|&d| if flag(&mut random) { 1 } else { d }).collect();
        let mut b = builder();
        let (x, y) = (input(&mut b, "x", &of), input(&mut b, "y", &part));
        // Few different values, so that some are equal.
        let x = b.unary(Round, x).unwrap();
        let y = b.unary(Round, y).unwrap();
        let mut truths: Vec<ValueId> = [Equal, NotEqual, Greater, GreaterEqual, Less, LessEqual]
            .iter()
            .map(|&code| b.binary(code, x, y).unwrap())
            .collect();
        for code in [LogicalAnd, LogicalOr, LogicalXor] {
            let pair = [0; 2].map(|_| truths[random.below(truths.len())]);
            truths.push(b.binary(code, pair[0], pair[1]).unwrap());
        }
        let not = b.unary(LogicalNot, truths[0]).unwrap();
        let chosen = op(&mut b, Select, vec![("cond", not.into()), ("a", x.into()), ("b", y.into())]);
        let mut outputs = truths;
        outputs.extend([not, chosen]);
        check(&b.finish(&outputs), seed, false);
    }
}

#[test]
fn walks_along_an_axis() {
    for seed in 0..2 * CASES {
        let mut random = Random(seed);
        let rank = 1 + random.below(3);
        let of: Vec<usize> = (0..rank).map(|_| random.extent().min(33)).collect();
        let axis = random.below(rank);
        let code = [Opcode::Cumsum, Opcode::ReduceArgmax, Opcode::ReduceArgmin][random.below(3)];
        let mut b = builder();
        let x = input(&mut b, "x", &of);
        let mut args = vec![("x", x.into()), ("axis", int(axis))];
        let flags: &[&str] = if code == Opcode::Cumsum { &["exclusive", "reverse"] } else { &["keep_dims"] };
        for &name in flags {
            args.push((name, Constant::bool(flag(&mut random)).into()));
        }
        let y = op(&mut b, code, args);
        check(&b.finish(&[y]), seed, false);
    }
}

#[test]
fn one_hots() {
    for seed in 0..CASES {
        let mut random = Random(seed);
        let rank = random.below(3);
        let of = shape(&mut random, rank);
        let size = small(&mut random);
        let mut b = builder();
        let indices = with_indices(&mut b, &of);
        let mut args = vec![
            ("indices", indices.into()),
            ("one_hot_vector_size", int(size)),
            ("axis", int(random.below(rank + 1))),
        ];
        if flag(&mut random) {
            args.push(("on_value", Constant::fp16(2.5).into()));
            args.push(("off_value", Constant::fp16(-1.0).into()));
        }
        let y = op(&mut b, Opcode::OneHot, args);
        check_with(&b.finish(&[y]), seed, |_, random| random.below(2 * size + 2) as f32 - size as f32 - 1.0);
    }
}

#[test]
fn elementwise_ops() {
    use Opcode::*;
    let plain = [Ceil, Floor, Round, Sign, Sinh, Cosh, Atan, Tan, Softplus, Softsign, Relu6];
    for code in plain {
        let mut b = builder();
        let x = input(&mut b, "x", &[3, 50]);
        let y = b.unary(code, x).unwrap();
        check_with(&b.finish(&[y]), 1, |_, random| random.number() / 2.0);
    }
    for code in [Asin, Acos, Atanh] {
        let mut b = builder();
        let x = input(&mut b, "x", &[3, 50]);
        let y = b.unary(code, x).unwrap();
        check_with(&b.finish(&[y]), 1, |_, random| random.number() / 2.125);
    }
    let half = || Constant::fp16(0.5).into();
    let with_alpha = [Elu, LeakyRelu, Threshold, ThresholdedRelu];
    let with_beta = [Clip, ClampedRelu, LinearActivation, ScaledTanh, SigmoidHard];
    for code in with_alpha.into_iter().chain(with_beta) {
        let mut b = builder();
        let x = input(&mut b, "x", &[3, 50]);
        let mut args = vec![("x", x.into()), ("alpha", half())];
        if with_beta.contains(&code) {
            args.push(("beta", Constant::fp16(0.75).into()));
        }
        let y = op(&mut b, code, args);
        check(&b.finish(&[y]), 2, false);
    }
    let mut random = Random(3);
    let mut b = builder();
    let x = input(&mut b, "x", &[2, 4, 5]);
    let alpha = numbers(&mut random, &[4]);
    let y = op(&mut b, Prelu, vec![("x", x.into()), ("alpha", alpha.clone())]);
    let beta = numbers(&mut random, &[4]);
    let z = op(&mut b, SoftplusParametric, vec![("x", x.into()), ("alpha", alpha), ("beta", beta)]);
    check(&b.finish(&[y, z]), 3, false);
}

#[test]
fn integers_divide_and_are_cast_as_integers() {
    use Opcode::*;
    for code in [RealDiv, FloorDiv, Mod, Pow, Add, Maximum] {
        let mut b = builder();
        let ty = TensorType::new(DType::Int32, [60]);
        let (x, y) = (b.input("x", ty.clone()), b.input("y", ty));
        let z = b.binary(code, x, y).unwrap();
        check_with(&b.finish(&[z]), 5, |name, random| match name {
            "x" => random.below(201) as f32 - 100.0,
            _ => random.below(3) as f32 + 1.0,
        });
    }
    for dtype in ["int8", "uint8", "int16", "uint16", "int32", "bool"] {
        let mut b = builder();
        let x = input(&mut b, "x", &[60]);
        let y = op(&mut b, Cast, vec![("x", x.into()), ("dtype", Constant::string(dtype).into())]);
        check_with(&b.finish(&[y]), 5, |_, random| random.number() * 30000.0);
    }
}

#[test]
fn pixels_windows_and_stacks() {
    use Opcode::*;
    for (code, of, name) in [
        (DepthToSpace, [2, 12, 3, 2], "block_size"),
        (PixelShuffle, [2, 12, 3, 2], "upscale_factor"),
        (SpaceToDepth, [2, 3, 4, 6], "block_size"),
        (PixelUnshuffle, [2, 3, 4, 6], "downscale_factor"),
    ] {
        let mut b = builder();
        let x = input(&mut b, "x", &of);
        let two = if name == "downscale_factor" {
            Constant::inline(TensorType::new(DType::Uint32, []), ferrane_mil::Data::Uint(vec![2])).into()
        } else {
            int(2)
        };
        let y = op(&mut b, code, vec![("x", x.into()), (name, two)]);
        check(&b.finish(&[y]), 1, false);
    }
    let one = |of: &[usize], code: Opcode, args: Vec<(&'static str, Arg)>| {
        let mut b = builder();
        let x = input(&mut b, "x", of);
        let mut all = vec![("x", x.into())];
        all.extend(args);
        let y = op(&mut b, code, all);
        check(&b.finish(&[y]), 2, false);
    };
    one(&[1, 2, 6, 7], Crop, vec![("crop_height", ints(&[1, 2])), ("crop_width", ints(&[0, 3]))]);
    one(&[2, 7, 3], SlidingWindows, vec![("axis", int(1)), ("size", int(3)), ("stride", int(2))]);
    one(&[2, 3, 4], Reverse, vec![("axes", ints(&[0, 2]))]);
    one(&[2, 3, 4], Reverse, vec![]);
    one(&[2, 3, 4], Flatten2d, vec![("axis", int(2))]);
    let heights = |h: i32, w: i32| {
        vec![("target_size_height", Constant::int(h).into()), ("target_size_width", Constant::int(w).into())]
    };
    one(&[1, 2, 4, 5], ResizeNearestNeighbor, heights(7, 3));
    for mode in ["DEFAULT", "STRICT_ALIGN_CORNERS", "UNALIGN_CORNERS", "OFFSET_CORNERS"] {
        let mode = ("sampling_mode", Constant::string(mode).into());
        one(&[1, 2, 4, 5], ResizeBilinear, [heights(7, 3), vec![mode]].concat());
    }
    for axis in 0..3 {
        let mut b = builder();
        let values = ["x", "y", "z"].map(|name| Operand::Value(input(&mut b, name, &[2, 3]))).to_vec();
        let y = op(&mut b, Stack, vec![("axis", int(axis)), ("values", Arg::Many(values))]);
        check(&b.finish(&[y]), 3, false);
    }
}
