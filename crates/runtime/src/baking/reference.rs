//! What a kernel that was reloaded is compared with.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ferrane_engine::{Port, Surface};

use crate::{RuntimeError, compile::PieceKernel};

/// A piece on the host, with the weights of now: what a kernel that was reloaded is compared with.
pub(crate) struct Reference {
    /// One for all layers.
    kernel: Arc<Mutex<PieceKernel>>,
    /// The weights, by the names of their inputs.
    weights: HashMap<String, Surface>,
}

impl Reference {
    pub(crate) fn new(kernel: Arc<Mutex<PieceKernel>>, weights: HashMap<String, Surface>) -> Self {
        Self { kernel, weights }
    }

    /// What the outputs `ports` should be for these inputs, by name.
    pub(super) fn outputs(
        &self,
        inputs: &HashMap<String, Vec<f32>>,
        ports: &[Port],
    ) -> Result<Vec<Vec<f32>>, RuntimeError> {
        let mut kernel = self.kernel.lock().unwrap_or_else(PoisonError::into_inner);
        let made = |port: &Port| Surface::host(&port.name, port.shape, port.dtype, port.bytes());
        let mut mine = Vec::with_capacity(kernel.inputs().len());
        for port in kernel.inputs() {
            if let Some(weight) = self.weights.get(&port.name) {
                mine.push(weight.clone());
                continue;
            }
            let surface = made(port)?;
            if let Some(values) = inputs.get(&port.name) {
                surface.write(|s| s.iter_mut().zip(values).for_each(|(s, v)| *s = *v))?;
            }
            mine.push(surface);
        }
        let outputs = kernel.outputs().iter().map(made).collect::<Result<Vec<_>, _>>()?;
        kernel.evaluate(0, &mine.iter().collect::<Vec<_>>(), &outputs.iter().collect::<Vec<_>>())?;
        let by_name = |port: &Port| {
            let at = kernel.outputs().iter().position(|p| p.name == port.name);
            at.map_or_else(|| Ok(Vec::new()), |at| outputs[at].read(<[f32]>::to_vec))
        };
        Ok(ports.iter().map(by_name).collect::<Result<_, _>>()?)
    }
}

/// ‖a − b‖ / ‖b‖ over the elements that are finite in both: an overflow is the loss scale's business.
pub(super) fn relative_difference(a: &[f32], b: &[f32]) -> f64 {
    let finite = a.iter().zip(b).filter(|(a, b)| a.is_finite() && b.is_finite());
    let (mut difference, mut norm) = (0.0, 0.0);
    for (a, b) in finite {
        difference += f64::from(a - b).powi(2);
        norm += f64::from(*b).powi(2);
    }
    (difference / f64::max(norm, 1e-30)).sqrt()
}
