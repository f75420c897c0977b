//! When two programs are the same, whatever the numbering of their values.

use crate::{Arg, Attr, Constant, Data, Function, Op, Operand, Payload, Program, ValueId};

/// The first difference between two programs, in words; `None` when they are the same.
///
/// Values are compared by where they are defined and by name, not by their index in the arena; values that nothing defines
/// do not count. Numbers are compared bit by bit: −0 is not 0, and a NaN is the same as itself. An op without a name and one
/// named like its first result are the same.
pub fn structural_difference(a: &Program, b: &Program) -> Option<String> {
    if a.version != b.version {
        return Some(format!("versions {:?} and {:?}", a.version, b.version));
    }
    if !same_attrs(&a.attrs, &b.attrs) {
        return Some("attributes of the program".into());
    }
    if a.functions.len() != b.functions.len() {
        return Some(format!("{} and {} functions", a.functions.len(), b.functions.len()));
    }
    let difference = |(f, g): (&Function, &Function)| {
        Pair { a: f, b: g, ids: vec![None; f.values.len()] }
            .difference()
            .map(|d| format!("function `{}`: {d}", f.name))
    };
    a.functions.iter().zip(&b.functions).find_map(difference)
}

/// True when [`structural_difference`] finds none.
pub fn structurally_equal(a: &Program, b: &Program) -> bool {
    structural_difference(a, b).is_none()
}

/// Two functions and which value of the second each value of the first is.
struct Pair<'a> {
    a: &'a Function,
    b: &'a Function,
    ids: Vec<Option<ValueId>>,
}

impl Pair<'_> {
    fn difference(mut self) -> Option<String> {
        let (a, b) = (self.a, self.b);
        if a.name != b.name || a.opset != b.opset {
            return Some(format!("`{}<{}>` and `{}<{}>`", a.name, a.opset.name(), b.name, b.opset.name()));
        }
        if !same_attrs(&a.attrs, &b.attrs) {
            return Some("attributes".into());
        }
        if let Some(d) = self.define(&a.inputs, &b.inputs) {
            return Some(format!("inputs: {d}"));
        }
        if a.ops.len() != b.ops.len() {
            return Some(format!("{} and {} ops", a.ops.len(), b.ops.len()));
        }
        for (i, (p, q)) in a.ops.iter().zip(&b.ops).enumerate() {
            if let Some(d) = self.op(p, q) {
                return Some(format!("op {i} (`{}`): {d}", p.code));
            }
        }
        let outputs = a.outputs.len() == b.outputs.len()
            && a.outputs.iter().zip(&b.outputs).all(|(x, y)| self.same_value(*x, *y));
        (!outputs).then(|| "outputs".into())
    }

    fn op(&mut self, p: &Op, q: &Op) -> Option<String> {
        if p.code != q.code {
            return Some(format!("`{}` instead", q.code));
        }
        let names = |(n, x): &(crate::Name, Arg), (m, y): &(crate::Name, Arg)| n == m && self.same_arg(x, y);
        if p.args.len() != q.args.len() || !p.args.iter().zip(&q.args).all(|(x, y)| names(x, y)) {
            return Some(format!("arguments {:?} and {:?}", p.args, q.args));
        }
        if !same_attrs(&p.attrs, &q.attrs) {
            return Some(format!("attributes {:?} and {:?}", p.attrs, q.attrs));
        }
        if let Some(d) = self.define(&p.results, &q.results) {
            return Some(format!("results: {d}"));
        }
        let (n, m) = (effective_name(self.a, p), effective_name(self.b, q));
        (n != m).then(|| format!("named `{n}` and `{m}`"))
    }

    /// Pairs values that are defined in the same place.
    fn define(&mut self, xs: &[ValueId], ys: &[ValueId]) -> Option<String> {
        if xs.len() != ys.len() {
            return Some(format!("{} and {} values", xs.len(), ys.len()));
        }
        for (&x, &y) in xs.iter().zip(ys) {
            let (v, w) = (self.a.value(x), self.b.value(y));
            if v.name != w.name || v.ty != w.ty {
                return Some(format!("`{} {}` and `{} {}`", v.ty, v.name, w.ty, w.name));
            }
            let constants = match (&v.constant, &w.constant) {
                (Some(c), Some(d)) => same_constant(c, d),
                (None, None) => true,
                _ => false,
            };
            if !constants {
                return Some(format!("constants of `{}`", v.name));
            }
            self.ids[x.index()] = Some(y);
        }
        None
    }

    fn same_value(&self, x: ValueId, y: ValueId) -> bool {
        self.ids.get(x.index()).copied().flatten() == Some(y)
    }

    fn same_arg(&self, x: &Arg, y: &Arg) -> bool {
        let kinds = matches!((x, y), (Arg::One(_), Arg::One(_)) | (Arg::Many(_), Arg::Many(_)));
        let (xs, ys) = (x.operands(), y.operands());
        let same = |(o, p): (&Operand, &Operand)| match (o, p) {
            (Operand::Value(v), Operand::Value(w)) => self.same_value(*v, *w),
            (Operand::Literal(c), Operand::Literal(d)) => same_constant(c, d),
            _ => false,
        };
        kinds && xs.len() == ys.len() && xs.iter().zip(ys).all(same)
    }
}

fn effective_name<'a>(function: &'a Function, op: &'a Op) -> &'a str {
    match op.results.first() {
        Some(first) if op.name.is_empty() => function.name_of(*first),
        _ => &op.name,
    }
}

fn same_attrs(a: &[(String, Attr)], b: &[(String, Attr)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((n, x), (m, y))| n == m && same_attr(x, y))
}

fn same_attr(a: &Attr, b: &Attr) -> bool {
    match (a, b) {
        (Attr::Constant(c), Attr::Constant(d)) => same_constant(c, d),
        (Attr::Dict(t, x), Attr::Dict(u, y)) => {
            let entries = |((k, v), (l, w)): (&(Constant, Attr), &(Constant, Attr))| {
                same_constant(k, l) && same_attr(v, w)
            };
            t == u && x.len() == y.len() && x.iter().zip(y).all(entries)
        }
        (Attr::List(t, x), Attr::List(u, y)) => {
            t == u && x.len() == y.len() && x.iter().zip(y).all(|(v, w)| same_attr(v, w))
        }
        _ => false,
    }
}

fn same_constant(a: &Constant, b: &Constant) -> bool {
    if a.ty != b.ty {
        return false;
    }
    match (&a.payload, &b.payload) {
        (Payload::Inline(x), Payload::Inline(y)) => same_bits(x, y),
        (Payload::Blob(x), Payload::Blob(y)) => x == y,
        _ => false,
    }
}

fn same_bits(a: &Data, b: &Data) -> bool {
    fn all<T>(x: &[T], y: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
        x.len() == y.len() && x.iter().zip(y).all(|(v, w)| same(v, w))
    }
    match (a, b) {
        (Data::Fp16(x), Data::Fp16(y)) => all(x, y, |v, w| v.to_bits() == w.to_bits()),
        (Data::Bf16(x), Data::Bf16(y)) => all(x, y, |v, w| v.to_bits() == w.to_bits()),
        (Data::Fp32(x), Data::Fp32(y)) => all(x, y, |v, w| v.to_bits() == w.to_bits()),
        (Data::Fp64(x), Data::Fp64(y)) => all(x, y, |v, w| v.to_bits() == w.to_bits()),
        _ => a == b,
    }
}
