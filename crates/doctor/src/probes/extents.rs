//! How large things may be.

use ferrane_engine::WeightFiles;

use crate::finding::{Found, Measured, Sharpness, Trouble};
use crate::mil::{Mil, SAFE, blob, constant, conv, convolution, extents, noise, op, port, weight};
use crate::rig::Rig;
use crate::search::{Limit, largest};

pub(super) fn width(rig: &Rig) -> Result<Found, Trouble> {
    let limit = largest(&[1024, 16_384, 65_536, 131_072], |width| {
        let shape = [8, width as usize];
        rig.takes(&Mil::new(shape, port("y", shape, "relu(x = x)")), &WeightFiles::none())
    })?;
    Ok(limit.finding("limits.max_extent"))
}

pub(super) fn channels(rig: &Rig) -> Result<Found, Trouble> {
    let limit = largest(&[1024, 16_384, 65_536, 131_072], |channels| {
        let shape = [channels as usize, SAFE[1]];
        rig.takes(&Mil::new(shape, port("y", shape, "relu(x = x)")), &WeightFiles::none())
    })?;
    Ok(limit.finding("limits.max_channels"))
}

pub(super) fn rank(rig: &Rig) -> Result<Found, Trouble> {
    let [c, w] = SAFE;
    let limit = largest(&[4, 5, 6, 7], |rank| {
        let mut shape = vec![1; rank as usize - 2];
        shape.extend([c, w]);
        let body = extents("up", &shape)
            + &extents("down", &[1, c, 1, w])
            + &op("r", &shape, "reshape(shape = up, x = x)")
            + &op("t", &shape, "relu(x = r)")
            + &port("y", SAFE, "reshape(shape = down, x = t)");
        rig.takes(&Mil::new(SAFE, body), &WeightFiles::none())
    })?;
    Ok(limit.finding("limits.max_rank"))
}

pub(super) fn transpose(rig: &Rig) -> Result<Found, Trouble> {
    // 1024 channels of so many columns: the limits that are published end in the middle of a row of them.
    const ROW: u64 = 1024;
    let limit = largest(&[1024, 8191, 16_383, 16_384], |columns| {
        let shape = [ROW as usize, columns as usize];
        let body = extents("perm", &[0, 2, 1, 3])
            + &extents("back", &[1, shape[0], 1, shape[1]])
            + &op("t", &[1, 1, shape[0], shape[1]], "transpose(perm = perm, x = x)")
            + &port("y", shape, "reshape(shape = back, x = t)");
        rig.takes(&Mil::new(shape, body), &WeightFiles::none())
    })?;
    Ok(match limit {
        Limit::At(columns) => Found::default().with(
            "limits.max_transpose",
            Measured::Count(ROW * columns),
            Sharpness::UpTo((ROW * (columns + 1) - 1) as f64),
        ),
        Limit::Beyond(columns) => Limit::Beyond(ROW * columns).finding_if_any("limits.max_transpose"),
    })
}

pub(super) fn arg_axis(rig: &Rig) -> Result<Found, Trouble> {
    let [c, _] = SAFE;
    let limit = largest(&[512, 2048, 4096, 8192], |width| {
        let constants = constant("int32", "axis", "3")
            + &constant("bool", "keep", "true")
            + &constant("string", "to", "\"fp16\"");
        let index = op("i", &[1, c, 1, 1], "reduce_argmax(axis = axis, keep_dims = keep, x = x)");
        let index = index.replace("tensor<fp16", "tensor<int32");
        let body = constants + &index + &port("y", [c, 1], "cast(dtype = to, x = i)");
        rig.takes(&Mil::new([c, width as usize], body), &WeightFiles::none())
    })?;
    Ok(limit.finding_if_any("limits.max_arg_axis"))
}

/// A convolution by a kernel of this height and width.
fn by_kernel(rig: &Rig, height: usize, width: usize) -> Result<bool, Trouble> {
    let [c, w] = SAFE;
    let shape = [c, c, height, width];
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &noise(shape.iter().product(), 0.01))?;
    // Something to slide over, whichever way the kernel is long.
    let folded = [1, c, 32, w / 32];
    let body = extents("fold", &folded)
        + &extents("unfold", &[1, c, 1, w])
        + &blob("w", "fp16", &shape, "w")
        + &op("f", &folded, "reshape(shape = fold, x = x)")
        + &convolution("s", &folded, "same", "w", "f")
        + &port("y", SAFE, "reshape(shape = unfold, x = s)");
    rig.takes(&Mil::new(SAFE, body), &files)
}

pub(super) fn kernel_width(rig: &Rig) -> Result<Found, Trouble> {
    let limit = largest(&[8, 13, 15, 17, 31], |k| by_kernel(rig, 1, k as usize))?;
    Ok(limit.finding_if_any("limits.max_kernel_width"))
}

pub(super) fn kernel_height(rig: &Rig) -> Result<Found, Trouble> {
    let limit = largest(&[8, 16, 29, 31, 33], |k| by_kernel(rig, k as usize, 1))?;
    Ok(limit.finding_if_any("limits.max_kernel_height"))
}

pub(super) fn conv_channels(rig: &Rig) -> Result<Found, Trouble> {
    const OUT: usize = 64;
    let limit = largest(&[1024, 16_384, 31_999, 65_536], |channels| {
        let channels = channels as usize;
        let mut files = WeightFiles::none();
        weight(&mut files, "w", &noise(OUT * channels, 0.01))?;
        let w = blob("w", "fp16", &[OUT, channels, 1, 1], "w");
        rig.takes(&Mil::new([channels, SAFE[1]], w + &conv("y", [OUT, SAFE[1]], "w", "x")), &files)
    })?;
    const QUIRK: &str = "conv-32k-inputs";
    Ok(match limit {
        Limit::At(most) => Found::default().quirk(QUIRK, true).threshold(QUIRK, (most + 1) as f64),
        Limit::Beyond(most) => {
            Found::default().quirk(QUIRK, false).note(format!("{most} input channels are taken"))
        }
    })
}

pub(super) fn depth(rig: &Rig) -> Result<Found, Trouble> {
    let shape = [64, SAFE[1]];
    let mut files = WeightFiles::none();
    weight(&mut files, "w", &noise(64 * 64, 0.2))?;
    let limit = largest(&[64, 256, 383, 386, 512], |depth| {
        let mut body = blob("w", "fp16", &[64, 64, 1, 1], "w");
        let mut x = "x".to_owned();
        for layer in 1..=depth {
            let y = if layer == depth { "y".to_owned() } else { format!("t{layer}") };
            body += &conv(&y, shape, "w", &x);
            x = y;
        }
        rig.takes(&Mil::new(shape, body), &files)
    })?;
    Ok(limit.finding_if_any("limits.max_depth"))
}
