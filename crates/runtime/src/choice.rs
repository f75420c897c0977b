//! Which plan to run: one by name, or the cheapest.

use ferrane_engine::Profile;
use ferrane_model::{
    ModelConfig,
    plan::{Plan, PlanKind},
    stage::Tokens,
};
use serde::{Deserialize, Serialize};

use crate::{RuntimeError, WeightsMode, cost::cheapest};

/// A plan by name, or the one that the profile's cost model makes cheapest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanChoice {
    /// [`PlanKind::Six`]
    #[default]
    Six,
    /// [`PlanKind::Extras`]
    Extras,
    /// [`PlanKind::Five`]
    Five,
    /// [`PlanKind::Fused`]
    Fused,
    /// [`PlanKind::FusedRecompute`]
    FusedRecompute,
    /// The cheapest; the published one where the profile has no figures to choose by.
    Auto,
}

impl PlanChoice {
    /// The plan for a model on the chip of `profile`.
    ///
    /// # Errors
    /// When the configuration's extents contradict each other, or no plan can be made legal for the profile.
    pub fn plan(
        self,
        config: &ModelConfig,
        tokens: Tokens,
        profile: &Profile,
        mode: WeightsMode,
    ) -> Result<Plan, RuntimeError> {
        let kind = match self {
            PlanChoice::Six => PlanKind::Six,
            PlanChoice::Extras => PlanKind::Extras,
            PlanChoice::Five => PlanKind::Five,
            PlanChoice::Fused => PlanKind::Fused,
            PlanChoice::FusedRecompute => PlanKind::FusedRecompute,
            PlanChoice::Auto => match cheapest(config, tokens, profile, mode) {
                Ok((layer, head, _)) => return Ok(Plan::of(layer, head, config, tokens)?),
                Err(RuntimeError::Cost { .. }) => PlanKind::Six,
                Err(error) => return Err(error),
            },
        };
        Ok(Plan::new(kind, config, tokens)?)
    }
}

impl std::fmt::Display for PlanChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PlanChoice::Six => PlanKind::Six.name(),
            PlanChoice::Extras => PlanKind::Extras.name(),
            PlanChoice::Five => PlanKind::Five.name(),
            PlanChoice::Fused => PlanKind::Fused.name(),
            PlanChoice::FusedRecompute => PlanKind::FusedRecompute.name(),
            PlanChoice::Auto => "auto",
        })
    }
}
