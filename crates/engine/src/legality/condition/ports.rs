//! Inputs and outputs.

use ferrane_mil::{TensorType, ValueId};

use super::{Finding, Place, Subject};

pub(super) fn output_is_input(s: &Subject<'_>) -> Vec<Finding> {
    let passed = s.f.outputs.iter().enumerate().filter(|(_, v)| s.f.inputs.contains(v));
    passed
        .map(|(i, &v)| Finding::new(Place::Output(i), format!("the output `{}` is an input", s.f.name_of(v))))
        .collect()
}

pub(super) fn order(s: &Subject<'_>) -> Vec<Finding> {
    if !s.profile.ports.alphabetical.value {
        return Vec::new();
    }
    let mut found = Vec::new();
    let after = |pair: &[ValueId]| s.f.name_of(pair[0]) > s.f.name_of(pair[1]);
    if let Some(i) = s.f.inputs.windows(2).position(after) {
        let (a, b) = (s.f.inputs[i], s.f.inputs[i + 1]);
        let what = format!("the input `{}` is declared before `{}`", s.f.name_of(a), s.f.name_of(b));
        found.push(Finding::new(Place::Value(b), what));
    }
    if let Some(i) = s.f.outputs.windows(2).position(after) {
        let (a, b) = (s.f.outputs[i], s.f.outputs[i + 1]);
        let what = format!("the output `{}` is returned before `{}`", s.f.name_of(a), s.f.name_of(b));
        found.push(Finding::new(Place::Output(i + 1), what));
    }
    found
}

pub(super) fn sizes(s: &Subject<'_>) -> Vec<Finding> {
    if !s.profile.ports.equal_allocation.value {
        return Vec::new();
    }
    let side = |name: &str, values: &[ValueId], place: fn(&[ValueId], usize) -> Place| {
        let bytes: Vec<usize> =
            values.iter().map(|&v| s.f.tensor_type(v).map_or(0, TensorType::bytes)).collect();
        let (least, most) = (bytes.iter().min().copied()?, bytes.iter().max().copied()?);
        let at = bytes.iter().position(|&b| b == least)?;
        let what = format!("the {name}s have {least} to {most} bytes");
        (least != most).then(|| Finding::new(place(values, at), what))
    };
    let inputs = side("input", &s.f.inputs, |values, i| Place::Value(values[i]));
    let outputs = side("output", &s.f.outputs, |_, i| Place::Output(i));
    inputs.into_iter().chain(outputs).collect()
}

pub(super) fn width(s: &Subject<'_>) -> Vec<Finding> {
    let least = &s.profile.limits.min_input_width;
    let reported = match least.range {
        Some((from, to)) => format!(" (sources say {from} to {to})"),
        None => String::new(),
    };
    let narrow = |&v: &ValueId| {
        let width = s.f.tensor_type(v)?.shape.last().copied().unwrap_or(1);
        let what =
            || format!("the input `{}` is {width} wide, below {}{reported}", s.f.name_of(v), least.value);
        (width < least.value).then(|| Finding::new(Place::Value(v), what()))
    };
    s.f.inputs.iter().filter_map(narrow).collect()
}

pub(super) fn multiple_inputs(s: &Subject<'_>) -> Vec<Finding> {
    let Some(&second) = s.f.inputs.get(1) else { return Vec::new() };
    let what = format!("`{}` has {} inputs", s.f.name, s.f.inputs.len());
    vec![Finding::new(Place::Value(second), what)]
}
