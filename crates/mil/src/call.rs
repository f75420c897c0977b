//! An op together with its function: typed access to arguments with the catalogue's defaults.
//!
//! Inference, the interpreter, differentiation and engines all read arguments through [`Call`], so that a default or the
//! meaning of an absent argument is said once.

use thiserror::Error;

use crate::{
    Arg, Constant, DType, Function, Op, Opcode, Operand, TensorType,
    ops::{self, Default},
};

/// Why an op cannot be understood as it stands.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum CallError {
    /// The catalogue has no row for this op.
    #[error("`{0}` is not in the op catalogue")]
    UnknownOp(Opcode),
    /// The op is read and printed, but neither are its results inferred nor is it executed.
    #[error("`{0}` is only parsed: nothing here infers its results or executes it; write it with other ops")]
    ParsedOnly(Opcode),
    /// A required argument is absent.
    #[error("`{op}` needs the argument `{arg}`")]
    Missing {
        /// The op.
        op: Opcode,
        /// The argument.
        arg: &'static str,
    },
    /// An argument that the op does not have.
    #[error("`{op}` has no argument `{arg}`; it takes {}", known(*op))]
    UnknownArgument {
        /// The op.
        op: Opcode,
        /// The argument.
        arg: String,
    },
    /// An argument is not of the kind the op takes.
    #[error("`{arg}` of `{op}` must be {expected}")]
    Kind {
        /// The op.
        op: Opcode,
        /// The argument.
        arg: String,
        /// What it must be, e.g. "a constant integer".
        expected: &'static str,
    },
    /// The arguments are of the right kinds but do not fit together.
    #[error("`{op}`: {reason}")]
    Invalid {
        /// The op.
        op: Opcode,
        /// A sentence with the operands in it.
        reason: String,
    },
}

/// The names of the arguments an op takes.
fn known(op: Opcode) -> String {
    let names: Vec<&str> = ops::spec(op).map_or(&[][..], |spec| spec.args).iter().map(|a| a.name).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// An op and the function it stands in.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The function.
    pub function: &'a Function,
    /// The op.
    pub op: &'a Op,
}

impl<'a> Call<'a> {
    /// `op` as it stands in `function`.
    pub fn new(function: &'a Function, op: &'a Op) -> Self {
        Self { function, op }
    }

    /// Which op it is.
    pub fn code(&self) -> Opcode {
        self.op.code
    }

    /// An error of this op with a reason.
    pub fn invalid(&self, reason: impl Into<String>) -> CallError {
        CallError::Invalid { op: self.code(), reason: reason.into() }
    }

    pub(crate) fn kind(&self, arg: &str, expected: &'static str) -> CallError {
        CallError::Kind { op: self.code(), arg: arg.into(), expected }
    }

    /// True when the argument is given.
    pub fn has(&self, name: &str) -> bool {
        self.op.arg(name).is_some()
    }

    /// The operand given for a single-valued argument, or `None` when absent.
    pub fn operand(&self, name: &str) -> Result<Option<&'a Operand>, CallError> {
        match self.op.arg(name) {
            None => Ok(None),
            Some(Arg::One(o)) => Ok(Some(o)),
            Some(Arg::Many(_)) => Err(self.kind(name, "a single value, not a tuple")),
        }
    }

    /// The operand of a required argument.
    pub fn required(&self, name: &'static str) -> Result<&'a Operand, CallError> {
        self.operand(name)?.ok_or(CallError::Missing { op: self.code(), arg: name })
    }

    /// The type of a required tensor argument.
    pub fn tensor(&self, name: &'static str) -> Result<&'a TensorType, CallError> {
        let operand = self.required(name)?;
        self.function.operand_type(operand).ok_or_else(|| self.kind(name, "a tensor"))
    }

    /// The operands of a tuple argument such as `values`; a single operand counts as a tuple of one.
    pub fn operands(&self, name: &'static str) -> Result<&'a [Operand], CallError> {
        let arg = self.op.arg(name).ok_or(CallError::Missing { op: self.code(), arg: name })?;
        Ok(arg.operands())
    }

    /// The types of a tuple argument.
    pub fn tensors(&self, name: &'static str) -> Result<Vec<&'a TensorType>, CallError> {
        let operands = self.operands(name)?.iter();
        operands
            .map(|o| self.function.operand_type(o).ok_or_else(|| self.kind(name, "a tuple of tensors")))
            .collect()
    }

    /// The constant given for an argument; an error when it is given but not constant.
    pub fn constant(&self, name: &str) -> Result<Option<&'a Constant>, CallError> {
        match self.operand(name)? {
            None => Ok(None),
            Some(o) => self.function.constant(o).map(Some).ok_or_else(|| self.kind(name, "a constant")),
        }
    }

    fn default(&self, name: &'static str) -> Result<Default, CallError> {
        let spec = ops::spec(self.code()).ok_or(CallError::UnknownOp(self.code()))?;
        match spec.arg(name).map_or(Default::None, |a| a.default) {
            Default::Required => Err(CallError::Missing { op: self.code(), arg: name }),
            default => Ok(default),
        }
    }

    /// A constant integer or its default.
    pub fn int(&self, name: &'static str) -> Result<Option<i64>, CallError> {
        match self.constant(name)? {
            Some(c) => c.as_int().map(Some).ok_or_else(|| self.kind(name, "a constant integer")),
            None => Ok(match self.default(name)? {
                Default::Int(v) => Some(v),
                _ => None,
            }),
        }
    }

    /// A constant integer vector or its default. A scalar counts as a vector of one.
    pub fn ints(&self, name: &'static str) -> Result<Option<Vec<i64>>, CallError> {
        match self.constant(name)? {
            Some(c) => c.as_ints().map(Some).ok_or_else(|| self.kind(name, "a constant integer vector")),
            None => Ok(match self.default(name)? {
                Default::Ints(v) => Some(v.to_vec()),
                _ => None,
            }),
        }
    }

    /// A constant truth value or its default (`false` when there is none).
    pub fn bool(&self, name: &'static str) -> Result<bool, CallError> {
        match self.constant(name)? {
            Some(c) => c.as_bool().ok_or_else(|| self.kind(name, "a constant bool")),
            None => Ok(matches!(self.default(name)?, Default::Bool(true))),
        }
    }

    /// A constant vector of truth values, or `None` when absent. A scalar counts as a vector of one.
    pub fn bools(&self, name: &'static str) -> Result<Option<Vec<bool>>, CallError> {
        match self.constant(name)? {
            Some(c) => match c.data() {
                Some(crate::Data::Bool(v)) => Ok(Some(v.clone())),
                _ => Err(self.kind(name, "a constant vector of bools")),
            },
            None => Ok(None),
        }
    }

    /// A constant number or its default.
    pub fn float(&self, name: &'static str) -> Result<Option<f64>, CallError> {
        match self.constant(name)? {
            Some(c) => c.as_f64().map(Some).ok_or_else(|| self.kind(name, "a constant number")),
            None => Ok(match self.default(name)? {
                Default::Float(v) => Some(v),
                _ => None,
            }),
        }
    }

    /// A constant string or its default.
    pub fn string(&self, name: &'static str) -> Result<Option<&'a str>, CallError> {
        match self.constant(name)? {
            Some(c) => c.as_str().map(Some).ok_or_else(|| self.kind(name, "a constant string")),
            None => Ok(match self.default(name)? {
                Default::Str(v) => Some(v),
                _ => None,
            }),
        }
    }

    /// The element type named by a string argument such as `dtype` of `cast`.
    pub fn dtype(&self, name: &'static str) -> Result<DType, CallError> {
        let text = self.string(name)?.ok_or(CallError::Missing { op: self.code(), arg: name })?;
        DType::from_name(text).ok_or_else(|| self.invalid(format!("`{text}` is not an element type")))
    }

    /// `axis` counted from the front for a tensor of `rank`.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize, CallError> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        usize::try_from(from_front)
            .ok()
            .filter(|&a| a < rank)
            .ok_or_else(|| self.invalid(format!("axis {axis} is outside a tensor of rank {rank}")))
    }

    /// The axes of a reduction of `x`: sorted, without repeats; all of them when `axes` is absent.
    pub fn reduced_axes(&self, rank: usize) -> Result<Vec<usize>, CallError> {
        let Some(axes) = self.ints("axes")? else { return Ok((0..rank).collect()) };
        let mut axes = axes.iter().map(|&a| self.axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }
}
