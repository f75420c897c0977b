//! Every form of MIL text that compilers and published trainers are known to write is read as meant.

use ferrane_mil::text::{Dialect, Parsed, parse, print, structural_difference};
use ferrane_mil::{Arg, Attr, Constant, DType, Data, Function, Opcode, Operand, Opset, TensorType, Type};

/// A program of these statements over `x: tensor<fp16, [1, 4, 1, 8]>`, whose output is `y`.
fn program(statements: &str) -> String {
    format!(
        "program(1.3)\n{{\n func main<ios18>(tensor<fp16, [1, 4, 1, 8]> x) {{\n{statements}\n }} -> (y);\n}}\n"
    )
}

fn read(source: &str) -> Parsed {
    parse(source).unwrap_or_else(|errors| panic!("{errors}\n{source}"))
}

/// Reads a program, checks that printing and reading again changes nothing, and gives its function.
fn main_of(source: &str) -> Function {
    let parsed = read(source);
    assert!(parsed.warnings.is_empty(), "{}", parsed.warnings);
    let text = print(&parsed.program, Dialect::Modern).unwrap();
    let again = read(&text).program;
    assert_eq!(structural_difference(&parsed.program, &again), None, "{text}");
    assert_eq!(print(&again, Dialect::Modern).unwrap(), text, "printing is idempotent");
    parsed.program.main().unwrap().clone()
}

fn constant(function: &Function, name: &str) -> Constant {
    function.value(function.find(name).unwrap()).constant.clone().unwrap()
}

#[test]
fn the_skeleton_of_a_coreml_program() {
    let parsed = read(
        r#"program(1.3)
[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3510.2.1"}, {"coremlc-version", "3505.4.1"},
 {"coremltools-component-milinternal", ""}, {"coremltools-version", "9.0"}})]
{
    func main<ios18>(tensor<fp16, [1, 768, 1, 256]> x) {
        tensor<fp16, [1, 768, 1, 256]> y = relu(x = x)[name = string("y")];
    } -> (y);
}
"#,
    );
    let program = parsed.program;
    assert_eq!(program.version, (1, 3));
    let ferrane_mil::Program { attrs, .. } = ferrane_mil::Program::single(Function::new("f", Opset::Ios18));
    assert_eq!(program.attrs, attrs, "the same buildInfo as our own programs have");
    let main = program.main().unwrap();
    assert_eq!(main.opset, Opset::Ios18);
    assert_eq!(main.value(main.inputs[0]).ty, TensorType::fp16([1, 768, 1, 256]).into());
    assert_eq!(main.name_of(main.outputs[0]), "y");
    assert_eq!(main.ops[0].name, "", "named like its result");
}

#[test]
fn the_verbose_dialect_is_the_same_program() {
    let modern = r#"program(1.0) [buildInfo = dict<string, string>({{"coremlc-version", "3505.4.1"}})] {
  func main<ios16>(tensor<fp16, [1, 4, 1, 8]> x) {
    string pt = const()[name = string("pt"), val = string("valid")];
    int32 gr = const()[name = string("gr"), val = int32(1)];
    bool ff = const()[name = string("ff"), val = bool(false)];
    tensor<fp16, [4, 4, 1, 1]> W = const()[name = string("W"), val = tensor<fp16, [4, 4, 1, 1]>(BLOBFILE(path = string("@model_path/weights/w.bin"), offset = uint64(64)))];
    tensor<fp16, [1, 4, 1, 8]> y = mul(x = x, y = fp16(0.5))[name = string("m")];
  } -> (y);
}"#;
    let verbose = r#"program(1.0) [buildInfo=dict<tensor<string,[]>,tensor<string,[]>>({{"coremlc-version","3505.4.1"}})] {
  func main<ios16>(tensor<fp16,[1,4,1,8]> x) {
    tensor<string,[]> pt=const()[name=tensor<string,[]>("pt"),val=tensor<string,[]>("valid")];
    tensor<int32,[]> gr=const()[val=tensor<int32,[]>(1),name=tensor<string,[]>("gr")];
    tensor<bool,[]> ff=const()[name=tensor<string,[]>("ff"),val=tensor<bool,[]>(false)];
    tensor<fp16,[4,4,1,1]> W=const()[name=tensor<string,[]>("W"),val=tensor<fp16,[4,4,1,1]>(BLOBFILE(offset=tensor<uint64,[]>(64),path=tensor<string,[]>("@model_path/weights/w.bin")))]  ;
    tensor<fp16,[1,4,1,8]> y=mul(x=x,y=tensor<fp16,[]>(0x1p-1))[name=tensor<string,[]>("m")];
  } -> (y);
}"#;
    let (a, b) = (read(modern).program, read(verbose).program);
    assert_eq!(structural_difference(&a, &b), None);
    let text = print(&a, Dialect::Verbose).unwrap();
    assert!(text.contains(r#"tensor<string, []> pt = const()[name = tensor<string, []>("pt"), val = tensor<string, []>("valid")];"#), "{text}");
    assert!(text.contains(r#"offset = tensor<uint64, []>(64)"#), "{text}");
    assert!(
        text.contains(r#"dict<tensor<string, []>, tensor<string, []>>({{"coremlc-version", "3505.4.1"}})"#),
        "{text}"
    );
    assert_eq!(structural_difference(&a, &read(&text).program), None);
}

#[test]
fn what_the_verbose_dialect_cannot_say_is_named() {
    let modern =
        program("tensor<fp16, [1, 4, 1, 8]> y = scaled_dot_product_attention(query=x, key=x, value=x);");
    let error = print(&read(&modern).program, Dialect::Verbose).unwrap_err().to_string();
    assert!(error.contains("program(1.3) is not program(1.0) (and 2 more)"), "{error}");
    let misfits = Dialect::Verbose.misfits(&read(&modern).program);
    let all: Vec<String> = misfits.iter().map(ToString::to_string).collect();
    assert_eq!(
        all,
        [
            "version: program(1.3) is not program(1.0)",
            "function `main`: op set ios18 is later than ios17",
            "op `y` in function `main`: `scaled_dot_product_attention` needs ios18",
        ]
    );
}

#[test]
fn every_op_form_of_the_published_trainer() {
    let main = main_of(&program(
        r#"
        // Constants, with and without white space.
        string pt = const()[name=string("pt"), val=string("valid")];
        tensor<int32, [2]> st = const()[name=string("st"), val=tensor<int32, [2]>([1,1])];
        tensor<int32, [4]> pd = const()[name = string("pd"), val = tensor<int32, [4]>([0, 0, 0, 0])];
        tensor<int32, [2]> dl = const()[name=string("dl"), val=tensor<int32, [2]>([1,1])];
        int32 gr = const()[name=string("gr"), val=int32(1)];
        tensor<fp16, [4,4,1,1]> W = const()[name=string("W"), val=tensor<fp16, [4,4,1,1]>(BLOBFILE(path=string("@model_path/weights/wq.bin"), offset=uint64(64)))];
        tensor<fp16, [1,4,1,8]> c = conv(dilations=dl,groups=gr,pad=pd,pad_type=pt,strides=st,weight=W,x=x)[name=string("conv")];
        bool bF = const()[name=string("bF"), val=bool(false)];
        bool bT = const()[name=string("bT"), val=bool(true)];
        tensor<int32, [4]> sh = const()[name=string("sh"), val=tensor<int32, [4]>([1,2,2,8])];
        tensor<fp16, [1,2,2,8]> h = reshape(shape=sh,x=c)[name=string("h")];
        tensor<int32, [4]> pm = const()[name=string("pm"), val=tensor<int32, [4]>([0,1,3,2])];
        tensor<fp16, [1,2,8,2]> t = transpose(perm=pm,x=h)[name=string("t")];
        tensor<fp16, [1,2,8,8]> s = matmul(transpose_x=bF,transpose_y=bT,x=t,y=t)[name=string("mm")];
        tensor<fp16, [1,2,8,8]> s2 = matmul(x=h, y=h, transpose_x = true, transpose_y = false);
        fp16 sc = const()[name=string("sc"), val=fp16(0.125)];
        tensor<fp16, [1,2,8,8]> s3 = mul(x=s,y=sc)[name=string("scl")];
        int32 ax = const()[name=string("ax"), val=int32(-1)];
        tensor<fp16, [1,2,8,8]> p = softmax(axis=ax,x=s3)[name=string("sm")];
        tensor<int32, [1]> rax = const()[name=string("rax"), val=tensor<int32, [1]>([1])];
        bool kd = const()[name=string("kd"), val=bool(true)];
        tensor<fp16, [1,1,1,8]> ss = reduce_sum(x=c,axes=rax,keep_dims=kd)[name=string("ss")];
        fp16 nhalf = const()[name=string("nhalf"), val=fp16(-0.5)];
        tensor<fp16, [1,1,1,8]> rr = pow(x=ss,y=nhalf)[name=string("rr")];
        fp16 one = const()[name=string("one"), val=fp16(1)];
        tensor<fp16, [1,4,1,8]> sg = sigmoid(x=c)[name=string("sg")];
        tensor<fp16, [1,4,1,8]> om = sub(x=one,y=sg)[name=string("om")];
        int32 cax = const()[name=string("cax"), val=int32(1)];
        bool cid = const()[name=string("cid"), val=bool(false)];
        tensor<fp16, [1,12,1,8]> cc = concat(axis=cax,interleave=cid,values=(sg,om,c))[name=string("cc")];
        tensor<int32, [4]> b = const()[name=string("b"), val=tensor<int32, [4]>([0,4,0,0])];
        tensor<int32, [4]> sz = const()[name=string("sz"), val=tensor<int32, [4]>([1,4,1,8])];
        tensor<fp16, [1,4,1,8]> sl = slice_by_size(x=cc,begin=b,size=sz)[name=string("sl")];
        string to32 = const()[name=string("to32"), val=string("fp32")];
        tensor<fp32, [1,4,1,8]> f = cast(dtype=to32,x=sl)[name=string("f")];
        string q_dtype = const()[name=string("q_dtype"), val=string("int8")];
        fp16 q_scale = const()[name=string("q_scale"), val=fp16(0x1p-3)];
        tensor<int8, [1,4,1,8]> q0 = quantize(input=c,output_dtype=q_dtype,scale=q_scale)[name=string("q0")];
        tensor<fp16, [1,4,1,8]> d0 = dequantize(input=q0,scale=q_scale)[name=string("d0")];
        tensor<fp16, [4,4,1,1]> Wq = constexpr_affine_dequantize()[axis=int32(0), name=string("Wq"), quantized_data=tensor<int8,[4,4,1,1]>(BLOBFILE(path=string("@model_path/weights/w8.bin"), offset=uint64(64))), scale=fp16(0x1p-3), zero_point=int8(0)];
        tensor<fp16, [1,2,8,2]> at = scaled_dot_product_attention(query=t,key=t,value=t)[name=string("at")];
        /* The output. */
        tensor<fp16, [1,4,1,8]> y = add(x=d0,y=c)[name=string("y")];"#,
    ));
    let op = |code| main.ops.iter().find(|o| o.code == code).unwrap();
    assert_eq!(constant(&main, "q_scale").as_f64(), Some(0.125));
    assert_eq!(constant(&main, "sc").as_f64(), Some(0.125));
    assert_eq!(constant(&main, "b").as_ints(), Some(vec![0, 4, 0, 0]));
    assert_eq!(constant(&main, "W").blob_ref().unwrap().path, "@model_path/weights/wq.bin");
    assert_eq!(op(Opcode::Conv).name, "conv");
    assert_eq!(op(Opcode::Concat).arg("values").unwrap().operands().len(), 3);
    let dequantize = op(Opcode::ConstexprAffineDequantize);
    assert!(dequantize.attrs.is_empty());
    assert_eq!(dequantize.args.len(), 4, "its attributes are its arguments");
    assert_eq!(main.constant_arg(dequantize, "zero_point").unwrap().as_int(), Some(0));
    let inline = main.ops.iter().filter(|o| o.code == Opcode::Matmul).nth(1).unwrap();
    assert_eq!(main.constant_arg(inline, "transpose_x").unwrap().as_bool(), Some(true));
}

#[test]
fn literals_in_every_spelling() {
    let main = main_of(&program(
        r#"
        tensor<fp16, [2, 3]> nested = const()[val = tensor<fp16, [2, 3]>([[0x1.8p-23, -0x1.5p-17, 0x1.ff8p-15], [0x1p-14, -0x0p+0, 0x1p0]])];
        tensor<fp16, [2, 2]> flat = const()[val = tensor<fp16, [2, 2]>([0, -65504, 1e-3, .5])];
        tensor<fp32, [5]> odd = const()[val = tensor<fp32, [5]>([inf, -inf, nan, -nan, nan(0x7fc00001)])];
        tensor<bool, [2]> bools = const()[val = tensor<bool, [2]>([true, false])];
        tensor<string, [2]> strings = const()[val = tensor<string, [2]>(["a\"b\\", "\n"])];
        tensor<uint8, [3]> bytes = const()[val = tensor<uint8, [3]>([0, 0xff, 255])];
        tensor<int4, [2]> nibbles = const()[val = tensor<int4, [2]>([-8, 7])];
        tensor<fp8e4m3fn, [2]> tiny = const()[val = tensor<fp8e4m3fn, [2]>([448, -0.5])];
        tensor<int32, [0]> none = const()[val = tensor<int32, [0]>([])];
        tensor<int32, [2, 0]> nones = const()[val = tensor<int32, [2, 0]>([[], []])];
        uint64 big = const()[val = uint64(18446744073709551615)];
        int64 small = const()[val = int64(-9223372036854775808)];
        tensor<fp16, [1, 4, 1, 8]> y = relu(x = x);"#,
    ));
    let f64s = |name| constant(&main, name).data().unwrap().to_f64().unwrap();
    assert_eq!(f64s("nested")[..2], [1.5 * 2f64.powi(-23), -1.3125 * 2f64.powi(-17)]);
    assert!(f64s("nested")[4].is_sign_negative());
    assert_eq!(f64s("flat")[..2], [0.0, -65504.0]);
    let Data::Fp32(odd) = constant(&main, "odd").data().unwrap().clone() else { panic!("fp32") };
    let bits: Vec<u32> = odd.iter().map(|v| v.to_bits()).collect();
    assert_eq!(bits, [0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000, 0x7fc0_0001]);
    assert_eq!(constant(&main, "strings").data(), Some(&Data::String(vec!["a\"b\\".into(), "\n".into()])));
    assert_eq!(f64s("bytes"), [0.0, 255.0, 255.0]);
    assert_eq!(f64s("nibbles"), [-8.0, 7.0]);
    assert_eq!(constant(&main, "tiny").data(), Some(&Data::Uint(vec![0x7e, 0xb0])));
    assert_eq!(f64s("nones"), [0.0; 0]);
    assert_eq!(constant(&main, "big").data(), Some(&Data::Uint(vec![u64::MAX])));
    assert_eq!(constant(&main, "small").as_int(), Some(i64::MIN));
}

#[test]
fn literals_without_a_type_take_one() {
    let main = main_of(&program(
        r#"
        tensor<fp16, [1, 1, 1, 8]> s = reduce_sum(x = x, axes = [1], keep_dims = true);
        tensor<fp16, [1, 1, 1, 8]> r = pow(y = -0.1, x = s);
        tensor<fp16, [1, 2, 1, 8]> c = concat(axis = 1, interleave = false, values = (s, r));
        tensor<fp32, [1, 2, 1, 8]> d = cast(x = c, dtype = "fp32");
        tensor<fp16, [1, 4, 1, 8]> y = relu(x = x);"#,
    ));
    let arg = |op: usize, name: &str| main.constant_arg(&main.ops[op], name).unwrap().clone();
    assert_eq!(arg(0, "axes"), Constant::ints(&[1]));
    assert_eq!(arg(0, "keep_dims"), Constant::bool(true));
    assert_eq!(arg(1, "y"), Constant::fp16(-0.1), "the type of the op's other operand");
    assert_eq!(arg(2, "axis"), Constant::int(1));
    assert_eq!(arg(3, "dtype"), Constant::string("fp32"));
}

#[test]
fn several_results_with_and_without_parentheses() {
    for (open, close) in [("", ""), ("(", ")")] {
        let main = main_of(&program(&format!(
            "{open}tensor<fp16, [1, 2, 1, 8]> a, tensor<fp16, [1, 2, 1, 8]> b{close} = split(axis = 1, num_splits = 2, x = x)[name = string(\"s\")];
             tensor<fp16, [1, 4, 1, 8]> y = concat(axis = 1, interleave = false, values = (a, b));"
        )));
        assert_eq!(main.ops[0].results.len(), 2);
        assert_eq!(main.ops[0].name, "s");
    }
}

#[test]
fn states_lists_tuples_and_several_functions() {
    let parsed = read(
        r#"program(1.5) [a = tuple<int32, list<string, ?>>((1, ["p", "q"]))] {
  func main<ios18>(state<tensor<fp16, [1, 4]>> cache, tensor<fp16, [1, 4]> x) {
    tensor<fp16, [1, 4]> old = read_state(input = cache)[name = string("r")];
    tensor<fp16, [1, 4]> y = add(x = old, y = x)[name = string("y")];
    write_state(data = y, input = cache)[name = string("w")];
    list<string, 2> labels = const()[name = string("labels"), val = list<string, 2>(("cat", "dog"))];
  } -> (y);
  func other<CoreML7>(tensor<fp16, [1, 4]> x) [Flexible = tuple<tuple<tensor<string, []>>>(), d = dict<string, dict<string, tensor<int32, [2]>>>({{"k", {{"v", [1, 2]}}}})] {
  } -> (x);
}"#,
    );
    assert!(parsed.warnings.is_empty());
    let text = print(&parsed.program, Dialect::Modern).unwrap();
    assert_eq!(structural_difference(&parsed.program, &read(&text).program), None, "{text}");
    let [main, other] = &parsed.program.functions[..] else { panic!("two functions") };
    assert_eq!(main.value(main.inputs[0]).ty, Type::State(Box::new(TensorType::fp16([1, 4]).into())));
    let write = &main.ops[2];
    assert_eq!((write.code, write.results.len(), write.name.as_str()), (Opcode::WriteState, 0, "w"));
    assert!(matches!(&main.ops[3].attrs[..], [(n, Attr::List(_, v))] if n == "val" && v.len() == 2));
    assert_eq!(other.opset, Opset::Ios17);
    assert_eq!(other.attrs.len(), 2);
}

#[test]
fn compressed_weights_in_both_forms() {
    let main = main_of(&program(
        r#"
        tensor<fp16, [4, 4, 1, 1]> a = constexpr_lut_to_dense()[indices = tensor<uint8, [8]>([1, 2, 3, 4, 5, 6, 7, 8]), lut = tensor<fp16, [16]>(BLOBFILE(path = string("@model_path/weights/w.bin"), offset = uint64(192))), name = string("wdeq"), shape = tensor<uint32, [4]>([4, 4, 1, 1])];
        tensor<fp16, [4, 4, 1, 1]> b = constexpr_blockwise_shift_scale(data = tensor<int8, [4, 4, 1, 1]>(BLOBFILE(path = string("@model_path/w.bin"), offset = uint64(64))), scale = tensor<fp16, [4, 1, 1, 1]>([1, 2, 3, 4]))[name = string("b")];
        tensor<fp16, [1, 4, 1, 8]> y = relu(x = x);"#,
    ));
    assert_eq!(main.ops[0].args.len(), 3);
    assert_eq!(main.ops[1].args.len(), 2);
    assert!(matches!(main.ops[0].arg("lut"), Some(Arg::One(Operand::Literal(c))) if c.blob_ref().is_some()));
    assert_eq!(main.constant_arg(&main.ops[0], "shape").unwrap().ty, TensorType::new(DType::Uint32, [4]));
    let program = read(&program("tensor<fp16, [4]> w = constexpr_cast()[source_val = tensor<fp16, [4]>([1,2,3,4]), output_dtype = string(\"fp32\")];\ntensor<fp16, [1,4,1,8]> y = relu(x=x);")).program;
    let text = print(&program, Dialect::Modern).unwrap();
    assert!(text.contains("constexpr_cast()[name = string(\"w\"), source_val = tensor"), "{text}");
}

#[test]
fn unknown_minor_versions_are_read_with_a_warning() {
    let with = |version: &str| {
        let text = program("tensor<fp16, [1, 4, 1, 8]> y = relu(x = x);");
        parse(&text.replace("1.3", version)).map(|p| p.warnings.to_string())
    };
    assert_eq!(with("1.0").unwrap(), "");
    assert_eq!(with("1").unwrap(), "");
    assert_eq!(with("1.5").unwrap(), "");
    assert_eq!(
        with("1.9").unwrap(),
        "1:9: warning[MIL0009]: version 1.9 of MIL is not known; it is read like 1.5"
    );
    assert!(with("2.0").is_err());
}

#[test]
fn doubtful_literals_are_read_with_a_warning() {
    let warnings = |literal: &str| {
        let statement =
            format!("fp16 c = const()[val = {literal}]; tensor<fp16, [1,4,1,8]> y = relu(x = x);");
        read(&program(&statement)).warnings.iter().map(|w| w.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(warnings("fp16(1e6)"), ["1e6 becomes infinite in fp16"]);
    assert_eq!(warnings("fp16(0x3C00)"), ["0x3C00 is read as the number 15360, not as the bits of an fp16"]);
    assert_eq!(warnings("fp16(inf)"), [""; 0]);
}

#[test]
fn places_are_kept_beside_the_program() {
    let source = program("tensor<fp16, [1, 4, 1, 8]> y = mul(x = x, y = fp16(2))[name = string(\"m\")];");
    let parsed = read(&source);
    let spans = parsed.source_map.function(0).unwrap();
    let text = |span: Option<ferrane_mil::diagnostic::Span>| span.unwrap().text(&source);
    assert_eq!(spans.name.text(&source), "main");
    assert_eq!(text(spans.code(0)), "mul");
    assert_eq!(text(spans.arg(0, 1)), "y = fp16(2)");
    assert_eq!(spans.arg(0, 2), None);
    assert!(text(spans.statement(0)).starts_with("tensor<fp16") && text(spans.statement(0)).ends_with(';'));
    let main = parsed.program.main().unwrap();
    assert_eq!(text(spans.value(main.inputs[0])), "x");
    assert_eq!(text(spans.value(main.outputs[0])), "y");
    assert_eq!(spans.outputs[0].text(&source), "y");
}
