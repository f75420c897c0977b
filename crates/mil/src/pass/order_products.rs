//! Products in the order in which fp16 does not overflow.

use std::collections::HashMap;

use super::{PassError, define, reopen};
use crate::{Builder, Call, Function, Op, Opcode, Operand, ValueId};

/// The smallest normal fp16 number: a factor below it would lose digits.
const LEAST: f64 = 1.0 / 16384.0;

/// `f` with the factors of chains of products in another order. The product is the same but for rounding; what stands between
/// stays within fp16 more often.
///
/// - Constants come first where together they make it smaller: `x·y·(1/n)` becomes `x·(1/n)·y`.
/// - A factor that occurs several times stands between the others: `x·y·y·y·z` becomes `x·y·z·y·y`. So `y` may be large where
///   `z` is small, as in the derivative of a norm, where they are 1/|z| and z.
///
/// A chain is a product whose operand `x` is a product that nothing else reads, and so on.
///
/// # Errors
/// When an op of `f` does not fit its arguments.
pub fn order_products(f: &Function) -> Result<Function, PassError> {
    let chains = Chains::of(f);
    let (mut b, ops) = reopen(f);
    for op in ops {
        match product(&op).and_then(|result| chains.ending(result)) {
            Some(chain) => chain.rebuild(&mut b)?,
            None => b.append(op),
        }
    }
    let f = b.finish(&f.outputs);
    Ok(super::dce(&f))
}

struct Chains<'f> {
    f: &'f Function,
    /// The two operands of every product.
    products: HashMap<ValueId, (ValueId, ValueId)>,
    /// Products that the next product of a chain reads.
    inner: Vec<bool>,
}

/// `head · factors`, in the new order, and the numbers among the factors as one.
struct Chain {
    result: ValueId,
    head: ValueId,
    factors: Vec<ValueId>,
    scale: f64,
    /// Whether the numbers come first, or last.
    scale_first: bool,
}

/// The result of a product.
fn product(op: &Op) -> Option<ValueId> {
    (op.code == Opcode::Mul).then(|| op.result())
}

impl<'f> Chains<'f> {
    fn of(f: &'f Function) -> Self {
        // How often a value is read, as an output, too.
        let mut uses = vec![0; f.values.len()];
        let read = f.ops.iter().flat_map(|op| &op.args).flat_map(|(_, arg)| arg.operands());
        for operand in read {
            if let Operand::Value(v) = operand {
                uses[v.index()] += 1;
            }
        }
        f.outputs.iter().for_each(|v| uses[v.index()] += 1);
        let operands = |op: &Op| {
            let call = Call::new(f, op);
            let value = |name| match call.operand(name).ok()?? {
                Operand::Value(v) => Some(*v),
                Operand::Literal(_) => None,
            };
            Some((product(op)?, (value("x")?, value("y")?)))
        };
        let products: HashMap<_, _> = f.ops.iter().filter_map(operands).collect();
        let mut inner = vec![false; f.values.len()];
        for (x, _) in products.values() {
            inner[x.index()] = products.contains_key(x) && uses[x.index()] == 1;
        }
        Self { f, products, inner }
    }

    /// The chain that ends with this product, if its factors belong in another order.
    fn ending(&self, result: ValueId) -> Option<Chain> {
        if self.inner[result.index()] {
            return None;
        }
        let mut backwards = Vec::new();
        let (mut head, mut next) = (result, Some(result));
        while let Some((x, y)) = next.and_then(|v| self.products.get(&v)).copied() {
            backwards.push(y);
            head = x;
            next = self.inner[x.index()].then_some(x);
        }
        let number = |v: &ValueId| self.f.value(*v).constant.as_ref()?.as_f64();
        let scale: f64 = backwards.iter().filter_map(number).product();
        let given: Vec<ValueId> = backwards.iter().rev().copied().collect();
        let factors: Vec<ValueId> = given.iter().filter(|v| number(v).is_none()).copied().collect();
        let spread = spread(&factors);
        let constants = given.len() - factors.len();
        let late = given.iter().skip(constants).any(|v| number(v).is_some());
        let scale_first = (LEAST..1.0).contains(&scale.abs());
        let moves = spread != factors || (late && scale_first);
        moves.then_some(Chain { result, head, factors: spread, scale, scale_first })
    }
}

/// `factors` in turns: the first of each, then the second of each that occurs again, and so on.
fn spread(factors: &[ValueId]) -> Vec<ValueId> {
    let occurrence = |i: usize| factors[..i].iter().filter(|v| **v == factors[i]).count();
    let mut order: Vec<usize> = (0..factors.len()).collect();
    order.sort_by_key(|&i| occurrence(i));
    order.into_iter().map(|i| factors[i]).collect()
}

impl Chain {
    fn rebuild(self, b: &mut Builder) -> Result<(), PassError> {
        let scale = |b: &mut Builder, product| match self.scale {
            1.0 => Ok(product),
            scale => b.scale(product, scale),
        };
        let mut product = self.head;
        if self.scale_first {
            product = scale(b, product)?;
        }
        for factor in self.factors {
            product = b.mul(product, factor)?;
        }
        if !self.scale_first {
            scale(b, product)?;
        }
        define(b, self.result);
        Ok(())
    }
}
