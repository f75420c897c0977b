//! Ops of which some source says that they are refused or wrong, and most say nothing.

use ferrane_engine::WeightFiles;

use crate::finding::{Found, Trouble};
use crate::mil::{Mil, SAFE, blob, constant, conv, diagonal, extents, op, port, weight};
use crate::rig::{Answer, Rig};

/// What is asked of an op: its name, a program that has it, and the right results.
type Doubted = (&'static str, String, Vec<f32>);

/// Whole numbers that fp16 and half of which fp16 can tell apart.
fn ramp() -> Vec<f32> {
    (0..SAFE[0] * SAFE[1]).map(|i| (i % 2000) as f32).collect()
}

/// Tells of each program what comes of it on the ramp.
fn told(rig: &Rig, files: &WeightFiles, all: impl IntoIterator<Item = Doubted>) -> Result<Found, Trouble> {
    let x = ramp();
    all.into_iter().try_fold(Found::default(), |found, (name, body, right)| {
        Ok(found.note(match rig.ask(&Mil::new(SAFE, body), files, &[&x])? {
            Answer::Refused(error) => format!("{name}: refused ({error})"),
            Answer::Values(y) if y[0] == right => format!("{name}: right"),
            Answer::Values(_) => format!("{name}: WRONG, without an error"),
        }))
    })
}

/// What was said to fail on M1.
pub(super) fn movement(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let x = ramp();
    let axes = constant("tensor<int32, [1]>", "axes", "[1]") + &constant("bool", "keep", "true");
    let zero = constant("fp16", "zero", "0.0") + &constant("string", "mode", "\"constant\"");
    let turned = (0..c * w).map(|i| x[i % c * w + i / c]).collect();
    let padded = x.chunks(w).flat_map(|row| [row, &vec![0.0; w]].concat()).collect();
    let most = |column: usize| x.iter().skip(column).step_by(w).copied().fold(0.0, f32::max);
    let all = [
        ("reshape", extents("s", &[1, w, 1, c]) + &port("y", [w, c], "reshape(shape = s, x = x)"), x.clone()),
        ("transpose", extents("p", &[0, 3, 2, 1]) + &port("y", [w, c], "transpose(perm = p, x = x)"), turned),
        (
            "pad",
            zero + &extents("p", &[0, 0, 0, 0, 0, 0, 0, w])
                + &port("y", [c, 2 * w], "pad(constant_val = zero, mode = mode, pad = p, x = x)"),
            padded,
        ),
        (
            "reduce_max",
            axes + &port("y", [1, w], "reduce_max(axes = axes, keep_dims = keep, x = x)"),
            (0..w).map(most).collect(),
        ),
    ];
    told(rig, &WeightFiles::none(), all)
}

/// What single sources say of single chips.
pub(super) fn anecdotes(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let half = c / 2;
    let x = ramp();
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &diagonal(half, 0.5))?;
    let begin = extents("b", &[0, 0, 0, 0]);
    let all = [
        (
            "a convolution of slice_by_index of an input",
            begin.clone()
                + &extents("e", &[1, half, 1, w])
                + &blob("w", "fp16", &[half, half, 1, 1], "w")
                + &port("s", [half, w], "slice_by_index(begin = b, end = e, x = x)")
                + &conv("y", [half, w], "w", "s"),
            x[..half * w].iter().map(|x| 0.5 * x).collect(),
        ),
        (
            "mul by a number after floor",
            constant("fp16", "n", "0.5")
                + &port("f", SAFE, "floor(x = x)")
                + &port("y", SAFE, "mul(x = f, y = n)"),
            x.iter().map(|x| 0.5 * x).collect(),
        ),
        (
            "mul that broadcasts over the first axis",
            begin
                + &extents("n", &[1, half, 1, w])
                + &extents("f", &[2, half, 1, w])
                + &extents("u", &[1, c, 1, w])
                + &port("s", [half, w], "slice_by_size(begin = b, size = n, x = x)")
                + &op("h", &[2, half, 1, w], "reshape(shape = f, x = x)")
                + &constant("fp16", "one", "1.0")
                + &port("q", [half, w], "minimum(x = s, y = one)")
                + &op("t", &[2, half, 1, w], "mul(x = h, y = q)")
                + &port("y", SAFE, "reshape(shape = u, x = t)"),
            (0..c * w).map(|i| x[i] * x[i % (half * w)].min(1.0)).collect(),
        ),
    ];
    told(rig, &files, all)
}
