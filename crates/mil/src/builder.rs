//! Building functions: typed ops with inferred results and unique names.

use std::collections::HashSet;

use crate::{
    Arg, Constant, DType, Function, Name, Op, Opcode, Operand, Opset, TensorType, Type, ValueId,
    call::{Call, CallError},
    infer,
};

/// Builds a [`Function`] op by op.
///
/// Every constant argument becomes a *named* `const` value, because some doors into the compiler refuse inline literals
/// (facts ); equal small constants share one. Types are inferred as ops are added, so a mistake is
/// reported where it is made.
#[derive(Clone, Debug)]
pub struct Builder {
    function: Function,
    names: HashSet<String>,
    /// Small constants made so far, to be shared.
    shared: Vec<ValueId>,
}

/// Constants up to this many elements are shared when equal.
const SHARED_ELEMENTS: usize = 8;

impl Builder {
    /// A builder of an empty function.
    pub fn new(name: impl Into<String>, opset: Opset) -> Self {
        Self::extend(Function::new(name, opset))
    }

    /// A builder that adds ops to the end of `function`. Its outputs are kept until [`Builder::finish`] replaces them.
    pub fn extend(function: Function) -> Self {
        let names = function.values.iter().map(|v| v.name.clone()).collect();
        Self { function, names, shared: Vec::new() }
    }

    /// The function so far.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// `base`, or `base_1`, `base_2`, … if that name is taken.
    fn unique(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut n = 0;
        while !self.names.insert(name.clone()) {
            n += 1;
            name = format!("{base}_{n}");
        }
        name
    }

    /// The tensor type of a value.
    ///
    /// # Panics
    /// Never for values this builder made: all of them are tensors.
    pub fn ty(&self, v: ValueId) -> &TensorType {
        self.function.tensor_type(v).expect("builders make tensors only")
    }

    /// The shape of a value.
    pub fn shape(&self, v: ValueId) -> &[usize] {
        &self.ty(v).shape
    }

    /// Adds a function input.
    pub fn input(&mut self, name: &str, ty: TensorType) -> ValueId {
        let name = self.unique(name);
        let v = self.function.add_value(name, ty);
        self.function.inputs.push(v);
        v
    }

    /// Adds a `const` with this name.
    pub fn constant(&mut self, name: &str, constant: Constant) -> ValueId {
        let name = self.unique(name);
        let v = self.function.add_value(name, constant.ty.clone());
        self.function.values[v.index()].constant = Some(constant);
        self.push(Opcode::Const, Vec::new(), vec![v]);
        v
    }

    /// Adds a weight: a constant in the file `@model_path/weights/<name>.bin`.
    pub fn weight(&mut self, name: &str, ty: TensorType) -> ValueId {
        let path = format!("@model_path/weights/{name}.bin");
        self.constant(name, Constant::blob(ty, path, 64))
    }

    /// A constant that is an argument: shared with an equal one if there is one.
    fn argument(&mut self, base: &str, constant: Constant) -> ValueId {
        let small = constant.ty.elements() <= SHARED_ELEMENTS;
        let equal = |v: &&ValueId| self.function.value(**v).constant.as_ref() == Some(&constant);
        if let Some(v) = self.shared.iter().find(equal).filter(|_| small) {
            return *v;
        }
        let v = self.constant(base, constant);
        if small {
            self.shared.push(v);
        }
        v
    }

    /// The function so far, for passes that rewrite it in place. They keep names unique.
    pub(crate) fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    /// Adds `op` as it stands: its operands and results are values of the arena already.
    pub(crate) fn append(&mut self, op: Op) {
        self.function.ops.push(op);
    }

    fn push(&mut self, code: Opcode, args: Vec<(Name, Arg)>, results: Vec<ValueId>) {
        self.function.ops.push(Op { code, name: String::new(), args, results, attrs: Vec::new() });
    }

    /// Gives a value another name; made unique if it is taken.
    pub fn rename(&mut self, v: ValueId, name: &str) -> ValueId {
        let old = std::mem::take(&mut self.function.values[v.index()].name);
        self.names.remove(&old);
        let name = self.unique(name);
        self.function.values[v.index()].name = name;
        v
    }

    /// Adds an op with any number of results. Literal operands become named constants.
    ///
    /// # Errors
    /// What [`infer::result_types`] says of the arguments.
    pub fn op_results(
        &mut self,
        code: Opcode,
        args: Vec<(&'static str, Arg)>,
    ) -> Result<Vec<ValueId>, CallError> {
        let mut named = Vec::with_capacity(args.len());
        for (name, mut arg) in args {
            for operand in arg.operands_mut() {
                if let Operand::Literal(c) = operand {
                    let constant = c.clone();
                    *operand = Operand::Value(self.argument(&format!("{}_{name}", code.name()), constant));
                }
            }
            named.push((Name::Borrowed(name), arg));
        }
        let op = Op { code, name: String::new(), args: named, results: Vec::new(), attrs: Vec::new() };
        let types = infer::result_types(Call::new(&self.function, &op))?;
        let results: Vec<ValueId> = types.into_iter().map(|ty| self.result(code, ty)).collect();
        self.push(code, op.args, results.clone());
        Ok(results)
    }

    fn result(&mut self, code: Opcode, ty: Type) -> ValueId {
        let name = self.unique(code.name());
        self.function.add_value(name, ty)
    }

    /// Adds an op with one result.
    ///
    /// # Errors
    /// What [`infer::result_types`] says of the arguments.
    pub fn op(&mut self, code: Opcode, args: Vec<(&'static str, Arg)>) -> Result<ValueId, CallError> {
        Ok(self.op_results(code, args)?[0])
    }

    /// An elementwise op of one operand.
    ///
    /// # Errors
    /// When the op takes more arguments.
    pub fn unary(&mut self, code: Opcode, x: ValueId) -> Result<ValueId, CallError> {
        self.op(code, vec![("x", x.into())])
    }

    /// An elementwise op of two operands, which broadcast.
    ///
    /// # Errors
    /// When the shapes do not broadcast or the element types differ.
    pub fn binary(&mut self, code: Opcode, x: ValueId, y: ValueId) -> Result<ValueId, CallError> {
        self.op(code, vec![("x", x.into()), ("y", y.into())])
    }

    /// `x + y`
    ///
    /// # Errors
    /// As [`Builder::binary`].
    pub fn add(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, CallError> {
        self.binary(Opcode::Add, x, y)
    }

    /// `x − y`
    ///
    /// # Errors
    /// As [`Builder::binary`].
    pub fn sub(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, CallError> {
        self.binary(Opcode::Sub, x, y)
    }

    /// `x · y`
    ///
    /// # Errors
    /// As [`Builder::binary`].
    pub fn mul(&mut self, x: ValueId, y: ValueId) -> Result<ValueId, CallError> {
        self.binary(Opcode::Mul, x, y)
    }

    /// A scalar constant of the element type of `like`, shared when equal.
    pub fn scalar_like(&mut self, like: ValueId, v: f64) -> ValueId {
        let constant = match self.ty(like).dtype {
            DType::Fp16 => Constant::fp16(v as f32),
            DType::Fp64 => Constant::inline(TensorType::scalar(DType::Fp64), crate::Data::Fp64(vec![v])),
            _ => Constant::fp32(v as f32),
        };
        self.argument("scalar", constant)
    }

    /// An elementwise op of `x` and a scalar.
    ///
    /// # Errors
    /// As [`Builder::binary`].
    pub fn with_scalar(&mut self, code: Opcode, x: ValueId, y: f64) -> Result<ValueId, CallError> {
        let y = self.scalar_like(x, y);
        self.binary(code, x, y)
    }

    /// `x · factor`
    ///
    /// # Errors
    /// As [`Builder::binary`].
    pub fn scale(&mut self, x: ValueId, factor: f64) -> Result<ValueId, CallError> {
        self.with_scalar(Opcode::Mul, x, factor)
    }

    /// A 1×1 convolution, the Neural Engine's linear layer: `x [1, I, 1, W]`, `weight [O, I, 1, 1]` → `[1, O, 1, W]`.
    ///
    /// # Errors
    /// When the channels do not agree.
    pub fn linear(&mut self, x: ValueId, weight: ValueId) -> Result<ValueId, CallError> {
        self.op(
            Opcode::Conv,
            vec![
                ("dilations", Constant::ints(&[1, 1]).into()),
                ("groups", Constant::int(1).into()),
                ("pad", Constant::ints(&[0, 0, 0, 0]).into()),
                ("pad_type", Constant::string("valid").into()),
                ("strides", Constant::ints(&[1, 1]).into()),
                ("weight", weight.into()),
                ("x", x.into()),
            ],
        )
    }

    /// A matrix product over the last two axes.
    ///
    /// # Errors
    /// When inner or batch extents do not agree.
    pub fn matmul(
        &mut self,
        x: ValueId,
        y: ValueId,
        transpose_x: bool,
        transpose_y: bool,
    ) -> Result<ValueId, CallError> {
        self.op(
            Opcode::Matmul,
            vec![
                ("transpose_x", Constant::bool(transpose_x).into()),
                ("transpose_y", Constant::bool(transpose_y).into()),
                ("x", x.into()),
                ("y", y.into()),
            ],
        )
    }

    /// Softmax over `axis`.
    ///
    /// # Errors
    /// When `axis` is outside the shape.
    pub fn softmax(&mut self, x: ValueId, axis: i32) -> Result<ValueId, CallError> {
        self.op(Opcode::Softmax, vec![("axis", Constant::int(axis).into()), ("x", x.into())])
    }

    /// A reduction over `axes`, which stay with extent 1.
    ///
    /// # Errors
    /// When an axis is outside the shape.
    pub fn reduce(&mut self, code: Opcode, x: ValueId, axes: &[i32]) -> Result<ValueId, CallError> {
        self.op(
            code,
            vec![
                ("axes", Constant::ints(axes).into()),
                ("keep_dims", Constant::bool(true).into()),
                ("x", x.into()),
            ],
        )
    }

    /// The same elements under another shape; `x` itself when the shape is already so.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId, CallError> {
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.op(Opcode::Reshape, vec![("shape", ints(shape).into()), ("x", x.into())])
    }

    /// Result axis `i` is axis `perm[i]` of `x`.
    ///
    /// # Errors
    /// When `perm` is not a permutation of the axes.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize]) -> Result<ValueId, CallError> {
        self.op(Opcode::Transpose, vec![("perm", ints(perm).into()), ("x", x.into())])
    }

    /// `values` one after the other along `axis`.
    ///
    /// # Errors
    /// When extents other than that of `axis` differ.
    pub fn concat(&mut self, values: &[ValueId], axis: i32) -> Result<ValueId, CallError> {
        let values = Arg::Many(values.iter().map(|&v| Operand::Value(v)).collect());
        self.op(
            Opcode::Concat,
            vec![
                ("axis", Constant::int(axis).into()),
                ("interleave", Constant::bool(false).into()),
                ("values", values),
            ],
        )
    }

    /// The `size` elements from `begin` on along `axis`, all of the other axes.
    ///
    /// # Errors
    /// When the range reaches outside the axis.
    pub fn slice_axis(
        &mut self,
        x: ValueId,
        axis: usize,
        begin: usize,
        size: usize,
    ) -> Result<ValueId, CallError> {
        let mut starts = vec![0; self.shape(x).len()];
        let mut sizes = self.shape(x).to_vec();
        if let (Some(b), Some(s)) = (starts.get_mut(axis), sizes.get_mut(axis)) {
            (*b, *s) = (begin, size);
        }
        self.op(
            Opcode::SliceBySize,
            vec![("begin", ints(&starts).into()), ("size", ints(&sizes).into()), ("x", x.into())],
        )
    }

    /// The function with these outputs.
    pub fn finish(mut self, outputs: &[ValueId]) -> Function {
        self.function.outputs = outputs.to_vec();
        self.function
    }
}

/// Extents as an `int32` vector. MIL's shapes are `int32`; larger extents are refused by inference.
fn ints(v: &[usize]) -> Constant {
    let v: Vec<i32> = v.iter().map(|&x| i32::try_from(x).unwrap_or(i32::MAX)).collect();
    Constant::ints(&v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_layer_has_the_shape_of_its_weight() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 8, 1, 16]));
        let w = b.weight("wq", TensorType::fp16([4, 8, 1, 1]));
        let y = b.linear(x, w).unwrap();
        assert_eq!(b.shape(y), [1, 4, 1, 16]);
        let f = b.finish(&[y]);
        assert_eq!(f.ops.last().unwrap().code, Opcode::Conv);
        assert_eq!(
            f.value(w).constant.as_ref().unwrap().blob_ref().unwrap().path,
            "@model_path/weights/wq.bin"
        );
    }

    #[test]
    fn equal_argument_constants_are_shared_and_names_are_unique() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([2, 3]));
        let y = b.softmax(x, -1).unwrap();
        let z = b.softmax(y, -1).unwrap();
        let f = b.finish(&[z]);
        assert_eq!(f.ops.iter().filter(|op| op.code == Opcode::Const).count(), 1);
        let names: HashSet<&str> = f.values.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names.len(), f.values.len());
    }

    #[test]
    fn a_mismatch_names_the_op_and_both_shapes() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([2, 3]));
        let y = b.input("y", TensorType::fp16([2, 4]));
        let message = b.add(x, y).unwrap_err().to_string();
        assert!(
            message.contains("add") && message.contains("[2, 3]") && message.contains("[2, 4]"),
            "{message}"
        );
    }
}
