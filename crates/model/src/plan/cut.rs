//! Cuts through the joint function of a stage.

use ferrane_mil::{
    Builder, CallError, Function, Payload, ValueId,
    diff::{Joint, differentiate},
    pass::extract,
};

use super::{Piece, Place, PlanError, WeightProduct};
use crate::LayerRole;

/// A cut: a piece's name and place, the values that go in and those that come out.
pub(super) struct Cut<'a>(
    pub(super) &'static str,
    pub(super) Place,
    pub(super) &'a [&'a str],
    pub(super) &'a [&'a str],
);

/// The values that are constants in weight files.
pub(super) fn weights(f: &Function) -> impl Iterator<Item = ValueId> + '_ {
    let is_weight =
        |v: &ValueId| f.value(*v).constant.as_ref().is_some_and(|c| matches!(c.payload, Payload::Blob(_)));
    (0..f.values.len() as u32).map(ValueId).filter(is_weight)
}

/// A stage with its derived backward pass.
pub(super) struct StageJoint {
    joint: Joint,
}

impl StageJoint {
    pub(super) fn new(forward: Function) -> Result<Self, PlanError> {
        let wrt: Vec<ValueId> = forward.inputs.iter().copied().chain(weights(&forward)).collect();
        Ok(Self { joint: differentiate(&forward, &wrt)? })
    }

    pub(super) fn pieces(&self, cuts: &[Cut<'_>]) -> Result<Vec<Piece>, PlanError> {
        cuts.iter().map(|cut| self.piece(cut)).collect()
    }

    pub(super) fn piece(&self, cut: &Cut<'_>) -> Result<Piece, PlanError> {
        piece(&self.joint.function, cut)
    }

    /// Makes the weight gradients values of the function, called `d_WEIGHT`, `[1, 1, O, I]`.
    pub(super) fn compute_products(&mut self) -> Result<(), CallError> {
        let function = self.joint.function.clone();
        let outputs = function.outputs.clone();
        let mut b = Builder::extend(function);
        for job in std::mem::take(&mut self.joint.jobs) {
            let matrix = |b: &mut Builder, v: ValueId| {
                let (rows, columns) = (b.shape(v)[1], b.shape(v)[3]);
                b.reshape(v, &[1, 1, rows, columns])
            };
            let (dy, x) = (matrix(&mut b, job.dy)?, matrix(&mut b, job.x)?);
            let gradient = b.matmul(dy, x, false, true)?;
            let name = format!("d_{}", b.function().name_of(job.weight));
            b.rename(gradient, &name);
        }
        self.joint.function = b.finish(&outputs);
        Ok(())
    }

    pub(super) fn products(&self) -> impl Iterator<Item = WeightProduct> + '_ {
        let f = &self.joint.function;
        self.joint.jobs.iter().filter_map(|job| {
            let role = LayerRole::ALL.into_iter().find(|r| r.weight_name() == f.name_of(job.weight))?;
            Some(WeightProduct { role, dy: f.name_of(job.dy).to_owned(), x: f.name_of(job.x).to_owned() })
        })
    }
}

/// The part of `f` that a cut names.
pub(super) fn piece(f: &Function, &Cut(name, place, inputs, outputs): &Cut<'_>) -> Result<Piece, PlanError> {
    let ids = |values: &[&str]| -> Result<Vec<ValueId>, PlanError> {
        let id = |v: &&str| {
            let stage = f.name.clone();
            f.find(v).ok_or_else(|| PlanError::NoValue { piece: name, stage, value: (*v).to_owned() })
        };
        values.iter().map(id).collect()
    };
    let function = extract(f, name, &ids(inputs)?, &ids(outputs)?)
        .map_err(|source| PlanError::Extract { piece: name, source })?;
    Ok(Piece { name, place, function })
}
