//! The pieces after the last layer: the final norm, and the classifier where the engine has a part in it.

use super::{
    HeadKind, Piece, Place, PlanError,
    cut::{Cut, StageJoint},
};
use crate::{
    ModelConfig,
    stage::{self, Tokens, names::*},
};

/// The pieces after the last layer.
#[derive(Clone, Debug)]
pub struct HeadPlan {
    /// From `x` to `final`, and of the classifier what loss and gradients share, in order.
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
    /// The engine, each from `final`; the host adds what belongs to the targets.
    Gradients {
        /// To `log_sum`, for evaluation.
        loss: Box<Piece>,
        /// With the gradient of `log_sum`, to `log_sum` and its gradients `d_final` and `d_classifier`.
        gradients: Box<Piece>,
    },
}

impl HeadPlan {
    /// A head of this kind.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other.
    pub fn new(kind: HeadKind, config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        match kind {
            HeadKind::Host => Self::host(config, tokens),
            HeadKind::Probabilities => Self::probabilities(config, tokens),
            HeadKind::Gradients => Self::gradients(config, tokens),
        }
    }

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
    fn probabilities(config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
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
    fn gradients(config: &ModelConfig, tokens: Tokens) -> Result<Self, PlanError> {
        let norm = StageJoint::new(stage::final_norm(config, tokens)?)?;
        let mut classifier = StageJoint::new(stage::classifier(config, tokens)?)?;
        classifier.compute_products()?;
        let outputs = [LOG_SUM, "d_final", "d_classifier"];
        Ok(Self {
            forward: vec![norm.piece(&Cut("final_norm_fwd", Place::Engine, &[X], &[FINAL]))?],
            classifier: ClassifierPlan::Gradients {
                loss: Box::new(classifier.piece(&Cut(
                    "classifier_fwd",
                    Place::Engine,
                    &[FINAL],
                    &[LOG_SUM],
                ))?),
                gradients: Box::new(classifier.piece(&Cut(
                    "classifier",
                    Place::Engine,
                    &[FINAL, "d_log_sum"],
                    &outputs,
                ))?),
            },
            backward: backward(&norm, Place::Engine)?,
        })
    }

    /// The pieces of a training step, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Piece> {
        let classifier = match &self.classifier {
            ClassifierPlan::Gradients { gradients, .. } => Some(&**gradients),
            ClassifierPlan::Host | ClassifierPlan::Probabilities => None,
        };
        self.forward.iter().chain(classifier).chain([&self.backward])
    }
}

fn backward(norm: &StageJoint, place: Place) -> Result<Piece, PlanError> {
    norm.piece(&Cut("final_norm_bwd", place, &["d_final", X], &["d_x", "d_final_norm"]))
}
