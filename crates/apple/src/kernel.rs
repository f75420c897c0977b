//! Kernels: programs bound to surfaces.

use std::sync::{Arc, Weak};

use ferrane_engine::{EngineError, Kernel, Port, ReloadWay, Surface, WeightFiles};

use crate::iosurface::{self, AneMemory};
use crate::loaded::Loaded;
use crate::object::Object;

/// A loaded program with the requests that were made for it.
pub(crate) struct AneKernel {
    loaded: Loaded,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    requests: Vec<Request>,
}

/// A request is bound to its surfaces for good, and serves any number of evaluations.
struct Request {
    inputs: Vec<Weak<iosurface::Shared>>,
    outputs: Vec<Weak<iosurface::Shared>>,
    object: Object,
}

type Bound<'a> = Vec<&'a Arc<iosurface::Shared>>;

impl Request {
    fn is_of(&self, inputs: &Bound<'_>, outputs: &Bound<'_>) -> bool {
        // An address stays taken for as long as there is a weak reference to it.
        let same = |own: &[Weak<_>], given: &Bound<'_>| {
            own.iter().map(Weak::as_ptr).eq(given.iter().map(|surface| Arc::as_ptr(surface)))
        };
        same(&self.inputs, inputs) && same(&self.outputs, outputs)
    }

    fn is_alive(&self) -> bool {
        self.inputs.iter().chain(&self.outputs).all(|surface| surface.strong_count() > 0)
    }
}

impl AneKernel {
    pub(crate) fn new(loaded: Loaded, inputs: Vec<Port>, outputs: Vec<Port>) -> Self {
        Self { loaded, inputs, outputs, requests: Vec::new() }
    }

    /// The surfaces of one side in the order in which the framework binds them.
    fn bind<'a>(
        &self,
        side: &str,
        ports: &[Port],
        surfaces: &[&'a Surface],
    ) -> Result<Bound<'a>, EngineError> {
        let refuse = |reason: String| self.loaded.failures().binding(reason);
        if ports.len() != surfaces.len() {
            return Err(refuse(format!("{} {side} surfaces for {} ports", surfaces.len(), ports.len())));
        }
        let mut bound = Vec::with_capacity(ports.len());
        for (port, surface) in ports.iter().zip(surfaces) {
            let memory = surface.as_device().and_then(|memory| memory.as_any().downcast_ref::<AneMemory>());
            let memory = memory.ok_or_else(|| {
                refuse(format!("the surface for {side} `{}` is not memory of this engine", port.name))
            })?;
            if (surface.shape(), surface.dtype()) != (port.shape, port.dtype) {
                return Err(refuse(format!(
                    "{side} `{}` is {:?} of {} but its surface {:?} of {}",
                    port.name,
                    port.shape,
                    port.dtype.name(),
                    surface.shape(),
                    surface.dtype().name()
                )));
            }
            bound.push((port, memory.shared()));
        }
        if self.loaded.shared().profile.ports.alphabetical.value {
            bound.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        }
        Ok(bound.into_iter().map(|(_, surface)| surface).collect())
    }

    /// The index of the request with these surfaces, which is made if there is none.
    fn request<'a>(&mut self, inputs: &Bound<'a>, outputs: &Bound<'a>) -> Result<usize, EngineError> {
        if let Some(known) = self.requests.iter().position(|request| request.is_of(inputs, outputs)) {
            return Ok(known);
        }
        // A request keeps the memory of its surfaces, which nobody can use any more when they are gone.
        self.requests.retain(Request::is_alive);
        let wrappers = |side: &[&'a Arc<iosurface::Shared>]| -> Vec<&'a Object> {
            side.iter().map(|surface| surface.wrapper()).collect()
        };
        let weak = |side: &Bound<'_>| side.iter().map(|surface| Arc::downgrade(surface)).collect();
        let failures = self.loaded.failures();
        let made = self.loaded.shared().requests.request(&wrappers(inputs), &wrappers(outputs));
        let object = made.map_err(|words| failures.evaluate(&words))?.ok_or_else(|| {
            failures.evaluate("no request was made of the surfaces, and no reason is given")
        })?;
        self.requests.push(Request { inputs: weak(inputs), outputs: weak(outputs), object });
        Ok(self.requests.len() - 1)
    }
}

impl Kernel for AneKernel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        let inputs = self.bind("input", &self.inputs, inputs)?;
        let outputs = self.bind("output", &self.outputs, outputs)?;
        let request = self.request(&inputs, &outputs)?;
        self.loaded.evaluate(&self.requests[request].object)
    }

    fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError> {
        self.loaded.reload(weights, way)
    }
}
