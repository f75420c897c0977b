//! The pieces after the last layer: the final norm, and the classifier where the engine has a part in it.

use super::{
    Piece, Place, PlanError,
    cut::{Cut, StageJoint},
};
use crate::{
    ModelConfig,
    stage::{self, Tokens, names::*},
};

/// The pieces after the last layer.
#[derive(Clone, Debug)]
pub struct HeadPlan {
    /// From `x` to `final`, and what of the classifier's forward pass the engine computes, in order.
    pub forward: Vec<Piece>,
    /// Who computes loss and gradients of the classifier.
    pub classifier: ClassifierPlan,
    /// From `d_final` and `x` to `d_x` and `d_final_norm`.
    pub backward: Piece,
}

/// Who computes what of the classifier and the cross-entropy.
#[derive(Clone, Debug)]
pub enum ClassifierPlan {
    /// The host everything, from `final`.
    Host,
    /// Forward pieces put out `token_probs` and `log_sum`; the host computes loss and gradients from them.
    Probabilities,
    /// Forward pieces put out `log_sum`, and this piece, from `final`, `log_sum` and its gradient, the gradients of `log_sum`:
    /// `d_final` and `d_classifier`. The host adds those of the targets' logits.
    Gradients(Piece),
}

impl HeadPlan {
    /// The final norm on the host, as the published system has it, and the classifier, too.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn host(config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        let norm = StageJoint::new(stage::final_norm(config, tokens)?)?;
        Ok(Self {
            forward: vec![norm.piece(&Cut("final_norm_fwd", Place::Host, &[X], &[FINAL]))?],
            classifier: ClassifierPlan::Host,
            backward: backward(&norm, Place::Host)?,
        })
    }

    /// The final norm, the logits and their softmax on the engine.
    pub(super) fn probabilities(config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        let norm = StageJoint::new(stage::final_norm(config, tokens)?)?;
        let classifier = StageJoint::new(stage::classifier(config, tokens)?)?;
        Ok(Self {
            forward: vec![
                norm.piece(&Cut("final_norm_fwd", Place::Engine, &[X], &[FINAL]))?,
                classifier.piece(&Cut("classifier_fwd", Place::Engine, &[FINAL], &[LOGITS]))?,
                classifier.piece(&Cut("softmax", Place::Engine, &[LOGITS], &[TOKEN_PROBS, LOG_SUM]))?,
            ],
            classifier: ClassifierPlan::Probabilities,
            backward: backward(&norm, Place::Host)?,
        })
    }

    /// All on the engine but the targets' part.
    pub(super) fn gradients(config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        let norm = StageJoint::new(stage::final_norm(config, tokens)?)?;
        let mut classifier = StageJoint::new(stage::classifier(config, tokens)?)?;
        classifier.compute_products()?;
        let inputs = [FINAL, LOG_SUM, "d_log_sum"];
        let outputs = ["d_final", "d_classifier"];
        Ok(Self {
            forward: vec![
                norm.piece(&Cut("final_norm_fwd", Place::Engine, &[X], &[FINAL]))?,
                classifier.piece(&Cut("classifier_fwd", Place::Engine, &[FINAL], &[LOG_SUM]))?,
            ],
            classifier: ClassifierPlan::Gradients(classifier.piece(&Cut(
                "classifier_bwd",
                Place::Engine,
                &inputs,
                &outputs,
            ))?),
            backward: backward(&norm, Place::Engine)?,
        })
    }

    /// Every piece, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let classifier = match &self.classifier {
            ClassifierPlan::Gradients(piece) => Some(piece),
            ClassifierPlan::Host | ClassifierPlan::Probabilities => None,
        };
        self.forward.iter().chain(classifier).chain([&self.backward])
    }
}

fn backward(norm: &StageJoint, place: Place) -> Result<Piece, PlanError> {
    norm.piece(&Cut("final_norm_bwd", place, &["d_final", X], &["d_x", "d_final_norm"]))
}
