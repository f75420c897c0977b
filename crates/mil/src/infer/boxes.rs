//! Result types of `non_maximum_suppression`.

use super::{has_shape, positive};
use crate::{
    DType, TensorType,
    call::{Call, CallError},
};

/// How boxes and scores lie in the operands of `non_maximum_suppression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Boxes {
    /// Images.
    pub(crate) images: usize,
    /// Boxes of an image.
    pub(crate) boxes: usize,
    /// Scores of a box.
    pub(crate) classes: usize,
    /// Boxes that are kept, at most.
    pub(crate) most: usize,
    /// Boxes lie along the last axis, as since ios17; before, along the middle one. The argument `score_threshold` went
    /// with the older form.
    pub(crate) last: bool,
}

impl Boxes {
    pub(crate) fn read(call: Call<'_>) -> Result<Self, CallError> {
        let (boxes, scores) = (call.tensor("boxes")?, call.tensor("scores")?);
        let last = call.float("score_threshold")?.is_none();
        let (&[images, rows, columns], &[_, score_rows, score_columns]) =
            (boxes.shape.as_slice(), scores.shape.as_slice())
        else {
            return Err(call.invalid(format!("boxes {boxes} and scores {scores} must have 3 axes each")));
        };
        let (count, sides) = if last { (columns, rows) } else { (rows, columns) };
        let classes = if last { score_rows } else { score_columns };
        let read = Self { images, boxes: count, classes, most: positive(call, "max_boxes")?, last };
        if sides != 4 {
            return Err(call.invalid(format!(
                "boxes {boxes} must be [images, {}]{}",
                if last { "4, boxes" } else { "boxes, 4" },
                if last { ", or score_threshold given" } else { "" }
            )));
        }
        has_shape(call, "scores", &read.shape(count, classes))?;
        call.float("iou_threshold")?.ok_or(CallError::Missing { op: call.code(), arg: "iou_threshold" })?;
        call.bool("per_class_suppression")?;
        Ok(read)
    }

    fn shape(&self, boxes: usize, values: usize) -> [usize; 3] {
        if self.last { [self.images, values, boxes] } else { [self.images, boxes, values] }
    }
}

/// Boxes kept, their scores and indices, and, in the older form, how many they are.
pub(super) fn suppress(call: Call<'_>) -> Result<Vec<TensorType>, CallError> {
    let b = Boxes::read(call)?;
    let (boxes, scores) = (call.tensor("boxes")?, call.tensor("scores")?);
    let mut results = vec![
        TensorType::new(boxes.dtype, b.shape(b.most, 4)),
        TensorType::new(scores.dtype, b.shape(b.most, b.classes)),
        TensorType::new(DType::Int32, [b.images, b.most]),
    ];
    if !b.last {
        results.push(TensorType::new(DType::Int32, [b.images]));
    }
    Ok(results)
}
