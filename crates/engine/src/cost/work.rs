//! What the ops of a function have to do, in FLOP, elements and bytes.

use std::collections::HashSet;

use ferrane_mil::{Call, CallError, Constant, Function, Op, Opcode, Operand, Payload, TensorType, ValueId};

use super::{CostError, rates::Rates};

/// Which unit an op occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// The multiply-accumulate array.
    Mac,
    /// The elementwise engine, one pass.
    Elementwise,
    /// The elementwise engine, with sums or maxima over elements.
    Reduction,
    /// None.
    None,
}

/// The work of one op.
pub(super) struct OpWork {
    pub(super) index: usize,
    pub(super) unit: Unit,
    pub(super) flops: f64,
    /// Elements that pass the elementwise engine.
    pub(super) elements: f64,
    /// Columns that one loaded part of the weights serves.
    pub(super) columns: f64,
    /// Bytes of weights, as stored.
    pub(super) weights: f64,
    /// Bytes of intermediate values that do not stay in the engine.
    pub(super) spilled: f64,
    /// Bytes of an operand that are read again and again.
    pub(super) again: f64,
    /// Both operands of the products are int8.
    pub(super) int8: bool,
    /// A 3x3 convolution of stride 1.
    pub(super) conv3: bool,
}

/// The work of a function.
pub(super) struct Work {
    pub(super) ops: Vec<OpWork>,
    pub(super) surface_bytes: f64,
    pub(super) weight_bytes: f64,
}

impl Work {
    pub(super) fn of(function: &Function, rates: &Rates) -> Result<Self, CostError> {
        let mut reader = Reader::new(function, rates);
        let mut ops = Vec::new();
        for (index, op) in function.ops.iter().enumerate() {
            if op.code == Opcode::Const {
                continue;
            }
            let work = reader.op(index, op).map_err(|source| CostError::Op {
                function: function.name.clone(),
                result: op.results.first().map_or("?", |&v| function.name_of(v)).to_owned(),
                source,
            })?;
            ops.push(work);
        }
        let ports = function.inputs.iter().chain(&function.outputs);
        let surface_bytes = ports.map(|&v| bytes(function, v)).sum();
        let weight_bytes = ops.iter().map(|op| op.weights).sum();
        Ok(Self { ops, surface_bytes, weight_bytes })
    }
}

fn bytes(function: &Function, v: ValueId) -> f64 {
    function.tensor_type(v).map_or(0.0, size)
}

/// Bytes of a packed tensor; extents that no memory holds are no matter here.
fn size(ty: &TensorType) -> f64 {
    elements(ty) * ty.dtype.bits() as f64 / 8.0
}

fn elements(ty: &TensorType) -> f64 {
    ty.elements() as f64
}

/// Reads ops in order: weights that stay in the engine are read once.
struct Reader<'a> {
    function: &'a Function,
    rates: &'a Rates,
    definitions: Vec<Option<usize>>,
    /// The op that reads a value, where just one does.
    only_user: Vec<Option<usize>>,
    /// Inputs and outputs, whose traffic is that of surfaces.
    ports: HashSet<ValueId>,
    /// Weights read so far that stay.
    resident: HashSet<(&'a str, u64)>,
}

impl<'a> Reader<'a> {
    fn new(function: &'a Function, rates: &'a Rates) -> Self {
        let ports = function.inputs.iter().chain(&function.outputs).copied().collect();
        let mut users = vec![Vec::new(); function.values.len()];
        for (i, op) in function.ops.iter().enumerate() {
            op.uses().for_each(|v| users[v.index()].push(i));
        }
        let only = |of: &Vec<usize>| if let [i] = of[..] { Some(i) } else { None };
        let only_user = users.iter().map(only).collect();
        let definitions = function.definitions();
        Self { function, rates, definitions, only_user, ports, resident: HashSet::new() }
    }

    fn op(&mut self, index: usize, op: &'a Op) -> Result<OpWork, CallError> {
        let call = Call::new(self.function, op);
        let unit = unit(op.code);
        let product = products(call)?;
        let mut work = OpWork {
            index,
            unit,
            flops: product.flops,
            elements: self.passes(unit, op),
            columns: product.columns,
            weights: 0.0,
            spilled: 0.0,
            again: 0.0,
            int8: unit == Unit::Mac && self.is_int8(call),
            conv3: product.conv3,
        };
        if op.code.is_constexpr() {
            // Done by the compiler, or on the way of the weights, which the op that uses them is charged for.
            return Ok(work);
        }
        for operand in op.args.iter().flat_map(|(_, arg)| arg.operands()) {
            work.weights += self.weights(operand);
        }
        if unit != Unit::None {
            let touched = op.uses().chain(op.results.iter().copied());
            work.spilled = touched.map(|v| self.spilled(v)).sum();
        }
        work.again = self.again(call)?;
        Ok(work)
    }

    /// Elements that pass the elementwise engine.
    fn passes(&self, unit: Unit, op: &Op) -> f64 {
        let of = |v: ValueId| match self.function.value(v).constant {
            None => self.function.tensor_type(v).map_or(0.0, elements),
            Some(_) => 0.0,
        };
        match unit {
            Unit::Elementwise => op.results.iter().map(|&v| of(v)).sum(),
            Unit::Reduction => op.uses().map(of).fold(0.0, f64::max),
            Unit::Mac | Unit::None => 0.0,
        }
    }

    /// Bytes of weights to read for an operand.
    fn weights(&mut self, operand: &'a Operand) -> f64 {
        let function = self.function;
        if let Some(constant) = function.constant(operand) {
            return self.stored(constant);
        }
        let Operand::Value(v) = operand else { return 0.0 };
        let Some(op) = self.definitions[v.index()].map(|i| &function.ops[i]) else { return 0.0 };
        if !op.code.is_constexpr() {
            return 0.0;
        }
        let parts = op.args.iter().flat_map(|(_, arg)| arg.operands()).filter_map(|o| function.constant(o));
        let stored: f64 = parts.map(|constant| self.stored(constant)).sum();
        let dense = bytes(function, *v);
        let int8 = function.constant_arg(op, "quantized_data").or(function.constant_arg(op, "data"));
        let folds = self.rates.int8_folds && int8.is_some_and(|c| c.ty.dtype.bits() == 8);
        if folds && stored > 0.0 { dense } else { stored }
    }

    /// Bytes of a constant that have to be read now.
    fn stored(&mut self, constant: &'a Constant) -> f64 {
        let size = size(&constant.ty);
        match &constant.payload {
            // Extents, axes and names are part of the program.
            Payload::Inline(_) if constant.ty.rank() == 0 || !constant.ty.dtype.is_float() => 0.0,
            Payload::Inline(_) => size,
            Payload::Blob(blob) if size <= self.rates.working_set => {
                if self.resident.insert((&blob.path, blob.offset)) { size } else { 0.0 }
            }
            Payload::Blob(_) => size,
        }
    }

    /// Bytes of a computed value that leave the engine for want of room.
    fn spilled(&self, v: ValueId) -> f64 {
        let v = self.held_as(v);
        let size = bytes(self.function, v);
        // What weights are made of is read as it is stored.
        let is_weight = self.definitions[v.index()].is_some_and(|i| self.function.ops[i].code.is_constexpr());
        let constant = is_weight || self.function.value(v).constant.is_some();
        let computed = !constant && !self.ports.contains(&v);
        if computed && size > self.rates.working_set { size } else { 0.0 }
    }

    /// The value whose elements `v` is made of: views share them, and between products int8 is what is held.
    fn held_as(&self, mut v: ValueId) -> ValueId {
        while !self.ports.contains(&v)
            && let Some(op) = self.definitions[v.index()].map(|i| &self.function.ops[i])
            && (is_view(op.code) || op.code == Opcode::Dequantize)
            && let Some(of) = op.uses().find(|&v| self.function.value(v).constant.is_none())
        {
            v = of;
        }
        match self.only_user[v.index()].map(|i| &self.function.ops[i]) {
            Some(op) if op.code == Opcode::Quantize => op.results.first().copied().unwrap_or(v),
            _ => v,
        }
    }

    /// Of two operands that both exceed the working set, one is read again for each part of the other that fits.
    fn again(&self, call: Call<'_>) -> Result<f64, CallError> {
        let (x, y) = match call.code() {
            Opcode::Matmul => (call.tensor("x")?, call.tensor("y")?),
            Opcode::Linear => (call.tensor("x")?, call.tensor("weight")?),
            _ => return Ok(0.0),
        };
        let (x, y) = (size(x), size(y));
        let room = self.rates.working_set;
        if x <= room || y <= room {
            return Ok(0.0);
        }
        let more = |a: f64, b: f64| a * ((b / room).ceil() - 1.0);
        Ok(more(x, y).min(more(y, x)))
    }

    /// True when int8 weights meet int8 activations.
    fn is_int8(&self, call: Call<'_>) -> bool {
        let from = |name: &str| match call.operand(name) {
            Ok(Some(Operand::Value(v))) => self.definitions[v.index()].map(|i| &self.function.ops[i]),
            _ => None,
        };
        let is_byte = |op: &Op, arg: &str| match op.arg(arg) {
            Some(ferrane_mil::Arg::One(o)) => {
                self.function.operand_type(o).is_some_and(|t| t.dtype.bits() == 8)
            }
            _ => false,
        };
        let weight = from("weight").or_else(|| from("y"));
        let weight = weight.is_some_and(|op| is_byte(op, "quantized_data") || is_byte(op, "data"));
        let x = from("x").is_some_and(|op| op.code == Opcode::Dequantize && is_byte(op, "input"));
        weight && x
    }
}

/// True for ops whose result is elements of the first operand where they are.
fn is_view(code: Opcode) -> bool {
    use Opcode::*;
    matches!(
        code,
        Identity
            | Reshape
            | ReshapeLike
            | ExpandDims
            | Squeeze
            | Flatten2d
            | SliceByIndex
            | SliceBySize
            | Split
    )
}

/// Which unit does an op.
fn unit(code: Opcode) -> Unit {
    use Opcode::*;
    match code {
        Conv | ConvQuantized | ConvTranspose | Linear | Matmul | Einsum | ScaledDotProductAttention => {
            Unit::Mac
        }
        // The array reads and writes int8 itself.
        Const | Shape | Quantize | Dequantize => Unit::None,
        code if is_view(code) => Unit::None,
        Softmax | InstanceNorm | LayerNorm | L2Norm | LocalResponseNorm | AvgPool | MaxPool | L2Pool
        | Cumsum | Topk | Argsort => Unit::Reduction,
        code if code.is_constexpr() => Unit::None,
        code if code.name().starts_with("reduce_") => Unit::Reduction,
        _ => Unit::Elementwise,
    }
}

/// The products of an op.
#[derive(Default)]
struct Products {
    flops: f64,
    columns: f64,
    conv3: bool,
}

fn products(call: Call<'_>) -> Result<Products, CallError> {
    let result = || call.op.results.first().and_then(|&v| call.function.tensor_type(v)).map_or(0.0, elements);
    Ok(match call.code() {
        Opcode::Conv | Opcode::ConvQuantized => {
            let w = call.tensor("weight")?;
            let (outs, taps) = w.shape.split_first().map_or((1, 1.0), |(o, rest)| (*o, extent(rest)));
            let strides = call.ints("strides")?.unwrap_or_default();
            let conv3 = w.shape.get(2..) == Some(&[3, 3]) && strides.iter().all(|&s| s == 1);
            Products { flops: 2.0 * result() * taps, columns: result() / outs.max(1) as f64, conv3 }
        }
        Opcode::ConvTranspose => {
            let (x, w) = (call.tensor("x")?, call.tensor("weight")?);
            let taps = w.shape.get(1..).map_or(1.0, extent);
            let ins = x.shape.get(1).copied().unwrap_or(1).max(1) as f64;
            Products { flops: 2.0 * elements(x) * taps, columns: elements(x) / ins, conv3: false }
        }
        Opcode::Linear => {
            let w = call.tensor("weight")?;
            let (outs, ins) = (w.shape.first().copied().unwrap_or(1), w.shape.get(1).copied().unwrap_or(1));
            let columns = result() / outs.max(1) as f64;
            Products { flops: 2.0 * result() * ins as f64, columns, conv3: false }
        }
        Opcode::Matmul => {
            let (x, y) = (call.tensor("x")?, call.tensor("y")?);
            let (rows, depth) = matrix(x, call.bool("transpose_x")?);
            let (_, columns) = matrix(y, call.bool("transpose_y")?);
            let columns = match (is_constant(call, "x"), is_constant(call, "y")) {
                (true, false) => columns,
                (false, true) => rows,
                _ => rows.max(columns),
            };
            Products { flops: 2.0 * result() * depth, columns, conv3: false }
        }
        Opcode::Einsum => einsum(call, result())?,
        Opcode::ScaledDotProductAttention => {
            let (q, k) = (call.tensor("query")?, call.tensor("key")?);
            let (queries, width) = matrix(q, false);
            let (keys, _) = matrix(k, false);
            let of_values = result() * keys;
            Products {
                flops: 2.0 * (queries * keys * width * batch(q) + of_values),
                columns: queries,
                conv3: false,
            }
        }
        _ => Products::default(),
    })
}

fn is_constant(call: Call<'_>, arg: &str) -> bool {
    call.constant(arg).is_ok_and(|c| c.is_some())
}

/// Rows and columns of a matrix in the last two axes.
fn matrix(ty: &TensorType, transposed: bool) -> (f64, f64) {
    let at = |from_end: usize| ty.rank().checked_sub(from_end).map_or(1.0, |i| ty.shape[i] as f64);
    if transposed { (at(1), at(2)) } else { (at(2), at(1)) }
}

fn batch(ty: &TensorType) -> f64 {
    extent(&ty.shape[..ty.rank().saturating_sub(2)])
}

fn extent(shape: &[usize]) -> f64 {
    shape.iter().map(|&d| d as f64).product()
}

/// Every letter of the equation once, whatever the order.
fn einsum(call: Call<'_>, result: f64) -> Result<Products, CallError> {
    let equation = call.string("equation")?.unwrap_or_default();
    let operands = equation.split("->").next().unwrap_or_default().split(',');
    let mut seen = HashSet::new();
    let mut all = 1.0;
    for (letters, ty) in operands.zip(call.tensors("values")?) {
        for (letter, &d) in letters.chars().filter(|c| !c.is_whitespace()).zip(&ty.shape) {
            if seen.insert(letter) {
                all *= d as f64;
            }
        }
    }
    Ok(Products { flops: 2.0 * all, columns: result.sqrt().max(1.0), conv3: false })
}
