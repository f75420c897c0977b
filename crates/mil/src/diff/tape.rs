//! The state of a backward pass: terms of gradients, collected until a value has all of its own.

use super::WeightGradient;
use crate::{Builder, Call, CallError, Constant, Function, Opcode, Operand, TensorType, ValueId};

type Result<T> = std::result::Result<T, CallError>;

/// One term of a gradient.
enum Term {
    /// Of the whole value. Its shape is the value's, or has extents of 1 where the term is the same along an axis: a sum's
    /// gradient need not be spread out before it meets a tensor that is.
    Whole(ValueId),
    /// Of the part of the value that begins at `begin` along `axis`; nothing elsewhere.
    Part { axis: usize, begin: usize, value: ValueId },
}

pub(super) struct Tape<'f> {
    /// The function that is differentiated. Its ids are the joint function's too.
    pub(super) f: &'f Function,
    /// Builds the joint function.
    pub(super) b: Builder,
    /// Weight gradients left to others.
    pub(super) jobs: Vec<WeightGradient>,
    active: Vec<bool>,
    terms: Vec<Vec<Term>>,
    gradients: Vec<Option<ValueId>>,
}

impl<'f> Tape<'f> {
    pub(super) fn new(f: &'f Function, active: Vec<bool>) -> Self {
        let terms = f.values.iter().map(|_| Vec::new()).collect();
        let gradients = vec![None; f.values.len()];
        Self { f, b: Builder::extend(f.clone()), jobs: Vec::new(), active, terms, gradients }
    }

    pub(super) fn into_parts(self) -> (Builder, Vec<WeightGradient>, Vec<Option<ValueId>>) {
        (self.b, self.jobs, self.gradients)
    }

    /// True when a value of `f` varies with what is differentiated by.
    pub(super) fn active(&self, v: ValueId) -> bool {
        self.active[v.index()]
    }

    /// The operand of argument `name`, when it needs a gradient.
    pub(super) fn wants(&self, call: Call<'_>, name: &str) -> Result<Option<ValueId>> {
        Ok(call.operand(name)?.and_then(|o| self.wanted(o)))
    }

    /// The value of an operand, when it needs a gradient.
    pub(super) fn wanted(&self, operand: &Operand) -> Option<ValueId> {
        match operand {
            Operand::Value(v) if self.active(*v) => Some(*v),
            _ => None,
        }
    }

    /// The operand of a required argument; a literal becomes a constant of the joint function.
    pub(super) fn operand(&mut self, call: Call<'_>, name: &'static str) -> Result<ValueId> {
        match call.required(name)? {
            Operand::Value(v) => Ok(*v),
            Operand::Literal(c) => Ok(self.b.constant(&format!("{}_{name}", call.code()), c.clone())),
        }
    }

    /// The gradient of the only result, perhaps with extents of 1 (see [`Term::Whole`]).
    pub(super) fn dy(&self, call: Call<'_>) -> Result<ValueId> {
        let gradient = self.gradients[call.op.result().index()];
        gradient.ok_or_else(|| call.invalid("has a result without a gradient"))
    }

    /// The gradient of the only result, in the result's shape.
    pub(super) fn full_dy(&mut self, call: Call<'_>) -> Result<ValueId> {
        let gradient = self.full_gradient(call.op.result())?;
        gradient.ok_or_else(|| call.invalid("has a result without a gradient"))
    }

    /// Adds a term to the gradient of `v`.
    pub(super) fn give(&mut self, v: ValueId, gradient: ValueId) {
        self.terms[v.index()].push(Term::Whole(gradient));
    }

    /// Adds a term for the part of `v` that begins at `begin` along `axis`.
    pub(super) fn give_part(&mut self, v: ValueId, axis: usize, begin: usize, value: ValueId) {
        self.terms[v.index()].push(Term::Part { axis, begin, value });
    }

    /// Adds a term to the gradient of `v`, which was broadcast to `shape`: sums over the copies.
    pub(super) fn give_summed(&mut self, v: ValueId, gradient: ValueId, shape: &[usize]) -> Result<()> {
        let own = self.b.shape(v).to_vec();
        let aligned =
            |i: usize| if i + own.len() < shape.len() { 1 } else { own[i + own.len() - shape.len()] };
        let given = self.b.shape(gradient).to_vec();
        let mut axes = Vec::new();
        let mut copies = 1.0;
        for (i, &extent) in shape.iter().enumerate().filter(|(i, _)| aligned(*i) == 1) {
            match given[i] {
                1 => copies *= extent as f64,
                _ => axes.push(i as i32),
            }
        }
        let mut gradient = gradient;
        if !axes.is_empty() {
            gradient = self.b.reduce(Opcode::ReduceSum, gradient, &axes)?;
        }
        if copies != 1.0 {
            gradient = self.b.scale(gradient, copies)?;
        }
        let summed = self.b.shape(gradient)[shape.len() - own.len()..].to_vec();
        let gradient = self.b.reshape(gradient, &summed)?;
        self.give(v, gradient);
        Ok(())
    }

    /// Adds up the terms of the gradient of `v`, all of which are there. `None` when there are none.
    pub(super) fn finish(&mut self, v: ValueId) -> Result<Option<ValueId>> {
        let mut wholes = Vec::new();
        let mut parts = Vec::new();
        for term in std::mem::take(&mut self.terms[v.index()]) {
            match term {
                Term::Whole(value) => wholes.push(value),
                Term::Part { axis, begin, value } => parts.push((axis, begin, value)),
            }
        }
        wholes.extend(self.join_parts(v, parts)?);
        if let Some(sum) = self.sum(&wholes)? {
            self.gradients[v.index()] = Some(sum);
            self.name(v, sum);
        }
        Ok(self.gradients[v.index()])
    }

    fn sum(&mut self, terms: &[ValueId]) -> Result<Option<ValueId>> {
        let Some((&first, rest)) = terms.split_first() else { return Ok(None) };
        rest.iter().try_fold(first, |sum, &term| self.b.add(sum, term)).map(Some)
    }

    /// Parts of `v` as terms of the whole: parts that cover an axis are concatenated, others padded with zeros.
    fn join_parts(&mut self, v: ValueId, mut parts: Vec<(usize, usize, ValueId)>) -> Result<Vec<ValueId>> {
        let shape = self.b.shape(v).to_vec();
        parts.sort_by_key(|&(axis, begin, value)| (axis, begin, self.b.shape(value)[axis]));
        let mut wholes = Vec::new();
        for same_axis in parts.chunk_by(|a, b| a.0 == b.0) {
            let axis = same_axis[0].0;
            let mut joined: Vec<(usize, ValueId)> = Vec::new();
            for &(_, begin, value) in same_axis {
                match joined.last_mut() {
                    Some((b, sum)) if *b == begin && self.b.shape(*sum) == self.b.shape(value) => {
                        *sum = self.b.add(*sum, value)?;
                    }
                    _ => joined.push((begin, value)),
                }
            }
            let mut end = 0;
            let covers = joined.iter().all(|&(begin, value)| {
                let follows = begin == end;
                end = begin + self.b.shape(value)[axis];
                follows
            });
            if covers && end == shape[axis] {
                let values: Vec<ValueId> = joined.iter().map(|&(_, value)| value).collect();
                wholes.push(if let [only] = values[..] {
                    only
                } else {
                    self.b.concat(&values, axis as i32)?
                });
            } else {
                for (begin, value) in joined {
                    let mut begins = vec![0; shape.len()];
                    begins[axis] = begin;
                    wholes.push(self.pad_to(value, &begins, &shape)?);
                }
            }
        }
        Ok(wholes)
    }

    /// A tensor of zeros of `shape` with `part` in it at `begin`.
    pub(super) fn pad_to(&mut self, part: ValueId, begin: &[usize], shape: &[usize]) -> Result<ValueId> {
        let mut pad = Vec::with_capacity(2 * shape.len());
        for ((&begin, &size), &extent) in begin.iter().zip(self.b.shape(part)).zip(shape) {
            pad.extend([begin as i32, (extent - begin - size) as i32]);
        }
        let zero = self.b.scalar_like(part, 0.0);
        self.b.op(
            Opcode::Pad,
            vec![
                ("constant_val", zero.into()),
                ("mode", Constant::string("constant").into()),
                ("pad", Constant::ints(&pad).into()),
                ("x", part.into()),
            ],
        )
    }

    /// The gradient of `v` in the shape of `v`.
    pub(super) fn full_gradient(&mut self, v: ValueId) -> Result<Option<ValueId>> {
        let Some(gradient) = self.gradients[v.index()] else { return Ok(None) };
        let shape = self.b.shape(v).to_vec();
        let full = self.full(gradient, &shape)?;
        self.gradients[v.index()] = Some(full);
        self.name(v, full);
        Ok(Some(full))
    }

    /// `x` broadcast to `shape`, by adding zeros: `tile` is known to leave the engine unusable (facts A-21).
    pub(super) fn full(&mut self, x: ValueId, shape: &[usize]) -> Result<ValueId> {
        if self.b.shape(x) == shape {
            return Ok(x);
        }
        let given = self.b.shape(x);
        let copies: Vec<usize> = shape.iter().zip(given).map(|(&d, &g)| if g == d { 1 } else { d }).collect();
        let zeros = zeros(TensorType::new(self.b.ty(x).dtype, copies));
        let zeros = self.b.constant("zeros", zeros);
        self.b.add(x, zeros)
    }

    /// Calls a gradient of its value's own shape `d_VALUE`, unless it is a value of `f` or a seed, or has such a name
    /// already.
    fn name(&mut self, v: ValueId, gradient: ValueId) {
        let f = self.b.function();
        let named = f.inputs.contains(&gradient)
            || gradient.index() < self.f.values.len()
            || self.gradients.iter().zip(0..).any(|(g, of)| *g == Some(gradient) && of != v.0);
        if !named && f.value(gradient).ty == f.value(v).ty {
            let name = format!("d_{}", self.f.name_of(v));
            if f.name_of(gradient) != name {
                self.b.rename(gradient, &name);
            }
        }
    }
}

/// Zeros of a floating-point type.
pub(super) fn zeros(ty: TensorType) -> Constant {
    let n = ty.elements();
    Constant::floats(ty, &vec![0.0; n])
}
