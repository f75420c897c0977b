//! A run: from settings to a trained model, in a folder that a kill at any moment leaves fit to go on.
//!
//! [`begin`] and [`resume`] do everything and tell of it by [`Event`]s; they print nothing and read no flags. The order of
//! writes is what makes a run resumable: `config.toml` first, then `data/` (made once, from the settings alone), then for
//! each step its line of metrics, and at a checkpoint the metrics are on disk before the checkpoint gets its name. To
//! resume is to take the last whole checkpoint, or else the beginning, and drop the metrics of later steps.

mod compaction;
mod energy;
mod error;
mod event;
mod folder;
mod prepare;
mod report;
mod session;
mod settings;
mod start;
mod storyteller;
mod summary;

pub use energy::{Drawn, MeasuredEnergy, Parts};
pub use error::RunError;
pub use event::{Event, Timing};
pub use ferrane_runtime::{PlanChoice, WeightsMode};
pub use folder::{RunFolder, Settings};
pub use prepare::absolute;
pub(crate) use report::End;
pub use report::{Ledger, LossScaleReport, NeuralEngineReport, Phases, Report};
pub use session::{Ended, Host, Outcome};
pub use settings::{EngineChoice, LION_BETAS, Numerics, OptimizerKind, RunSettings, SettingError, Source};
pub use start::{EngineHandle, begin, resume};
pub use summary::ModelSummary;
