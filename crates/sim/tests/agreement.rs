//! `ferrane mil check --chip` and the simulated engine say the same of every program: for every rule there is one that
//! breaks it, and for every chip either both find the rule broken, and the engine does what the rule says, or neither does.

use std::collections::BTreeMap;
use std::io::Cursor;

use ferrane_engine::legality::{self, Rule};
use ferrane_engine::{Effect, Engine, Kernel, Port, Profile, RemarkKind, Surface, WeightFiles};
use ferrane_mil::blob::BlobWriter;
use ferrane_mil::diagnostic::Severity;
use ferrane_mil::{DType, Verified, text, verify};
use ferrane_sim::SimEngine;

const X: &str = "tensor<fp16, [1, 64, 1, 64]> x";

/// Rules about processes, which no program breaks: `rules.rs` has their tests.
const OF_PROCESSES: [&str; 5] = ["weight-header", "slots", "compile-count", "reload-ignored", "data-ignored"];

/// Names for the constants that most programs want.
const CONSTANTS: &str = r#"
    bool no = const()[val = bool(false)];
    bool yes = const()[val = bool(true)];
    int32 one = const()[val = int32(1)];
    string valid = const()[val = string("valid")];
    tensor<int32, [2]> unit = const()[val = tensor<int32, [2]>([1, 1])];
    tensor<int32, [4]> none = const()[val = tensor<int32, [4]>([0, 0, 0, 0])];
"#;

fn func(inputs: &str, statements: &str, outputs: &str) -> String {
    format!("program(1.3) {{ func main<ios18>({inputs}) {{ {CONSTANTS} {statements} }} -> ({outputs}); }}")
}

fn y(inputs: &str, statements: &str) -> String {
    func(inputs, statements, "y")
}

fn relu(shape: &str) -> String {
    let ty = format!("tensor<fp16, {shape}>");
    y(&format!("{ty} x"), &format!("{ty} y = relu(x = x);"))
}

/// `n` numbers of a type as a literal of the shape.
fn literal(dtype: &str, shape: &str, n: usize) -> String {
    format!("tensor<{dtype}, {shape}>([{}])", vec!["1"; n].join(", "))
}

fn constant(name: &str, dtype: &str, shape: &str, n: usize) -> String {
    format!("tensor<{dtype}, {shape}> {name} = const()[val = {}];", literal(dtype, shape, n))
}

fn ints(name: &str, values: &[usize]) -> String {
    format!("tensor<int32, [{0}]> {name} = const()[val = tensor<int32, [{0}]>({values:?})];", values.len())
}

/// `to = from` in another shape.
fn reshape(to: &str, from: &str, shape: &[usize]) -> String {
    let extents = ints(&format!("{to}_shape"), shape);
    format!("{extents} tensor<fp16, {shape:?}> {to} = reshape(x = {from}, shape = {to}_shape);")
}

const CONV: &str = "strides = unit, pad_type = valid, pad = none, dilations = unit, groups = one";

/// A convolution of `x` by a constant kernel.
fn conv(channels: usize, kernel: &str, elements: usize, out: &str, more: &str) -> String {
    let weight = constant("w", "fp16", kernel, elements);
    let x = format!("tensor<fp16, [1, {channels}, 1, 64]> x");
    y(&x, &format!("{weight} {out} y = conv(x = x, weight = w, {CONV}{more});"))
}

/// One program for each rule that programs can break.
fn programs() -> BTreeMap<&'static str, String> {
    let two = "tensor<fp16, [1, 128, 1, 64]> y = concat(values = (x, x)";
    let heads = [reshape("q", "x", &[1, 2, 32, 64]), reshape("m", "mask", &[1, 2, 32, 32])].concat();
    let attend = |shape: &str| {
        format!("tensor<fp16, {shape}> a = scaled_dot_product_attention(query = q, key = q, value = q")
    };
    let flat = reshape("y", "a", &[1, 64, 1, 64]);
    let sum = format!(
        "{} tensor<fp16, [1, 1, 1, 64]> s = reduce_sum(x = x, axes = ax, keep_dims = yes);",
        ints("ax", &[1])
    );
    let slice = |name: &str| {
        format!(
            "{} {} tensor<fp16, [1, 64, 1, 32]> {name} = slice_by_size(x = x, begin = {name}_b, size = {name}_s);",
            ints(&format!("{name}_b"), &[0, 0, 0, 32]),
            ints(&format!("{name}_s"), &[1, 64, 1, 32])
        )
    };
    let by_index = format!(
        "{} {} tensor<fp16, [1, 32, 1, 64]> y = slice_by_index(x = x, begin = b, end = e);",
        ints("b", &[0, 0, 0, 0]),
        ints("e", &[1, 32, 1, 64])
    );
    let blob = |name: &str, shape: &str, file: &str, offset: usize| {
        format!(
            r#"tensor<fp16, {shape}> {name} = const()[val = tensor<fp16, {shape}>(BLOBFILE(path = string("@model_path/weights/{file}.bin"), offset = uint64({offset})))];"#
        )
    };
    let deep = (0..400)
        .map(|i| format!("tensor<fp16, [1, 1, 1, 64]> c{0} = conv(x = c{i}, weight = w, {CONV});", i + 1));
    let deep = format!(
        "{} {} tensor<fp16, [1, 1, 1, 64]> y = relu(x = c400);",
        constant("w", "fp16", "[1, 1, 1, 1]", 1),
        deep.collect::<String>()
    );
    let half = "string half = const()[val = string(\"fp16\")];";
    let turn = |to: &str| {
        format!(
            "{} tensor<fp16, [1, 64, 64, 1]> {to} = transpose(x = x, perm = {to}_p);",
            ints(&format!("{to}_p"), &[0, 1, 3, 2])
        )
    };
    let rows = "tensor<fp16, [1, 512, 1, 64]> x";
    BTreeMap::from([
        ("program-version", relu("[1, 64, 1, 64]").replace("program(1.3)", "program(1.5)")),
        ("op-set", relu("[1, 64, 1, 64]")),
        ("concat", y(X, &format!("{two}, axis = one, interleave = no);"))),
        ("concat-axis-inline", y(X, &format!("{two}, axis = int32(1), interleave = no);"))),
        ("concat-interleave-missing", y(X, &format!("{two}, axis = one);"))),
        ("gelu-mode-missing", y(X, "tensor<fp16, [1, 64, 1, 64]> y = gelu(x = x);")),
        ("matmul-transpose-inline", y(X, "tensor<fp16, [1, 64, 1, 1]> y = matmul(x = x, y = x, transpose_x = no, transpose_y = bool(true));")),
        ("conv-bias", conv(2, "[2, 2, 1, 1]", 4, &format!("{} tensor<fp16, [1, 2, 1, 64]>", constant("b", "fp16", "[2]", 2)), ", bias = b")),
        ("conv-weight-runtime", y(&format!("tensor<fp16, [1, 4, 1, 64]> v, {X}"),
            &format!("{} tensor<fp16, [1, 4, 1, 64]> y = conv(x = x, weight = w, {CONV});", reshape("w", "v", &[4, 64, 1, 1])))),
        ("conv-weight-runtime-batch", y(&format!("tensor<fp16, [1, 4, 1, 64]> v, {X}"),
            &format!("{} {} tensor<fp16, [2, 8, 1, 64]> c = conv(x = h, weight = w, {CONV}); {}",
                reshape("w", "v", &[8, 32, 1, 1]), reshape("h", "x", &[2, 32, 1, 64]), reshape("y", "c", &[1, 16, 1, 64])))),
        ("conv-input-channels", conv(32_000, "[1, 32000, 1, 1]", 32_000, "tensor<fp16, [1, 1, 1, 64]>", "")),
        ("output-is-input", func(X, "tensor<fp16, [1, 64, 1, 64]> y = relu(x = x);", "x, y")),
        ("weight-file-combined", y(X, &format!("{} {} tensor<fp16, [1, 64, 1, 64]> t = mul(x = x, y = p); tensor<fp16, [1, 64, 1, 64]> y = add(x = t, y = q);",
            blob("p", "[1, 64, 1, 1]", "both", 64), blob("q", "[1, 64, 1, 1]", "both", 256)))),
        ("look-up-table", y(X, &format!("{} {} int32 axis = const()[val = int32(0)]; tensor<fp16, [4, 64, 1, 1]> w = constexpr_lut_to_dense(indices = i, lut = l, vector_axis = axis);
            tensor<fp16, [1, 4, 1, 64]> y = conv(x = x, weight = w, {CONV});",
            constant("i", "uint8", "[2, 64, 1, 1]", 128), constant("l", "fp16", "[1, 1, 1, 1, 256, 2]", 512)))),
        ("named-arguments", y(X, "tensor<fp16, [1, 1, 1, 64]> y = reduce_sum(x = x, axes = tensor<int32, [1]>([1]), keep_dims = yes);")),
        ("softmax-power-of-two", y("tensor<fp16, [1, 48, 1, 64]> x", "tensor<fp16, [1, 48, 1, 64]> y = softmax(x = x, axis = one);")),
        ("rsqrt-after-reduce", y(X, &format!("{sum} fp16 e = const()[val = fp16(0.001)]; tensor<fp16, [1, 1, 1, 64]> y = rsqrt(x = s, epsilon = e);"))),
        ("slice-of-input", y(X, &by_index)),
        ("tile-poisons-process", y(X, &format!("{} tensor<fp16, [1, 128, 1, 64]> y = tile(x = x, reps = r);", ints("r", &[1, 2, 1, 1])))),
        ("sdpa-mask", y(&format!("tensor<fp16, [1, 32, 1, 64]> mask, {X}"), &format!("{heads} {}, attn_mask = m); {flat}", attend("[1, 2, 32, 64]")))),
        ("sdpa-mask-planes", y(&format!("tensor<fp16, [1, 32, 1, 64]> mask, {X}"), &format!("{heads} {}, attn_mask = m); {flat}", attend("[1, 2, 32, 64]")))),
        ("sdpa-extent", y(rows, &format!("{} {}); {}", reshape("q", "x", &[1, 1, 512, 64]), attend("[1, 1, 512, 64]"), reshape("y", "a", &[1, 512, 1, 64])))),
        ("transposed-products", y(X, &format!("{} {} tensor<fp16, [1, 64, 64, 64]> a = matmul(x = p, y = x); tensor<fp16, [1, 64, 64, 64]> b = matmul(x = r, y = x);
            tensor<fp16, [1, 64, 64, 64]> c = add(x = a, y = b); {}", turn("p"), turn("r"), reshape("y", "c", &[1, 4096, 1, 64])))),
        ("layer-norm-gamma", y("tensor<fp16, [1, 2, 1, 10240]> x", &format!("{} {} {} tensor<fp16, [1, 2, 10240]> n = layer_norm(x = f, axes = ax, gamma = g); {}",
            reshape("f", "x", &[1, 2, 10_240]), ints("ax", &[2]), constant("g", "fp16", "[10240]", 10_240), reshape("y", "n", &[1, 2, 1, 10_240])))),
        ("mul-broadcast-batch", y(&format!("tensor<fp16, [1, 32, 1, 64]> v, {X}"), &format!("{} tensor<fp16, [2, 32, 1, 64]> c = mul(x = h, y = v); {}",
            reshape("h", "x", &[2, 32, 1, 64]), reshape("y", "c", &[1, 64, 1, 64])))),
        ("no-state", y(X, &format!("{} fp16 lo = const()[val = fp16(0)]; fp16 hi = const()[val = fp16(1)];
            tensor<fp16, [1, 64, 1, 64]> r = random_uniform(shape = s, low = lo, high = hi, seed = one); tensor<fp16, [1, 64, 1, 64]> y = add(x = x, y = r);", ints("s", &[1, 64, 1, 64])))),
        ("topk-on-m1", y(X, "int32 k = const()[val = int32(3)]; tensor<fp16, [1, 3, 1, 64]> y, tensor<int32, [1, 3, 1, 64]> i = topk(x = x, k = k, axis = one);")),
        ("cast-on-m1", y("tensor<fp32, [1, 64, 1, 64]> x", &format!("{half} tensor<fp16, [1, 64, 1, 64]> h = cast(x = x, dtype = half); tensor<fp16, [1, 64, 1, 64]> y = relu(x = h);"))),
        ("matmul-on-m1", y(X, "tensor<fp16, [1, 64, 1, 1]> y = matmul(x = x, y = x, transpose_x = no, transpose_y = yes);")),
        ("compute-type", relu("[1, 64, 1, 64]").replace("fp16", "fp32")),
        ("rank", y(X, &format!("{} tensor<fp16, [1, 2, 2, 16, 1, 64]> r = relu(x = h); {}", reshape("h", "x", &[1, 2, 2, 16, 1, 64]), reshape("y", "r", &[1, 64, 1, 64])))),
        ("matmul-rank", y(X, &format!("{} tensor<fp16, [1, 1, 1, 64, 64]> p = matmul(x = h, y = h); {}", reshape("h", "x", &[1, 1, 1, 64, 64]), reshape("y", "p", &[1, 64, 1, 64])))),
        ("extent", relu("[1, 2, 1, 70000]")),
        ("channels", relu("[1, 65537, 1, 64]")),
        ("empty-tensor", relu("[1, 0, 1, 64]")),
        ("kernel-extent", conv(2, "[1, 2, 1, 16]", 32, "tensor<fp16, [1, 1, 1, 49]>", "")),
        ("transpose-extent", y("tensor<fp16, [1, 4097, 1, 4096]> x", &format!("{} tensor<fp16, [1, 4096, 1, 4097]> y = transpose(x = x, perm = p);", ints("p", &[0, 3, 2, 1])))),
        ("arg-axis", y("tensor<fp16, [1, 2049, 1, 64]> x", "tensor<int32, [1, 1, 1, 64]> y = reduce_argmax(x = x, axis = one, keep_dims = yes);")),
        ("weight-bytes", y(X, &format!("{} tensor<fp16, [1, 64, 1, 64]> y = relu(x = x);", blob("w", "[40000, 21000, 1, 1]", "w", 64)))),
        ("weight-bank", y(X, &format!("{} tensor<fp16, [1, 64, 1, 64]> y = relu(x = x);", blob("w", "[60000, 40000, 1, 1]", "w", 64)))),
        ("conv-depth", y("tensor<fp16, [1, 1, 1, 64]> c0", &deep)),
        ("conv-groups-lanes", conv(2, "[2, 1, 1, 1]", 2, "int32 g = const()[val = int32(2)]; tensor<fp16, [1, 2, 1, 64]>", "").replace("groups = one", "groups = g")),
        ("port-order", y("tensor<fp16, [1, 4, 1, 64]> z, tensor<fp16, [1, 4, 1, 64]> a", "tensor<fp16, [1, 4, 1, 64]> y = sub(x = z, y = a);")),
        ("port-sizes", y("tensor<fp16, [1, 4, 1, 64]> a, tensor<fp16, [1, 1, 1, 64]> b", "tensor<fp16, [1, 4, 1, 64]> y = sub(x = a, y = b);")),
        ("input-width", relu("[1, 64, 1, 8]")),
        ("multiple-inputs", y("tensor<fp16, [1, 4, 1, 64]> a, tensor<fp16, [1, 4, 1, 64]> b", "tensor<fp16, [1, 4, 1, 64]> y = sub(x = a, y = b);")),
        ("slice-of-width", y(X, &slice("y"))),
        ("concat-of-width-slices", y(X, &format!("{} {} tensor<fp16, [1, 128, 1, 32]> y = concat(values = (p, q), axis = one, interleave = no);", slice("p"), slice("q")))),
        ("softplus-range", y(X, "tensor<fp16, [1, 64, 1, 64]> y = softplus(x = x);")),
        ("round-range", y(X, "tensor<fp16, [1, 64, 1, 64]> y = round(x = x);")),
        ("int8-activations", y(X, &format!("{} fp16 s = const()[val = fp16(0.5)]; int8 z = const()[val = int8(0)]; int32 axis = const()[val = int32(0)];
            tensor<fp16, [4, 64, 1, 1]> w = constexpr_affine_dequantize(quantized_data = q, scale = s, zero_point = z, axis = axis);
            tensor<fp16, [1, 4, 1, 64]> y = conv(x = x, weight = w, {CONV});", constant("q", "int8", "[4, 64, 1, 1]", 256)))),
        ("fp8-codes", y(X, &format!("{} {} tensor<fp16, [4, 64, 1, 1]> w = constexpr_blockwise_shift_scale(data = q, scale = s);
            tensor<fp16, [1, 4, 1, 64]> y = conv(x = x, weight = w, {CONV});",
            constant("q", "fp8e4m3fn", "[4, 64, 1, 1]", 256), constant("s", "fp16", "[1, 1, 1, 1]", 1)))),
        ("gather-index", y(X, &format!("{} tensor<fp16, [1, 2, 1, 64]> y = gather(x = x, indices = i, axis = one);", ints("i", &[0, 5])))),
    ])
}

fn files() -> WeightFiles {
    let mut both = BlobWriter::new(Cursor::new(Vec::new())).unwrap();
    both.chunk_f32(DType::Fp16, &[2.0; 64]).unwrap();
    assert_eq!(both.chunk_f32(DType::Fp16, &[3.0; 64]).unwrap(), 256);
    let mut files = WeightFiles::none();
    files.insert("@model_path/weights/both.bin", both.finish().unwrap().into_inner());
    files
}

/// Every profile with a Neural Engine, with no rule but this one. Where no chip has the rule's quirk, as if it had.
fn profiles(rule: &Rule) -> Vec<Profile> {
    let nowhere = rule.chips().is_empty();
    let ids = legality::rules().unwrap().iter().map(|rule| rule.id.as_str());
    let alone = |name: &str| {
        let mut profile = Profile::built_in(name).unwrap();
        ids.clone().filter(|id| *id != rule.id).for_each(|id| profile.assume(id).unwrap());
        if let Some(quirk) = rule.quirk.as_ref().and_then(|quirk| profile.quirks.get_mut(quirk)) {
            // Other rules of the same quirk turned it off.
            let holds = Profile::built_in(name).unwrap().quirk(rule.quirk.as_ref().unwrap()).is_some();
            quirk.holds.value = holds || nowhere;
        }
        profile
    };
    Profile::names().filter(|name| *name != "cpu").map(alone).collect()
}

/// What the engine does with a program: its refusal to compile, or that to evaluate twice, and what it remarks.
fn outcome(
    engine: &SimEngine,
    program: &Verified,
    effect: Effect,
) -> (Option<String>, Option<String>, Vec<String>) {
    let compiled = engine.compile(program, &files());
    let remarks = |engine: &SimEngine| {
        let rules = engine.remarks().into_iter().filter(|r| r.kind == RemarkKind::Rule);
        rules.map(|r| r.message).collect()
    };
    let mut kernel = match compiled {
        Err(error) => return (Some(error.to_string()), None, remarks(engine)),
        Ok(kernel) => kernel,
    };
    let mut evaluated = Ok(());
    if effect == Effect::FailEvaluate {
        evaluated = evaluate(engine, &mut *kernel).and_then(|()| evaluate(engine, &mut *kernel));
    }
    (None, evaluated.err(), remarks(engine))
}

fn evaluate(engine: &SimEngine, kernel: &mut dyn Kernel) -> Result<(), String> {
    let surfaces = |ports: &[Port]| -> Vec<Surface> {
        let most = ports.iter().map(Port::bytes).max().unwrap_or(0);
        ports.iter().map(|port| engine.surface(port, most).unwrap()).collect()
    };
    let (inputs, outputs) = (surfaces(kernel.inputs()), surfaces(kernel.outputs()));
    let run = kernel.evaluate(&inputs.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>());
    run.map_err(|error| error.to_string())
}

/// What the framework says when a rule of this effect is broken.
fn words(effect: Effect) -> &'static str {
    match effect {
        Effect::RefuseText => "InvalidMILProgram",
        Effect::RefuseCompile => "ANECCompile() FAILED",
        Effect::Crash => "crashed",
        Effect::FailLoad => "0x20004",
        Effect::FailEvaluate => "0x1d",
        Effect::Silent | Effect::Slow => "",
    }
}

#[test]
fn checking_and_compiling_agree_on_every_rule_and_chip() {
    let programs = programs();
    for rule in legality::rules().unwrap() {
        let id = rule.id.as_str();
        if OF_PROCESSES.contains(&id) {
            continue;
        }
        let source = programs.get(id).unwrap_or_else(|| panic!("{id}: no program breaks it"));
        let parsed = text::parse(source).unwrap_or_else(|e| panic!("{id}: {e}"));
        let program = verify(parsed.program).unwrap_or_else(|e| panic!("{id}: {e:#?}"));
        let named = format!("(rule {id})");
        let (mut broken, mut kept) = (0, 0);
        for profile in profiles(rule) {
            let chip = profile.name.clone();
            let checked = legality::check(program.program(), Some(&parsed.source_map), &profile);
            let is_broken = !checked.0.is_empty();
            assert!(checked.iter().all(|d| d.message.ends_with(&format!("({id})"))), "{id} on {chip}");
            kept += usize::from(!is_broken);
            if !is_broken && (kept > 1 || rule.effect == Effect::FailLoad) {
                // One chip that takes it is enough; none that would need gigabytes.
                continue;
            }
            let (refusal, failure, remarks) =
                outcome(&SimEngine::new(profile.clone(), 1), &program, rule.effect);
            let said = refusal.iter().chain(&failure).any(|text| text.contains(&named));
            let refused = is_broken && rule.severity() == Severity::Error;
            assert_eq!(said, refused, "{id} on {chip}: {refusal:?} {failure:?}");
            if refused {
                let at_evaluation = rule.effect == Effect::FailEvaluate;
                let text = if at_evaluation { failure } else { refusal };
                let text = text.unwrap_or_else(|| panic!("{id} on {chip} is refused at the wrong time"));
                assert!(text.contains(words(rule.effect)), "{id} on {chip}: {text}");
            }
            let remarked = remarks.iter().any(|text| text.contains(&format!("({id})")));
            assert_eq!(remarked, is_broken && rule.severity() == Severity::Warning, "{id} on {chip}");
            if !is_broken {
                continue;
            }
            broken += 1;
            if refused && broken == 1 && !matches!(rule.effect, Effect::FailLoad) && id != "transpose-extent"
            {
                let lenient = SimEngine::new(profile.clone(), 1).lenient(true);
                let (refusal, failure, remarks) = outcome(&lenient, &program, rule.effect);
                let said = refusal.iter().chain(&failure).any(|text| text.contains(id));
                assert!(!said, "{id} on {chip}, leniently: {refusal:?} {failure:?}");
                assert!(remarks.iter().any(|text| text.contains(id)), "{id} on {chip}: {remarks:?}");
            }
            let mut without = profile;
            without.assume(&format!("{id}-ok")).unwrap();
            assert!(legality::breaches(program.program(), &without).is_empty(), "{id} on {chip}");
        }
        assert!(broken > 0, "{id}: its program breaks it nowhere");
    }
}
