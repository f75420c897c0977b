//! What kernels hand to one another stays where it is.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use common::{config, parameters};
use ferrane_engine::{Engine, EngineError, Kernel, Port, Profile, Surface, SurfaceError, WeightFiles};
use ferrane_mil::Verified;
use ferrane_model::{
    ModelConfig, ParamTable, Parameters,
    plan::{Plan, PlanKind},
    stage::Tokens,
};
use ferrane_runtime::{TrainingModel, Weights};
use ferrane_sim::SimEngine;

/// The simulated engine, counting the surfaces made for each value.
struct Counting {
    engine: SimEngine,
    surfaces: Mutex<BTreeMap<String, usize>>,
}

impl Engine for Counting {
    fn name(&self) -> &str {
        "counting"
    }

    fn profile(&self) -> &Profile {
        self.engine.profile()
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        *self.surfaces.lock().unwrap().entry(port.name.clone()).or_default() += 1;
        self.engine.surface(port, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        self.engine.compile(program, weights)
    }
}

/// The published trainer has a surface for each port and copies between them through fp32 on the host.
#[test]
fn a_value_has_one_surface_a_layer_however_many_kernels_use_it() {
    let config = ModelConfig { layers: 6, ..config(true) };
    let table = ParamTable::new(&config).unwrap();
    let data = parameters(&table).iter().map(|&x| x as f32).collect();
    let weights = Weights::new(Parameters::from_parts(table, data).unwrap());
    let engine = Arc::new(Counting {
        engine: SimEngine::new(Profile::built_in("m4").unwrap(), 1),
        surfaces: Mutex::default(),
    });
    let plan = Plan::new(PlanKind::Six, &config, Tokens { batch: 8, seq: 8 }).unwrap();
    TrainingModel::new(Arc::clone(&engine) as Arc<dyn Engine>, weights, plan, 1).unwrap();
    let surfaces = engine.surfaces.lock().unwrap();
    // q, k, v go to two backward kernels, h1 and h3 to one, mid to a kernel and a norm of the host.
    for value in ["q", "k", "v", "mid", "h1", "h3", "attn", "gate", "x_norm", "mid_norm"] {
        let made = surfaces[value];
        // Two more stand in for the layers' while it is worked out what all share.
        let layers = config.layers;
        assert!((layers..=layers + 2).contains(&made), "{made} surfaces of `{value}`: {surfaces:?}");
    }
    // What passes backward is used up in its layer, so all layers share it.
    for value in ["probs", "d_probs", "d_q_lin", "d_v", "d_h1"] {
        assert!(surfaces[value] <= 2, "{} surfaces of `{value}`", surfaces[value]);
    }
}
