//! The published programs of `points.csv`, in MIL.

use ferrane_mil::{Builder, Constant, DType, Function, Opcode, Opset, TensorType, ValueId};

/// The program of a row. See the head of `points.csv`.
pub(crate) fn program(kind: &str, dims: &str) -> Function {
    let parts: Vec<&str> = dims.split('/').collect();
    let n = |i: usize| parts[i].parse::<usize>().unwrap();
    match kind {
        "chain" => chain([n(0), n(1), n(2)], n(3), n(4), parts[5] == "fp32", false),
        "chain8" => chain([n(0), n(1), n(2)], n(3), n(4), parts[5] == "fp32", true),
        "matmul" => matmul(n(0), n(1), n(2)),
        "packed" => packed(n(0), n(1)),
        "map" => single(n(0), n(1), false),
        "reduce" => single(n(0), n(1), true),
        other => panic!("no program `{other}`"),
    }
}

/// `depth` convolutions that share one set of weights.
fn chain([c, h, w]: [usize; 3], depth: usize, k: usize, fp32: bool, int8: bool) -> Function {
    let mut b = Builder::new("main", Opset::Ios18);
    let io = if fp32 { DType::Fp32 } else { DType::Fp16 };
    let mut x = b.input("x", TensorType::new(io, [1, c, h, w]));
    if fp32 {
        x = cast(&mut b, x, "fp16");
    }
    for layer in 0..depth {
        if int8 && layer > 0 {
            x = through_int8(&mut b, x);
        }
        x = conv(&mut b, x, k, int8);
    }
    if fp32 {
        x = cast(&mut b, x, "fp32");
    }
    b.finish(&[x])
}

fn cast(b: &mut Builder, x: ValueId, dtype: &str) -> ValueId {
    b.op(Opcode::Cast, vec![("x", x.into()), ("dtype", Constant::string(dtype).into())]).unwrap()
}

fn conv(b: &mut Builder, x: ValueId, k: usize, int8: bool) -> ValueId {
    let c = b.shape(x)[1];
    let shape = [c, c, k, k];
    let blob = |dtype| Constant::blob(TensorType::new(dtype, shape), "@model_path/weights/w.bin", 64);
    let weight = if int8 {
        let data = blob(DType::Int8);
        let scale = Constant::inline(TensorType::scalar(DType::Fp16), half(0.125));
        let zero = Constant::inline(TensorType::scalar(DType::Int8), ferrane_mil::Data::Int(vec![0]));
        let args = vec![
            ("quantized_data", data.into()),
            ("zero_point", zero.into()),
            ("scale", scale.into()),
            ("axis", Constant::int(0).into()),
        ];
        b.op(Opcode::ConstexprAffineDequantize, args).unwrap()
    } else {
        b.constant("w", blob(DType::Fp16))
    };
    let pad = Constant::string("same");
    b.op(Opcode::Conv, vec![("x", x.into()), ("weight", weight.into()), ("pad_type", pad.into())]).unwrap()
}

fn half(v: f32) -> ferrane_mil::Data {
    ferrane_mil::Data::Fp16(vec![half::f16::from_f32(v)])
}

fn through_int8(b: &mut Builder, x: ValueId) -> ValueId {
    let scale = Constant::inline(TensorType::scalar(DType::Fp16), half(0.125));
    let int8 = Constant::string("int8");
    let args = vec![("input", x.into()), ("scale", scale.clone().into()), ("output_dtype", int8.into())];
    let q = b.op(Opcode::Quantize, args).unwrap();
    b.op(Opcode::Dequantize, vec![("input", q.into()), ("scale", scale.into())]).unwrap()
}

fn matmul(m: usize, k: usize, n: usize) -> Function {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, 1, m, k]));
    let w = b.weight("w", TensorType::fp16([1, 1, k, n]));
    let y = b.matmul(x, w, false, false).unwrap();
    b.finish(&[y])
}

/// Weights behind activations in one input, as the published pipeline passes weights that change.
fn packed(m: usize, c: usize) -> Function {
    let mut b = Builder::new("main", Opset::Ios18);
    let both = b.input("both", TensorType::fp16([1, c, 1, m + c]));
    let x = b.slice_axis(both, 3, 0, m).unwrap();
    let w = b.slice_axis(both, 3, m, c).unwrap();
    let x = b.reshape(x, &[1, 1, c, m]).unwrap();
    let w = b.reshape(w, &[1, 1, c, c]).unwrap();
    let y = b.matmul(w, x, true, false).unwrap();
    let y = b.reshape(y, &[1, c, 1, m]).unwrap();
    b.finish(&[y])
}

fn single(c: usize, w: usize, reduction: bool) -> Function {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1, c, 1, w]));
    let y = match reduction {
        true => b.softmax(x, -1).unwrap(),
        false => b.unary(Opcode::Relu, x).unwrap(),
    };
    b.finish(&[y])
}
