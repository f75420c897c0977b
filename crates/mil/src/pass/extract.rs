//! Cutting one function out of another.

use std::collections::HashSet;

use super::dce::compact;
use crate::{Function, ValueId};

/// Why a cut cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// The cut reaches an input of the whole function that it does not take.
    #[error(
        "`{name}`: the outputs need `{input}`, an input of `{from}`; take it, or a value computed from it, as an input"
    )]
    Reaches {
        /// The cut.
        name: String,
        /// The function it is cut from.
        from: String,
        /// The input reached.
        input: String,
    },
    /// An output is also an input. A program that only passes a value through crashes the compiler (facts A-26).
    #[error("`{name}`: `{value}` is an input and an output; leave it out of the outputs")]
    PassedThrough {
        /// The cut.
        name: String,
        /// The value.
        value: String,
    },
    /// An input that no output needs.
    #[error("`{name}`: no output needs the input `{value}`; leave it out of the inputs")]
    Unused {
        /// The cut.
        name: String,
        /// The value.
        value: String,
    },
    /// A value is listed twice among the inputs or among the outputs.
    #[error("`{name}`: `{value}` is listed twice")]
    Repeated {
        /// The cut.
        name: String,
        /// The value.
        value: String,
    },
    /// No outputs.
    #[error("`{name}`: the cut has no outputs")]
    Empty {
        /// The cut.
        name: String,
    },
    /// An id that the function does not have, or a value that neither an input nor an op defines.
    #[error("`{name}`: value {index} is not defined in `{from}`")]
    Undefined {
        /// The cut.
        name: String,
        /// The function it is cut from.
        from: String,
        /// The index of the value.
        index: u32,
    },
}

/// The function that computes `outputs` from `inputs` as `f` does: everything between them is copied, in order and under
/// its own name, weights and other constants with it. A value that is needed and is not among `inputs` is recomputed.
///
/// # Errors
/// When the cut needs an input of `f` that is not listed, or the lists themselves make no sense.
pub fn extract(
    f: &Function,
    name: &str,
    inputs: &[ValueId],
    outputs: &[ValueId],
) -> Result<Function, ExtractError> {
    check_lists(f, name, inputs, outputs)?;
    let is_input: HashSet<ValueId> = inputs.iter().copied().collect();
    let definitions = f.definitions();

    let mut needed = vec![false; f.values.len()];
    for &v in outputs {
        needed[v.index()] = true;
    }
    let mut kept = vec![false; f.ops.len()];
    for (i, op) in f.ops.iter().enumerate().rev() {
        kept[i] = op.results.iter().any(|r| needed[r.index()] && !is_input.contains(r));
        if kept[i] {
            op.uses().for_each(|v| needed[v.index()] = true);
        }
    }
    for v in (0..f.values.len() as u32).map(ValueId).filter(|v| needed[v.index()] && !is_input.contains(v)) {
        if f.inputs.contains(&v) {
            let input = f.name_of(v).to_owned();
            return Err(ExtractError::Reaches { name: name.into(), from: f.name.clone(), input });
        }
        if definitions[v.index()].is_none() {
            return Err(undefined(f, name, v));
        }
    }
    if let Some(v) = inputs.iter().find(|v| !needed[v.index()]) {
        return Err(ExtractError::Unused { name: name.into(), value: f.name_of(*v).into() });
    }

    let mut cut = f.clone();
    cut.name = name.into();
    cut.inputs = inputs.to_vec();
    cut.outputs = outputs.to_vec();
    let mut kept = kept.iter();
    cut.ops.retain(|_| kept.next().copied().unwrap_or(false));
    for &v in inputs {
        cut.values[v.index()].constant = None;
    }
    detach_inputs(&mut cut, &is_input);
    compact(&mut cut);
    Ok(cut)
}

fn undefined(f: &Function, name: &str, v: ValueId) -> ExtractError {
    ExtractError::Undefined { name: name.into(), from: f.name.clone(), index: v.0 }
}

fn check_lists(
    f: &Function,
    name: &str,
    inputs: &[ValueId],
    outputs: &[ValueId],
) -> Result<(), ExtractError> {
    if outputs.is_empty() {
        return Err(ExtractError::Empty { name: name.into() });
    }
    if let Some(&v) = inputs.iter().chain(outputs).find(|v| v.index() >= f.values.len()) {
        return Err(undefined(f, name, v));
    }
    for list in [inputs, outputs] {
        let mut seen = HashSet::new();
        if let Some(v) = list.iter().find(|v| !seen.insert(**v)) {
            return Err(ExtractError::Repeated { name: name.into(), value: f.name_of(*v).into() });
        }
    }
    match outputs.iter().find(|v| inputs.contains(v)) {
        Some(v) => Err(ExtractError::PassedThrough { name: name.into(), value: f.name_of(*v).into() }),
        None => Ok(()),
    }
}

/// An op with several results may be needed for one of them while another is an input of the cut: that one gets a value
/// of its own, which nothing reads.
fn detach_inputs(cut: &mut Function, is_input: &HashSet<ValueId>) {
    for i in 0..cut.ops.len() {
        for j in 0..cut.ops[i].results.len() {
            let r = cut.ops[i].results[j];
            if is_input.contains(&r) {
                let ty = cut.value(r).ty.clone();
                let mut name = format!("{}_unused", cut.name_of(r));
                while cut.find(&name).is_some() {
                    name.push('_');
                }
                cut.ops[i].results[j] = cut.add_value(name, ty);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::{Builder, Constant, Opcode, Opset, TensorType};

    /// `y = wo · tanh(wq · x) + x`
    fn layer() -> Function {
        let mut b = Builder::new("layer", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
        let wq = b.weight("wq", TensorType::fp16([6, 4, 1, 1]));
        let q = b.linear(x, wq).unwrap();
        b.rename(q, "q");
        let h = b.unary(Opcode::Tanh, q).unwrap();
        b.rename(h, "h");
        let wo = b.weight("wo", TensorType::fp16([4, 6, 1, 1]));
        let o = b.linear(h, wo).unwrap();
        let y = b.add(o, x).unwrap();
        b.rename(y, "y");
        b.finish(&[y])
    }

    fn ids(f: &Function, names: &[&str]) -> Vec<ValueId> {
        names.iter().map(|n| f.find(n).unwrap()).collect()
    }

    #[test]
    fn a_cut_takes_the_constants_it_needs_and_keeps_names() {
        let f = layer();
        let cut = verified(extract(&f, "second", &ids(&f, &["h", "x"]), &ids(&f, &["y"])).unwrap());
        assert_eq!(cut.name, "second");
        assert_eq!(codes(&cut), [Opcode::Conv, Opcode::Add]);
        assert_eq!(ports(&cut), [("h", &[1, 6, 1, 8][..]), ("x", &[1, 4, 1, 8])]);
        assert!(cut.find("wo").is_some() && cut.find("wq").is_none());
        assert_eq!(cut.name_of(cut.outputs[0]), "y");
    }

    #[test]
    fn a_weight_can_be_an_input_of_the_cut() {
        let f = layer();
        let cut = verified(extract(&f, "first", &ids(&f, &["x", "wq"]), &ids(&f, &["q", "h"])).unwrap());
        assert_eq!(ports(&cut)[1], ("wq", &[6, 4, 1, 1][..]));
        assert!(cut.value(cut.inputs[1]).constant.is_none());
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let f = layer();
        let cut =
            |i: &[&str], o: &[&str]| extract(&f, "k", &ids(&f, i), &ids(&f, o)).unwrap_err().to_string();
        assert!(cut(&["h"], &["y"]).contains("`x`, an input of `layer`"));
        assert!(cut(&["x"], &["x"]).contains("`x` is an input and an output"));
        assert!(cut(&["x", "h"], &["q"]).contains("no output needs the input `h`"));
        assert!(cut(&["x", "x"], &["y"]).contains("`x` is listed twice"));
        assert!(cut(&["x"], &[]).contains("no outputs"));
        assert!(extract(&f, "k", &[], &[ValueId(99)]).unwrap_err().to_string().contains("value 99"));
    }

    #[test]
    fn one_half_of_a_split_may_be_an_input() {
        let mut b = Builder::new("main", Opset::Ios18);
        let x = b.input("x", TensorType::fp16([1, 4, 1, 8]));
        let (axis, parts) = (Constant::int(1), Constant::int(2));
        let halves = b
            .op_results(
                Opcode::Split,
                vec![("x", x.into()), ("axis", axis.into()), ("num_splits", parts.into())],
            )
            .unwrap();
        let y = b.add(halves[0], halves[1]).unwrap();
        let f = b.finish(&[y]);
        let cut = verified(extract(&f, "k", &[x, halves[0]], &[y]).unwrap());
        assert_eq!(codes(&cut), [Opcode::Split, Opcode::Add]);
    }
}
