//! From a MIL function to the graph: arguments are read, views composed, composite ops taken apart.

mod along;
mod attention;
mod compute;
mod convolution;
mod elementwise;
mod image;
mod index;
mod lines;
mod movement;
mod norm;
mod product;
mod quantize;
mod rearrange;

use ferrane_mil::{Call, CallError, Constant, Function, Op, Opcode, Operand, Payload, TensorType, ValueId};

use crate::{
    CompileError, Numerics, Weights,
    graph::{self, Graph, Kind, Round},
    simd::round,
    view::View,
};

/// Lowers `function`; constants are read from it and from `weights`.
pub(crate) fn lower(
    function: &Function,
    weights: &dyn Weights,
    numerics: &Numerics,
) -> Result<Graph, CompileError> {
    let mut lower = Lower {
        function,
        weights,
        numerics,
        graph: Graph::default(),
        values: vec![None; function.values.len()],
    };
    lower.inputs()?;
    for op in function.ops.iter().filter(|op| op.code != Opcode::Const) {
        lower.op(op)?;
    }
    for &v in &function.outputs {
        let view = lower.value(v)?;
        lower.graph.outputs.push(view);
    }
    Ok(lower.graph)
}

struct Lower<'a> {
    function: &'a Function,
    weights: &'a dyn Weights,
    numerics: &'a Numerics,
    graph: Graph,
    /// What each value reads; constants are filled in when first used.
    values: Vec<Option<View>>,
}

/// An op being lowered.
#[derive(Clone, Copy)]
struct Site<'a> {
    call: Call<'a>,
    /// Name of the first result.
    value: &'a str,
    /// Rounding of the results.
    round: Round,
}

impl<'a> Site<'a> {
    fn error(&self, source: CallError) -> CompileError {
        CompileError::Call { value: self.value.into(), source }
    }

    fn unsupported(&self, what: impl Into<String>) -> CompileError {
        CompileError::Unsupported { op: self.call.code(), value: self.value.into(), what: what.into() }
    }

    fn get<T>(&self, result: Result<T, CallError>) -> Result<T, CompileError> {
        result.map_err(|source| self.error(source))
    }

    fn need<T>(&self, arg: &'static str, result: Result<Option<T>, CallError>) -> Result<T, CompileError> {
        let missing = || self.error(CallError::Missing { op: self.call.code(), arg });
        self.get(result)?.ok_or_else(missing)
    }

    /// A constant number, exact when it is written in fp32.
    fn float(&self, arg: &'static str) -> Result<f32, CompileError> {
        Ok(self.need(arg, self.call.float(arg))? as f32)
    }
}

impl<'a> Lower<'a> {
    fn inputs(&mut self) -> Result<(), CompileError> {
        for (i, &v) in self.function.inputs.iter().enumerate() {
            let shape = self.tensor_type(v)?.shape.clone();
            self.values[v.index()] = Some(self.graph.push(&shape, Kind::Input(i), Round::Keep));
        }
        Ok(())
    }

    fn tensor_type(&self, v: ValueId) -> Result<&'a TensorType, CompileError> {
        let value = self.function.value(v);
        let numeric = value.ty.as_tensor().filter(|t| t.dtype != ferrane_mil::DType::String);
        numeric
            .ok_or_else(|| CompileError::NotNumeric { value: value.name.clone(), ty: value.ty.to_string() })
    }

    fn value(&mut self, v: ValueId) -> Result<View, CompileError> {
        if let Some(view) = &self.values[v.index()] {
            return Ok(view.clone());
        }
        let function = self.function;
        let value = function.value(v);
        let constant = value.constant.as_ref();
        let constant = constant.ok_or_else(|| CompileError::Undefined { value: value.name.clone() })?;
        let view = self.constant(constant, &value.name)?;
        self.values[v.index()] = Some(view.clone());
        Ok(view)
    }

    fn constant(&mut self, constant: &Constant, name: &str) -> Result<View, CompileError> {
        let not_numeric = || CompileError::NotNumeric { value: name.into(), ty: constant.ty.to_string() };
        let mut data: Vec<f32> = match &constant.payload {
            Payload::Inline(_) => {
                let elements = constant.to_f64().ok_or_else(not_numeric)?;
                if constant.ty.dtype.is_int()
                    && let Some(&number) = elements.iter().find(|&&x| round::whole(x as f32).is_nan())
                {
                    return Err(CompileError::LargeInteger { value: name.into(), number });
                }
                elements.into_iter().map(|x| x as f32).collect()
            }
            Payload::Blob(blob) => {
                let wrong = |what: String| CompileError::Weight {
                    value: name.into(),
                    path: blob.path.clone(),
                    offset: blob.offset,
                    what,
                };
                self.weights.read(blob, &constant.ty).ok_or_else(|| wrong("is missing".into()))?
            }
        };
        if data.len() != constant.ty.elements() {
            return Err(CompileError::Weight {
                value: name.into(),
                path: constant.blob_ref().map_or_else(String::new, |b| b.path.clone()),
                offset: constant.blob_ref().map_or(0, |b| b.offset),
                what: format!(
                    "has {} elements, but {} has {}",
                    data.len(),
                    constant.ty,
                    constant.ty.elements()
                ),
            });
        }
        let round = match self.numerics {
            Numerics::F32 => Round::Keep,
            Numerics::Declared | Numerics::Arithmetic(_) => Round::of_constant(constant.ty.dtype),
        };
        data.iter_mut().for_each(|x| *x = round::scalar(round, *x));
        Ok(self.graph.push(&constant.ty.shape, Kind::Const(data), Round::Keep))
    }

    fn operand(&mut self, operand: &Operand, site: Site<'_>) -> Result<View, CompileError> {
        match operand {
            Operand::Value(v) => self.value(*v),
            Operand::Literal(c) => self.constant(c, site.value),
        }
    }

    fn arg(&mut self, name: &'static str, site: Site<'_>) -> Result<View, CompileError> {
        let operand = site.get(site.call.required(name))?;
        self.operand(operand, site)
    }

    fn optional(&mut self, name: &'static str, site: Site<'_>) -> Result<Option<View>, CompileError> {
        site.get(site.call.operand(name))?.map(|operand| self.operand(operand, site)).transpose()
    }

    fn op(&mut self, op: &'a Op) -> Result<(), CompileError> {
        let value = op.results.first().map_or("?", |r| self.function.name_of(*r));
        let round = match op.results.first() {
            Some(&r) => Round::of(self.numerics, self.tensor_type(r)?.dtype),
            None => Round::Keep,
        };
        let site = Site { call: Call::new(self.function, op), value, round };
        self.graph.sites.push(graph::Site { value: value.to_owned(), op: op.code });
        let views = match self.movement(site)? {
            Some(views) => views,
            None if op.code.is_constexpr() => self.decoded(site)?,
            None if op.code == Opcode::Topk => self.topk(site)?,
            // No other op with a kernel has several results that are not parts of its operand.
            None if op.results.len() > 1 => {
                (0..op.results.len()).map(|i| self.reference(site, i)).collect::<Result<_, _>>()?
            }
            None => vec![self.compute(site)?],
        };
        for (&r, view) in op.results.iter().zip(views) {
            self.values[r.index()] = Some(view);
        }
        Ok(())
    }

    /// Extents of the first result.
    fn result_shape(&self, site: Site<'_>) -> Result<&'a [usize], CompileError> {
        let undefined = || CompileError::Undefined { value: site.value.into() };
        let r = site.call.op.results.first().ok_or_else(undefined)?;
        Ok(&self.tensor_type(*r)?.shape)
    }
}
