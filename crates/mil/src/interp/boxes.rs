//! `non_maximum_suppression`.

use super::{Operands, Tensor};
use crate::{CallError, infer::boxes::Boxes};

/// A box: where it is, and what speaks for it.
struct Candidate {
    index: usize,
    /// Left, top, right, bottom.
    sides: [f64; 4],
    score: f64,
    class: usize,
}

/// Intersection over union.
fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let area = |s: &[f64; 4]| (s[2] - s[0]).max(0.0) * (s[3] - s[1]).max(0.0);
    let shared = [a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])];
    let both = area(&shared);
    if both == 0.0 { 0.0 } else { both / (area(a) + area(b) - both) }
}

/// The boxes of one image that are kept, best first: of those whose IoU is above `limit` the one with the highest score,
/// the first of equal ones. A box's score is its best class's; `per_class`, boxes of other classes do not compete.
fn kept(mut candidates: Vec<Candidate>, limit: f64, per_class: bool, most: usize) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.len() == most {
            break;
        }
        let free = kept.iter().all(|k| {
            (per_class && k.class != candidate.class) || overlap(&k.sides, &candidate.sides) <= limit
        });
        if free {
            kept.push(candidate);
        }
    }
    kept
}

/// Places beyond the boxes kept have coordinates and scores 0 and index −1.
pub(super) fn suppress(o: Operands<'_>) -> Result<Vec<Tensor>, CallError> {
    let (boxes, scores) = (o.tensor("boxes")?, o.tensor("scores")?);
    let b = Boxes::read(o.call)?;
    let limit = o.call.float("iou_threshold")?.unwrap_or(0.0);
    let least = o.call.float("score_threshold")?.unwrap_or(f64::NEG_INFINITY);
    let per_class = o.call.bool("per_class_suppression")?;
    let at = |t: &Tensor, image: usize, index: usize, value: usize| {
        t.at(&if b.last { [image, value, index] } else { [image, index, value] })
    };
    let mut results: Vec<Tensor> =
        o.result_shapes()?.into_iter().map(|shape| Tensor::from_fn(shape, |_| 0.0)).collect();
    results[2].data.fill(-1.0);
    for image in 0..b.images {
        let candidates = (0..b.boxes)
            .filter_map(|index| {
                let score = |class: usize| at(&scores, image, index, class);
                let class = (0..b.classes).reduce(|best, c| if score(c) > score(best) { c } else { best })?;
                let [x, y, w, h] = [0, 1, 2, 3].map(|i| at(&boxes, image, index, i));
                let sides = [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
                Some(Candidate { index, sides, score: score(class), class })
            })
            .filter(|c| c.score >= least)
            .collect();
        let kept = kept(candidates, limit, per_class, b.most);
        for (place, candidate) in kept.iter().enumerate() {
            for (result, (from, values)) in [(&boxes, 4), (&scores, b.classes)].into_iter().enumerate() {
                for value in 0..values {
                    let to = if b.last { [image, value, place] } else { [image, place, value] };
                    let offset = results[result].offset_of(&to);
                    results[result].data[offset] = at(from, image, candidate.index, value);
                }
            }
            results[2].data[image * b.most + place] = candidate.index as f64;
        }
        if let Some(count) = results.get_mut(3) {
            count.data[image] = kept.len() as f64;
        }
    }
    Ok(results)
}
