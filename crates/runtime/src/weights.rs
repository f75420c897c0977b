//! The weights of a model as kernels see them.

use std::collections::HashMap;

use ferrane_engine::{Engine, HostMemory, Port, Surface};
use ferrane_model::{LayerRole, Param, ParamKey, ParamTable, Parameters, stage::names};

use crate::{RuntimeError, packing::Part};

/// The fp32 master weights of a model in memory that kernels can view.
#[derive(Clone, Debug)]
pub struct Weights {
    table: ParamTable,
    arena: HostMemory,
}

impl Weights {
    /// Takes over the parameters.
    pub fn new(parameters: Parameters) -> Self {
        let (table, data) = parameters.into_parts();
        Self { table, arena: HostMemory::from_vec(data) }
    }

    /// Names, shapes and places.
    pub fn table(&self) -> &ParamTable {
        &self.table
    }

    /// The parameter that pieces call `name`: one of a layer, or one of those after the last.
    pub(crate) fn named(&self, name: &str, layer: usize) -> Option<&Param> {
        let role = LayerRole::ALL.into_iter().find(|role| role.weight_name() == name);
        match role {
            Some(role) => Some(self.table.layer(layer, role)),
            None if name == names::FINAL_NORM => Some(self.table.final_norm()),
            None if name == names::CLASSIFIER => Some(self.table.classifier()),
            None => None,
        }
    }

    /// The arena.
    pub fn arena(&self) -> &HostMemory {
        &self.arena
    }

    /// Calls `f` with the parameters, which are not copied for it; the arena is locked meanwhile. `None` if somebody gave
    /// the arena another length.
    pub fn with_parameters<R>(&self, f: impl FnOnce(&Parameters) -> R) -> Option<R> {
        let mut arena = self.arena.write();
        if arena.len() != self.table.len() {
            return None;
        }
        let parameters = Parameters::from_parts(self.table.clone(), std::mem::take(&mut *arena))?;
        let result = f(&parameters);
        *arena = parameters.into_parts().1;
        Some(result)
    }
}

/// A copy of a weight in a surface of the engine's type, or in part of one, to be renewed after each update.
#[derive(Debug)]
struct Staged {
    param: Param,
    surface: Surface,
    part: Part,
}

/// The surfaces of all weights: views of the arena where the engine can read it, staged copies elsewhere.
pub(crate) struct WeightSurfaces {
    weights: Weights,
    staged: Vec<Staged>,
    /// By weight, port shape and claimed bytes; views of the arena, which claim what they are, under `None`.
    made: HashMap<(ParamKey, [usize; 4], Option<usize>), Surface>,
}

impl WeightSurfaces {
    pub(crate) fn new(weights: Weights) -> Self {
        Self { weights, staged: Vec::new(), made: HashMap::new() }
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The surface of `param` for a port. `on` is the engine that evaluates it; `allocation` the bytes a staged surface
    /// claims.
    pub(crate) fn surface(
        &mut self,
        on: &dyn Engine,
        param: &Param,
        port: &Port,
        allocation: usize,
    ) -> Result<Surface, RuntimeError> {
        let in_place = on.reads_host_memory();
        let key = (param.key, port.shape, (!in_place).then_some(allocation));
        if let Some(surface) = self.made.get(&key) {
            return Ok(surface.clone());
        }
        if !layout_fits(param.len, port.shape) {
            let weight = param.name.clone();
            return Err(RuntimeError::WeightShape { weight, elements: param.len, shape: port.shape });
        }
        let surface = if in_place {
            Surface::view(&self.weights.arena, param.offset, port.shape)?
        } else {
            let surface = on.surface(port, allocation)?;
            // Behind each row may be room that makes it as wide as the engine wants.
            let part = Part { row: 0, column: 0, width: param.len / port.shape[1] };
            self.stage(param, &surface, part)?;
            surface
        };
        self.made.insert(key, surface.clone());
        Ok(surface)
    }

    /// Keeps a copy of `param` in a part of `surface`.
    pub(crate) fn stage(&mut self, param: &Param, surface: &Surface, part: Part) -> Result<(), RuntimeError> {
        let staged = Staged { param: param.clone(), surface: surface.clone(), part };
        stage(&staged, &self.weights.arena.read())?;
        self.staged.push(staged);
        Ok(())
    }

    /// Renews the staged copies after the arena changed.
    pub(crate) fn renew(&self) -> Result<(), RuntimeError> {
        let arena = self.weights.arena.read();
        ferrane_team::map(&self.staged, |_, staged| stage(staged, &arena)).into_iter().collect()
    }
}

/// A port takes a weight row by row; one that was widened to an engine's minimum has room behind each row.
fn layout_fits(len: usize, shape: [usize; 4]) -> bool {
    let [one, channels, unit, width] = shape;
    one == 1 && unit == 1 && len.is_multiple_of(channels) && len / channels <= width
}

fn stage(staged: &Staged, arena: &[f32]) -> Result<(), RuntimeError> {
    let Staged { param, surface, part } = staged;
    Ok(part.put(&arena[param.range()], surface)?)
}
