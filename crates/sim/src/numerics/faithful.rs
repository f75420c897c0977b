//! The engine's arithmetic as the executor takes it.

use ferrane_cpu::{Arithmetic, Fold, Left, MapOp, Strided, Term};
use ferrane_engine::{AccumulatorKind, Profile};

use super::elementwise::{self, Binary};
use super::gemm::{Matrix, Prepared, ShapeError};
use super::table::{Generation, Unary};
use super::{Saturation, fp16, is_any_infinite, reduce};

/// The measured arithmetic of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faithful {
    generation: Generation,
}

impl Faithful {
    /// The arithmetic of a profile's chip: its ties, and the tables of its generation.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Self { generation: if profile.numerics.ties_away.value { Generation::M4 } else { Generation::M1 } }
    }

    /// What to know of it before trusting it, for a chip whose sums follow a rule that nobody has found.
    pub(crate) fn caveat(profile: &Profile) -> Option<&'static str> {
        let unknown = profile.numerics.accumulator.value == AccumulatorKind::Tiles;
        unknown.then_some(
            "a best effort: sums are the M4's with ties to even, for nobody has published this chip's rule",
        )
    }

    /// A function of one operand that is not the unit's own, by what it is made of.
    fn composed(self, op: MapOp, x: &[f32], y: &mut [f32]) -> u64 {
        let one = |op: MapOp, y: &mut [f32]| {
            let x = y.to_vec();
            self.map1(op, &x, y)
        };
        match op {
            MapOp::Inverse(e) | MapOp::Rsqrt(e) | MapOp::Log(e) => {
                let bare = match op {
                    MapOp::Inverse(_) => MapOp::Inverse(0.0),
                    MapOp::Rsqrt(_) => MapOp::Rsqrt(0.0),
                    _ => MapOp::Log(0.0),
                };
                let mut epsilon = [e];
                fp16::round_slice(&mut epsilon, self.generation.ties());
                let saturated = self.map2(MapOp::Add, Term::Each(x), Term::One(epsilon[0]), y);
                saturated + one(bare, y)
            }
            MapOp::GeluSigmoid => {
                let mut factor = [1.702];
                fp16::round_slice(&mut factor, self.generation.ties());
                let mut gate = vec![0.0; y.len()];
                let saturated = self.map2(MapOp::Mul, Term::Each(x), Term::One(factor[0]), &mut gate);
                let saturated = saturated + one(MapOp::Sigmoid, &mut gate);
                saturated + self.map2(MapOp::Mul, Term::Each(x), Term::Each(&gate), y)
            }
            // A change of type.
            MapOp::Truncate => self.rounded(y, |i| x[i].trunc(), |i| x[i].is_finite()),
            MapOp::NonZero => self.rounded(y, |i| f32::from(x[i] != 0.0), |_| true),
            _ => self.rounded(y, |i| x[i], |i| x[i].is_finite()),
        }
    }

    /// What is computed in single precision and only rounded by the engine's rule.
    fn rounded(self, y: &mut [f32], f: impl Fn(usize) -> f32, finite: impl Fn(usize) -> bool) -> u64 {
        // What is indeterminate is +0.
        y.iter_mut().enumerate().for_each(|(i, y)| {
            let value = f(i);
            *y = if value.is_nan() && finite(i) { 0.0 } else { value };
        });
        fp16::round_slice(y, self.generation.ties());
        if is_any_infinite(y) {
            (0..y.len()).filter(|&i| y[i].is_infinite() && finite(i)).count() as u64
        } else {
            0
        }
    }
}

/// The function with a table, or otherwise known, for an op without parameters.
fn unary(op: MapOp) -> Option<Unary> {
    Some(match op {
        MapOp::Abs => Unary::Abs,
        MapOp::Ceil => Unary::Ceil,
        MapOp::Cos => Unary::Cos,
        MapOp::Erf => Unary::Erf,
        MapOp::Exp => Unary::Exp,
        MapOp::Exp2 => Unary::Exp2,
        MapOp::Floor => Unary::Floor,
        MapOp::Gelu | MapOp::GeluTanh => Unary::Gelu,
        MapOp::Inverse(0.0) => Unary::Inverse,
        MapOp::Log(0.0) => Unary::Log,
        MapOp::Relu => Unary::Relu,
        MapOp::Round => Unary::Round,
        MapOp::Rsqrt(0.0) => Unary::Rsqrt,
        MapOp::Sigmoid => Unary::Sigmoid,
        MapOp::Sign => Unary::Sign,
        MapOp::Silu => Unary::Silu,
        MapOp::Sin => Unary::Sin,
        MapOp::Softplus => Unary::Softplus,
        MapOp::Softsign => Unary::Softsign,
        MapOp::Sqrt => Unary::Sqrt,
        MapOp::Square => Unary::Square,
        MapOp::Tanh => Unary::Tanh,
        _ => return None,
    })
}

fn binary(op: MapOp) -> Option<Binary> {
    Some(match op {
        MapOp::Add => Binary::Add,
        MapOp::Sub => Binary::Sub,
        MapOp::Mul => Binary::Mul,
        MapOp::Div => Binary::Div,
        MapOp::Max => Binary::Maximum,
        MapOp::Min => Binary::Minimum,
        _ => return None,
    })
}

/// The executor's operands always fit.
fn counted(result: Result<Saturation, ShapeError>) -> u64 {
    debug_assert!(result.is_ok(), "{result:?}");
    result.map_or(0, |s| s.saturated)
}

fn matrix(x: Strided<'_>) -> Result<Matrix<'_>, ShapeError> {
    Matrix::new(x.data, (x.rows, x.columns), (x.row, x.column))
}

impl Arithmetic for Faithful {
    fn round(&self, values: &mut [f32]) -> u64 {
        // What is indeterminate is +0.
        values.iter_mut().for_each(|y| *y = if y.is_nan() { 0.0 } else { *y });
        fp16::round_slice(values, self.generation.ties());
        values.iter().filter(|y| y.is_infinite()).count() as u64
    }

    fn map1(&self, op: MapOp, x: &[f32], y: &mut [f32]) -> u64 {
        match unary(op) {
            Some(op) => counted(elementwise::unary(op, x, y, self.generation)),
            None => self.composed(op, x, y),
        }
    }

    fn map2(&self, op: MapOp, a: Term<'_>, b: Term<'_>, y: &mut [f32]) -> u64 {
        if let Some(op) = binary(op) {
            return counted(elementwise::binary(op, a, b, y, self.generation));
        }
        // A power: nothing is published of it.
        let at = |term: Term<'_>, i: usize| match term {
            Term::Each(each) => each[i],
            Term::One(one) => one,
        };
        self.rounded(y, |i| at(a, i).powf(at(b, i)), |i| at(a, i).is_finite() && at(b, i).is_finite())
    }

    fn fold(&self, op: Fold, x: Strided<'_>, y: &mut [f32]) -> u64 {
        counted(reduce::fold(op, x, y, self.generation.ties()))
    }

    fn softmax(&self, x: &[f32], length: usize, y: &mut [f32]) -> u64 {
        counted(reduce::softmax(x, length, y, self.generation))
    }

    fn left(&self, a: Strided<'_>, bias: Option<&[f32]>, parts: usize) -> Box<dyn Left> {
        let prepared = matrix(a).and_then(|a| Prepared::new(a, bias, parts));
        debug_assert!(prepared.is_ok(), "{prepared:?}");
        Box::new(Product { prepared: prepared.ok(), generation: self.generation })
    }
}

#[derive(Debug)]
struct Product {
    /// None for an operand that does not fit its memory, which the executor never gives.
    prepared: Option<Prepared>,
    generation: Generation,
}

impl Left for Product {
    fn times(&self, b: Strided<'_>, y: &mut [f32], parts: usize) -> u64 {
        let Some(prepared) = &self.prepared else { return 0 };
        counted(matrix(b).and_then(|b| prepared.times(b, y, self.generation.ties(), parts)))
    }
}
