//! The programs that benchmarks run.

use std::io::Cursor;

use ferrane_engine::WeightFiles;
use ferrane_mil::blob::{BlobError, BlobWriter};
use ferrane_mil::{
    Arg, Builder, CallError, Constant, DType, Data, Function, Opcode, Operand, Opset, Payload, TensorType,
    ValueId,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::ChainWeights;

/// Bytes of a MiB.
pub(super) const MEBI: f64 = 1024.0 * 1024.0;

/// Convolutions 1×1 one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) depth: usize,
    pub(crate) channels: usize,
    pub(crate) width: usize,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) weights: ChainWeights,
}

/// What a chain computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    /// The engine's floating-point type.
    Float,
    /// int8 weights, and activations quantised to int8 between layers.
    Int8,
}

impl Chain {
    pub(super) fn name(&self) -> String {
        let kind = match self.arithmetic {
            Arithmetic::Float => "",
            Arithmetic::Int8 => " int8",
        };
        let own = if self.depth > 1 && self.weights == ChainWeights::Own { " own" } else { "" };
        format!("{}x {}ch {}{kind}{own}", self.depth, self.channels, self.width)
    }

    /// Multiplications and additions.
    pub(super) fn flops(&self) -> f64 {
        2.0 * (self.channels * self.channels * self.width * self.depth) as f64
    }

    /// Bytes of the weights of all layers on the chip, shared ones counted for each as published: 2 an element, or 1.
    pub(super) fn weight_bytes(&self) -> f64 {
        let bytes = if self.arithmetic == Arithmetic::Int8 { 1.0 } else { 2.0 };
        bytes * (self.channels * self.channels * self.depth) as f64
    }

    /// Bytes of an activation on the chip.
    pub(super) fn activation(&self) -> f64 {
        2.0 * (self.channels * self.width) as f64
    }

    /// The chain as MIL that computes in `dtype`.
    pub(crate) fn function(&self, dtype: DType) -> Result<Function, CallError> {
        let mut b = Builder::new("main", Opset::Ios18);
        let mut x = b.input("x", TensorType::new(dtype, [1, self.channels, 1, self.width]));
        let mut weight = self.weight(&mut b, 0, dtype)?;
        for layer in 0..self.depth {
            if layer > 0 && self.weights == ChainWeights::Own {
                weight = self.weight(&mut b, layer, dtype)?;
            }
            if layer > 0 && self.arithmetic == Arithmetic::Int8 {
                x = through_int8(&mut b, x, dtype)?;
            }
            x = b.linear(x, weight)?;
        }
        let y = b.rename(x, "y");
        Ok(b.finish(&[y]))
    }

    fn weight(&self, b: &mut Builder, layer: usize, dtype: DType) -> Result<ValueId, CallError> {
        let (name, shape) = (format!("w{layer}"), [self.channels, self.channels, 1, 1]);
        match self.arithmetic {
            Arithmetic::Float => Ok(b.weight(&name, TensorType::new(dtype, shape))),
            Arithmetic::Int8 => {
                let stored = b.weight(&name, TensorType::new(DType::Int8, shape));
                dequantised_weight(b, stored, dtype)
            }
        }
    }
}

/// The published scale of int8 weights and activations.
const SCALE: f32 = 0.125;

fn scale(dtype: DType) -> Constant {
    if dtype == DType::Fp16 { Constant::fp16(SCALE) } else { Constant::fp32(SCALE) }
}

fn dequantised_weight(b: &mut Builder, stored: ValueId, dtype: DType) -> Result<ValueId, CallError> {
    let zero = Constant::inline(TensorType::scalar(DType::Int8), Data::Int(vec![0]));
    b.op(
        Opcode::ConstexprAffineDequantize,
        vec![
            ("axis", Constant::int(0).into()),
            ("quantized_data", stored.into()),
            ("scale", scale(dtype).into()),
            ("zero_point", zero.into()),
        ],
    )
}

fn through_int8(b: &mut Builder, x: ValueId, dtype: DType) -> Result<ValueId, CallError> {
    let scale = || Arg::One(Operand::Literal(scale(dtype)));
    let int8 = b.op(
        Opcode::Quantize,
        vec![("input", x.into()), ("output_dtype", Constant::string("int8").into()), ("scale", scale())],
    )?;
    b.op(Opcode::Dequantize, vec![("input", int8.into()), ("scale", scale())])
}

/// A program so small that its time is that of any evaluation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Smallest {
    code: Opcode,
    width: usize,
}

/// From almost nothing to a megabyte in and out.
pub(crate) const SMALLEST: [Smallest; 6] = [
    Smallest { code: Opcode::Relu, width: 64 },
    Smallest { code: Opcode::Relu, width: 256 },
    Smallest { code: Opcode::Relu, width: 1024 },
    Smallest { code: Opcode::Relu, width: 2048 },
    Smallest { code: Opcode::Add, width: 64 },
    Smallest { code: Opcode::Conv, width: 64 },
];

impl Smallest {
    const CHANNELS: usize = 256;

    pub(super) fn name(&self) -> String {
        format!("{} {}ch {}", self.code.name(), Self::CHANNELS, self.width)
    }

    pub(crate) fn function(&self, dtype: DType) -> Result<Function, CallError> {
        let mut b = Builder::new("main", Opset::Ios18);
        let ty = TensorType::new(dtype, [1, Self::CHANNELS, 1, self.width]);
        let x = b.input("x", ty.clone());
        let y = match self.code {
            Opcode::Add => {
                let z = b.input("z", ty);
                b.add(x, z)?
            }
            Opcode::Conv => {
                let w = b.weight("w", TensorType::new(dtype, [Self::CHANNELS, Self::CHANNELS, 1, 1]));
                b.linear(x, w)?
            }
            code => b.unary(code, x)?,
        };
        let y = b.rename(y, "y");
        Ok(b.finish(&[y]))
    }
}

/// Weight files for every constant of a function that is in one: random, and of a size that keeps values in range.
pub(crate) fn weights(function: &Function) -> Result<WeightFiles, BlobError> {
    /// Random numbers that all weights are made of, again and again: drawing as many as there are weights would take longer
    /// than compiling them.
    const DRAWN: usize = 65_521;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let drawn: Vec<f32> = (0..DRAWN).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut files = WeightFiles::none();
    for constant in function.values.iter().filter_map(|value| value.constant.as_ref()) {
        let Payload::Blob(blob) = &constant.payload else { continue };
        let dtype = constant.ty.dtype;
        let fan_in: usize = constant.ty.shape.iter().skip(1).product();
        let numbers = drawn.iter().cycle().take(constant.ty.elements());
        let mut writer = BlobWriter::new(Cursor::new(Vec::new()))?;
        if dtype == DType::Int8 {
            let values = numbers.map(|x| (3.0 * x).round() as i64).collect();
            writer.chunk_data(dtype, &Data::Int(values))?;
        } else {
            let most = (3.0 / fan_in.max(1) as f32).sqrt();
            let values: Vec<f32> = numbers.map(|x| most * x).collect();
            writer.chunk_f32(dtype, &values)?;
        }
        files.insert(blob.path.clone(), writer.finish()?.into_inner());
    }
    Ok(files)
}

/// Inputs that are not zero, for hardware is quicker on zeros.
pub(super) fn fill(elements: &mut [f32]) {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    elements.iter_mut().for_each(|x| *x = random.random_range(-1.0..1.0));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the published programs have them.
    #[test]
    fn work_is_counted_as_published() {
        let chain = |depth, channels, width, arithmetic| {
            let weights = ChainWeights::Shared;
            Chain { depth, channels, width, arithmetic, weights }
        };
        for (depth, channels, gflop, mb) in
            [(32, 512, 1.074, 16.0), (256, 256, 2.147, 32.0), (128, 384, 2.416, 36.0)]
        {
            let chain = chain(depth, channels, 64, Arithmetic::Float);
            assert!((chain.flops() / 1e9 - gflop).abs() < 1e-3);
            assert!((chain.weight_bytes() / MEBI - mb).abs() < 1e-9);
        }
        let int8 = chain(128, 512, 4096, Arithmetic::Int8);
        assert!((int8.flops() / 1e9 - 274.88).abs() < 1e-2);
        assert!((int8.weight_bytes() / MEBI - 32.0).abs() < 1e-9);
    }
}
