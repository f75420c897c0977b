//! Result types of ops on images, the last two axes of a tensor, and where resized images are sampled.

use super::{extent, has_rank, positive, sizes};
use crate::{
    Opcode, TensorType,
    call::{Call, CallError},
};

fn image<'a>(call: Call<'a>) -> Result<&'a TensorType, CallError> {
    let x = call.tensor("x")?;
    has_rank(call, "x", x, 3..=5)?;
    Ok(x)
}

/// Elements dropped before and after each of the last two axes.
pub(crate) fn margins(call: Call<'_>) -> Result<[usize; 4], CallError> {
    let (height, width) = (sizes(call, "crop_height")?, sizes(call, "crop_width")?);
    <[usize; 4]>::try_from([height, width].concat())
        .map_err(|_| call.invalid("crop_height and crop_width must be 2 integers each"))
}

pub(super) fn crop(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = image(call)?;
    let m = margins(call)?;
    let mut shape = x.shape.clone();
    for (i, axis) in [x.rank() - 2, x.rank() - 1].into_iter().enumerate() {
        let both = m[2 * i].saturating_add(m[2 * i + 1]);
        shape[axis] = shape[axis].checked_sub(both).filter(|&d| d > 0).ok_or_else(|| {
            call.invalid(format!("cropping {both} leaves nothing of axis {axis} of x {:?}", x.shape))
        })?;
    }
    Ok(TensorType::new(x.dtype, shape))
}

/// `x [B, C, H, W]` and a matrix `[B or 1, 6]` → `[B, C, output_height, output_width]`
pub(super) fn affine(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    has_rank(call, "x", x, 4..=4)?;
    let matrix = call.tensor("transform_matrix")?;
    if !matches!(matrix.shape[..], [batch, 6] if batch == 1 || batch == x.shape[0]) {
        return Err(call.invalid(format!("transform_matrix {matrix} must be [1, 6] or [{}, 6]", x.shape[0])));
    }
    for (name, only) in [
        ("sampling_mode", "bilinear"),
        ("padding_mode", "constant"),
        ("coordinates_mode", "normalized_minus_one_to_one"),
    ] {
        let given = call.string(name)?.unwrap_or(only);
        if !given.eq_ignore_ascii_case(only) {
            return Err(call.invalid(format!("{name} is \"{given}\"; only \"{only}\" is supported")));
        }
    }
    call.float("padding_value")?;
    call.bool("align_corners")?;
    let (height, width) = (length(call, "output_height")?, length(call, "output_width")?);
    Ok(TensorType::new(x.dtype, [x.shape[0], x.shape[1], height, width]))
}

pub(super) fn resized(call: Call<'_>) -> Result<TensorType, CallError> {
    let x = call.tensor("x")?;
    let mut shape = x.shape.clone();
    for axis in Sampling::read(call)?.axes {
        shape[axis.axis] = axis.grid.len();
    }
    Ok(TensorType::new(x.dtype, shape))
}

/// Where a resized tensor is sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// The axes that are resized.
    pub axes: Vec<SampledAxis>,
    /// True when elements between two are interpolated; false when `grid` holds whole numbers.
    pub linear: bool,
}

/// Where along one axis.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledAxis {
    /// The axis.
    pub axis: usize,
    /// The place in the operand of each element of the result.
    pub grid: Vec<f64>,
}

/// Most elements a resized axis may have: more is a mistake, and the grid would not fit in memory.
const LONGEST_AXIS: usize = 1 << 24;

impl Sampling {
    /// Reads the arguments of `resize`, `resize_*` or `upsample_*`.
    ///
    /// # Errors
    /// When a factor, an extent or a mode is not one there is.
    pub fn read(call: Call<'_>) -> Result<Self, CallError> {
        let x = call.tensor("x")?;
        if call.code() == Opcode::Resize {
            return Self::resize(call, x);
        }
        image(call)?;
        let mut axes = Vec::with_capacity(2);
        for (i, (size, factor)) in
            [("target_size_height", "scale_factor_height"), ("target_size_width", "scale_factor_width")]
                .into_iter()
                .enumerate()
        {
            let axis = x.rank() - 2 + i;
            let old = x.shape[axis];
            let grid = match call.code() {
                Opcode::ResizeNearestNeighbor => {
                    let new = length(call, size)?;
                    (0..new).map(|i| (i * old / new) as f64).collect()
                }
                Opcode::ResizeBilinear => mode_grid(
                    call,
                    call.string("sampling_mode")?.unwrap_or("DEFAULT"),
                    old,
                    length(call, size)?,
                )?,
                _ => upsampled(call, factor, old)?,
            };
            axes.push(SampledAxis { axis, grid });
        }
        let linear = matches!(call.code(), Opcode::ResizeBilinear | Opcode::UpsampleBilinear);
        Ok(Self { axes, linear })
    }

    fn resize(call: Call<'_>, x: &TensorType) -> Result<Self, CallError> {
        let shape = sizes(call, "shape")?;
        let count = positive(call, "resized_dims")?;
        if count > shape.len() || count > x.rank() {
            return Err(call.invalid(format!(
                "resized_dims is {count}, more than shape {shape:?} or x {:?} have extents",
                x.shape
            )));
        }
        let linear = match call.string("interpolation_mode")?.unwrap_or("LINEAR") {
            "LINEAR" => true,
            "NEAREST_NEIGHBOR" => false,
            other => {
                return Err(call.invalid(format!(
                    "interpolation_mode is \"{other}\"; it must be LINEAR or NEAREST_NEIGHBOR"
                )));
            }
        };
        let mode = call.string("sampling_mode")?.unwrap_or("DEFAULT");
        let mut axes = Vec::with_capacity(count);
        for i in 0..count {
            let axis = x.rank() - count + i;
            let old = x.shape[axis];
            let new = match shape[shape.len() - count + i] {
                0 => old,
                new => checked_length(call, "shape", new)?,
            };
            let mut grid = mode_grid(call, mode, old, new)?;
            if !linear {
                // The pixel a place is in; only the default mode has pixels begin at whole numbers.
                let shift = if mode == "DEFAULT" { 1e-9 } else { 0.5 };
                grid.iter_mut().for_each(|g| *g = (*g + shift).floor().clamp(0.0, old as f64 - 1.0));
            }
            axes.push(SampledAxis { axis, grid });
        }
        Ok(Self { axes, linear })
    }
}

fn length(call: Call<'_>, name: &'static str) -> Result<usize, CallError> {
    checked_length(call, name, positive(call, name)?)
}

fn checked_length(call: Call<'_>, name: &str, n: usize) -> Result<usize, CallError> {
    match n <= LONGEST_AXIS {
        true => extent(call, name, n as i64),
        false => Err(call.invalid(format!("{name} asks for {n} elements along an axis"))),
    }
}

/// The grid of `upsample_nearest_neighbor` and `upsample_bilinear`.
fn upsampled(call: Call<'_>, factor_name: &'static str, old: usize) -> Result<Vec<f64>, CallError> {
    let factor = call.float(factor_name)?.unwrap_or(1.0);
    let new = (old as f64 * factor).floor();
    if !(1.0..=LONGEST_AXIS as f64).contains(&new) {
        return Err(call.invalid(format!("{factor_name} is {factor}, which makes {old} pixels {new}")));
    }
    let count = new as usize;
    let last = old as f64 - 1.0;
    if call.code() == Opcode::UpsampleNearestNeighbor {
        return Ok((0..count).map(|i| (i as f64 / factor).floor().min(last)).collect());
    }
    let corners = call.bool("align_corners")?;
    let half = match call.constant("half_pixel_centers")? {
        Some(_) => call.bool("half_pixel_centers")?,
        None => !corners,
    };
    let spacing = match corners {
        true if count > 1 => last / (new - 1.0),
        true => 0.0,
        false => old as f64 / new,
    };
    let offset = if half { 0.5 * spacing - 0.5 } else { 0.0 };
    Ok((0..count).map(|i| (i as f64 * spacing + offset).clamp(0.0, last)).collect())
}

/// The grid that a sampling mode lays over `old` pixels for `new` ones.
fn mode_grid(call: Call<'_>, mode: &str, old: usize, new: usize) -> Result<Vec<f64>, CallError> {
    let (from, to) = (old as f64, new as f64);
    let last = from - 1.0;
    let corners = if new > 1 { last / (to - 1.0) } else { 0.0 };
    let (begin, spacing) = match mode {
        "DEFAULT" => (0.0, if new > 1 { (from - from / to) / (to - 1.0) } else { 0.0 }),
        "STRICT_ALIGN_CORNERS" => (0.0, corners),
        "ALIGN_CORNERS" => (if new == 1 { 0.5 * last } else { 0.0 }, corners),
        "OFFSET_CORNERS" => {
            let delta = last.max(1.0) / to;
            (0.5 * delta, delta)
        }
        "UNALIGN_CORNERS" => (0.5 * from / to - 0.5, from / to),
        other => {
            return Err(call.invalid(format!(
                "sampling_mode is \"{other}\"; it must be DEFAULT, STRICT_ALIGN_CORNERS, ALIGN_CORNERS, \
                 OFFSET_CORNERS or UNALIGN_CORNERS"
            )));
        }
    };
    Ok((0..new).map(|i| (begin + i as f64 * spacing).clamp(0.0, last)).collect())
}
