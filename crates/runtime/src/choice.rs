//! Which plan to run: one by name, or the cheapest.

use ferrane_engine::Profile;
use ferrane_model::{
    ModelConfig,
    plan::{Plan, PlanKind},
    stage::Tokens,
};

use crate::{RuntimeError, WeightsMode, cost::cheapest};

/// A plan by name, or the one that the profile's cost model makes cheapest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlanChoice {
    /// This one.
    Named(PlanKind),
    /// The cheapest; the published one where the profile has no figures to choose by.
    Auto,
}

impl Default for PlanChoice {
    fn default() -> Self {
        PlanChoice::Named(PlanKind::Six)
    }
}

impl PlanChoice {
    /// The choice of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(PlanChoice::Auto),
            _ => PlanKind::parse(name).map(PlanChoice::Named),
        }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            PlanChoice::Named(kind) => kind.name(),
            PlanChoice::Auto => "auto",
        }
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PlanKind::ALL.map(PlanKind::name).into_iter().chain(["auto"])
    }

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
            PlanChoice::Named(kind) => kind,
            PlanChoice::Auto => match cheapest(config, tokens, profile, mode) {
                Ok((layer, head, _)) => return Ok(Plan::of(layer, head, config, tokens)?),
                Err(RuntimeError::Cost { .. }) => PlanKind::Six,
                Err(error) => return Err(error),
            },
        };
        Ok(Plan::new(kind, config, tokens)?)
    }
}
