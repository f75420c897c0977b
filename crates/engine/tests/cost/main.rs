//! The cost model against what was published: `tools/cost-model/points.csv` and a training step.

mod points;
mod programs;
mod properties;
