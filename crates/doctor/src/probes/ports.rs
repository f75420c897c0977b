//! How surfaces are bound.

use ferrane_engine::{Surface, WeightFiles};

use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{Mil, SAFE, constant, extents, port};
use crate::rig::{Answer, Rig};
use crate::search;

/// `y = FIRST − SECOND` of two inputs declared in this order.
fn difference(first: &'static str, second: &'static str) -> Mil {
    let body = port("y", SAFE, &format!("sub(x = {first}, y = {second})"));
    Mil::of([(first, SAFE), (second, SAFE)], body)
}

pub(super) fn order(rig: &Rig) -> Result<Found, Trouble> {
    let none = WeightFiles::none();
    let elements = SAFE[0] * SAFE[1];
    let (five, three) = (vec![5.0; elements], vec![3.0; elements]);
    let y = rig.values(&difference("z", "a"), &none, &[&five, &three])?;
    let inputs = match y[0][0] {
        2.0 => false,
        -2.0 => true,
        other => return Err(Trouble::Unclear(format!("5 − 3 or 3 − 5 came out as {other}"))),
    };
    let mut mil = Mil::new(SAFE, constant("fp16", "one", "1.0") + &constant("fp16", "two", "2.0"));
    mil.body += &(port("q", SAFE, "add(x = x, y = one)") + &port("p", SAFE, "add(x = x, y = two)"));
    mil.outputs = "q, p";
    let y = rig.values(&mil, &none, &[&five])?;
    let outputs = match (y[0][0], y[1][0]) {
        (6.0, 7.0) => false,
        (7.0, 6.0) => true,
        other => return Err(Trouble::Unclear(format!("6 and 7 came out as {other:?}"))),
    };
    if inputs != outputs {
        let by = |names| if names { "by name" } else { "as declared" };
        return Err(Trouble::Unclear(format!(
            "inputs are bound {}, outputs {}: a profile cannot say that",
            by(inputs),
            by(outputs)
        )));
    }
    Ok(Found::default().flag("ports.alphabetical", inputs))
}

/// Whether ports of unequal sizes are bound by their sizes, as two sources say: inputs smallest first, outputs largest first.
/// Here that is the other order than by name. All surfaces of a side claim the same.
pub(super) fn by_size(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let wide = [c, 2 * w];
    let (five, fives, threes) = (vec![5.0; c * w], vec![5.0; 2 * c * w], vec![3.0; c * w]);
    let part = extents("begin", &[0, 0, 0, 0]) + &extents("size", &[1, c, 1, w]);
    let body = part
        + &port("p", SAFE, "slice_by_size(begin = begin, size = size, x = a)")
        + &port("y", SAFE, "sub(x = p, y = b)");
    let inputs = Mil::of([("a", wide), ("b", SAFE)], body);
    let mut outputs = Mil::new(
        SAFE,
        constant("fp16", "one", "1.0")
            + &constant("int32", "axis", "3")
            + &constant("bool", "no", "false")
            + &port("p", SAFE, "add(x = x, y = one)")
            + &port("q", wide, "concat(axis = axis, interleave = no, values = (x, x))"),
    );
    outputs.outputs = "p, q";
    let told = |side: &str, answer: Answer, by_name: f32, by_size: f32| match answer {
        Answer::Refused(error) => format!("{side} of unequal sizes: refused ({error})"),
        Answer::Values(y) if y[0][0] == by_name => format!("{side} of unequal sizes: bound by name"),
        Answer::Values(y) if y[0][0] == by_size => format!("{side} of unequal sizes: bound by size"),
        Answer::Values(y) => format!("{side} of unequal sizes: {} came out", y[0][0]),
    };
    let none = WeightFiles::none();
    Ok(Found::default()
        .note(told("inputs", rig.ask(&inputs, &none, &[&fives, &threes])?, 2.0, -2.0))
        .note(told("outputs", rig.ask(&outputs, &none, &[&five])?, 6.0, 5.0)))
}

pub(super) fn equal_sizes(rig: &Rig) -> Result<Found, Trouble> {
    let mil = difference("a", "b");
    let mut loaded = rig.compile(&rig.program(&mil)?, &WeightFiles::none())?;
    let b = loaded.kernel.inputs()[1].clone();
    let larger = rig.surface(&b, 2 * b.bytes())?;
    let elements = b.elements();
    let (five, three) = (vec![5.0; elements], vec![3.0; elements]);
    // With equal claims first: what fails then has another reason.
    loaded.run(&[&five, &three])?.map_err(|error| Trouble::Control(error.to_string()))?;
    larger.write(|to| to.copy_from_slice(&three))?;
    let inputs: [&Surface; 2] = [&loaded.inputs[0], &larger];
    let refused = loaded.kernel.evaluate(&inputs, &[&loaded.outputs[0]]);
    let found = Found::default().flag("ports.equal_allocation", refused.is_err());
    match refused {
        Err(error) => Ok(found.note(error.to_string())),
        Ok(()) => match loaded.outputs[0].read(|y| y[0])? {
            2.0 => Ok(found),
            other => Err(Trouble::Unclear(format!("unequal sizes are taken, but 5 − 3 is {other}"))),
        },
    }
}

pub(super) fn width(rig: &Rig) -> Result<Found, Trouble> {
    let mut wrong = Vec::new();
    let least = search::smallest(&[256, 128, 64, 32, 16, 8, 4, 2, 1], |width| {
        let shape = [SAFE[0], width as usize];
        let mil = Mil::new(shape, port("y", shape, "relu(x = x)"));
        let x: Vec<f32> = (0..shape[0] * shape[1]).map(|i| i as f32 % 5.0 + 1.0).collect();
        match rig.ask(&mil, &WeightFiles::none(), &[&x])? {
            Answer::Refused(_) => Ok(false),
            Answer::Values(y) if y[0] == x => Ok(true),
            Answer::Values(_) => {
                wrong.push(width);
                Ok(false)
            }
        }
    })?;
    let found = Found::default().with("limits.min_input_width", Measured::Count(least), Sharpness::Exact);
    Ok(match wrong.is_empty() {
        true => found,
        false => found.note(format!("evaluated, but with wrong results: widths {wrong:?}")),
    })
}
