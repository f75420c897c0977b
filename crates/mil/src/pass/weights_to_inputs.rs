//! Streamed weights: compiled once, weights given at each evaluation.

use std::collections::{HashMap, HashSet};

use super::{PassError, define, reopen};
use crate::{
    Builder, Call, Constant, Function, Op, Opcode, Operand, TensorType, ValueId, infer::linear::is_pointwise,
};

/// A function whose weights are inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Streamed {
    /// The function. Its former inputs come first, then the weights in the order of their definitions.
    pub function: Function,
    /// The weights, in the order of their inputs.
    pub weights: Vec<WeightInput>,
}

/// A weight that became an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightInput {
    /// Name of the weight and of the input.
    pub name: String,
    /// Shape of the weight.
    pub shape: Vec<usize>,
    /// Shape of the input: the same elements in the same order.
    pub surface: Vec<usize>,
}

/// `f` with every weight (a constant in a weight file) made an input.
///
/// A weight `[O, I, 1, 1]` that only 1×1 convolutions and reshapes read becomes an input `[1, O, 1, I]`: the same bytes,
/// and narrower than a surface of O·I channels. Each 1×1 convolution by a weight becomes a product with the matrix
/// `[1, 1, O, I]`. Other weights keep their shape; [`flatten_ports`](super::flatten_ports) makes surfaces of them.
///
/// # Errors
/// When an op of `f` does not fit its arguments.
pub fn weights_to_inputs(f: &Function) -> Result<Streamed, PassError> {
    let is_matrix = matrices(f);
    let (b, ops) = reopen(f);
    let mut pass = Pass { f, b, weights: Vec::new(), converted: HashSet::new(), matrices: HashMap::new() };
    for op in ops {
        match op.code {
            Opcode::Const if pass.is_weight(op.result()) => pass.take(op.result(), &is_matrix),
            Opcode::Conv => pass.conv(op)?,
            _ => pass.b.append(op),
        }
    }
    let function = pass.b.finish(&f.outputs);
    Ok(Streamed { function: super::dce(&function), weights: pass.weights })
}

struct Pass<'f> {
    f: &'f Function,
    b: Builder,
    weights: Vec<WeightInput>,
    converted: HashSet<ValueId>,
    /// `[1, 1, O, I]` of the weights that convolutions read.
    matrices: HashMap<ValueId, ValueId>,
}

impl Pass<'_> {
    fn is_weight(&self, v: ValueId) -> bool {
        self.f.value(v).constant.as_ref().is_some_and(|c| c.blob_ref().is_some())
    }

    /// Makes the weight `v` an input.
    fn take(&mut self, v: ValueId, is_matrix: &HashSet<ValueId>) {
        let Some(ty) = self.f.tensor_type(v) else { return };
        let surface = match ty.shape[..] {
            [o, i, 1, 1] if is_matrix.contains(&v) => vec![1, o, 1, i],
            _ => ty.shape.clone(),
        };
        let f = self.b.function_mut();
        f.inputs.push(v);
        f.values[v.index()].constant = None;
        f.values[v.index()].ty = TensorType::new(ty.dtype, surface.clone()).into();
        self.weights.push(WeightInput { name: self.f.name_of(v).into(), shape: ty.shape.clone(), surface });
        self.converted.insert(v);
    }

    /// `[N, I, H, W]` → reshape `[N, 1, I, H·W]` → matmul `[N, 1, O, H·W]` → reshape `[N, O, H, W]`, plus the bias.
    fn conv(&mut self, op: Op) -> Result<(), PassError> {
        let call = Call::new(self.f, &op);
        let weight = match call.required("weight")? {
            Operand::Value(w) if self.converted.contains(w) && is_pointwise(call) => *w,
            _ => {
                self.b.append(op);
                return Ok(());
            }
        };
        let (xs, ws) = (&call.tensor("x")?.shape, &call.tensor("weight")?.shape);
        let (n, i, pixels, o) = (xs[0], xs[1], xs[2] * xs[3], ws[0]);
        let matrix = self.matrix(weight, o, i)?;
        let x = reshape(&mut self.b, call.required("x")?, &[n, 1, i, pixels])?;
        let y = self.b.matmul(matrix, x, false, false)?;
        let y = reshape(&mut self.b, &y.into(), &[n, o, xs[2], xs[3]])?;
        if let Some(bias) = call.operand("bias")? {
            let bias = reshape(&mut self.b, bias, &[1, o, 1, 1])?;
            self.b.add(y, bias)?;
        }
        define(&mut self.b, op.result());
        Ok(())
    }

    fn matrix(&mut self, weight: ValueId, o: usize, i: usize) -> Result<ValueId, PassError> {
        if let Some(&m) = self.matrices.get(&weight) {
            return Ok(m);
        }
        let m = reshape(&mut self.b, &weight.into(), &[1, 1, o, i])?;
        let name = format!("{}_matrix", self.f.name_of(weight));
        self.b.rename(m, &name);
        self.matrices.insert(weight, m);
        Ok(m)
    }
}

/// A reshape even where the shape is the same already, so that [`define`] has an op to work on.
fn reshape(b: &mut Builder, x: &Operand, shape: &[usize]) -> Result<ValueId, PassError> {
    let shape: Vec<i32> = shape.iter().map(|&d| i32::try_from(d).unwrap_or(i32::MAX)).collect();
    Ok(b.op(Opcode::Reshape, vec![("shape", Constant::ints(&shape).into()), ("x", x.clone().into())])?)
}

/// The weights `[O, I, 1, 1]` that only 1×1 convolutions and reshapes read.
fn matrices(f: &Function) -> HashSet<ValueId> {
    let mut read_as_matrix = HashSet::new();
    let mut read_otherwise: HashSet<ValueId> = f.outputs.iter().copied().collect();
    for op in &f.ops {
        let call = Call::new(f, op);
        for (name, arg) in &op.args {
            let as_matrix = match (op.code, &**name) {
                (Opcode::Conv, "weight") => is_pointwise(call),
                // A zero in the shape means "as in x", which is about to change.
                (Opcode::Reshape, "x") => {
                    call.ints("shape").is_ok_and(|s| s.is_some_and(|s| !s.contains(&0)))
                }
                _ => false,
            };
            let set = if as_matrix { &mut read_as_matrix } else { &mut read_otherwise };
            set.extend(arg.operands().iter().filter_map(|o| match o {
                Operand::Value(v) => Some(*v),
                Operand::Literal(_) => None,
            }));
        }
    }
    read_as_matrix.retain(|v| !read_otherwise.contains(v));
    read_as_matrix
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::Opset;

    #[test]
    fn a_linear_layer_becomes_a_product_with_an_input() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
        let g = b.weight("g", TensorType::fp16([1, 4, 1, 1]));
        let xn = b.mul(x, g).unwrap();
        let w = b.weight("w", TensorType::fp16([6, 4, 1, 1]));
        let y = b.linear(xn, w).unwrap();
        b.rename(y, "y");
        let z = b.linear(xn, w).unwrap();
        let streamed = weights_to_inputs(&b.finish(&[y, z])).unwrap();
        let f = verified(streamed.function);
        assert_eq!(ports(&f), [("x", &[1, 4, 1, 8][..]), ("g", &[1, 4, 1, 1]), ("w", &[1, 6, 1, 4])]);
        assert_eq!(streamed.weights[1].shape, [6, 4, 1, 1]);
        assert_eq!(streamed.weights[1].surface, [1, 6, 1, 4]);
        assert_eq!(f.name_of(f.outputs[0]), "y");
        use Opcode::*;
        assert_eq!(codes(&f), [Mul, Reshape, Reshape, Matmul, Reshape, Reshape, Matmul, Reshape]);
    }

    #[test]
    fn a_transposed_use_shares_the_input() {
        let mut b = Builder::new("main", Opset::Ios18);
        let dy = b.input("dy", TensorType::fp16([1, 6, 1, 8]));
        let w = b.weight("w", TensorType::fp16([6, 4, 1, 1]));
        let m = b.reshape(w, &[1, 1, 6, 4]).unwrap();
        let dy = b.reshape(dy, &[1, 1, 6, 8]).unwrap();
        let dx = b.matmul(m, dy, true, false).unwrap();
        let dx = b.reshape(dx, &[1, 4, 1, 8]).unwrap();
        let f = verified(weights_to_inputs(&b.finish(&[dx])).unwrap().function);
        assert_eq!(ports(&f)[1], ("w", &[1, 6, 1, 4][..]));
    }

    #[test]
    fn other_weights_keep_their_shape_and_other_convolutions_stay() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 8, 8]));
        let w = b.weight("w", TensorType::fp16([6, 4, 3, 3]));
        let y = b.op(Opcode::Conv, vec![("x", x.into()), ("weight", w.into())]).unwrap();
        let streamed = weights_to_inputs(&b.finish(&[y])).unwrap();
        assert_eq!(codes(&verified(streamed.function)), [Opcode::Conv]);
        assert_eq!(streamed.weights[0].surface, [6, 4, 3, 3]);
    }
}
