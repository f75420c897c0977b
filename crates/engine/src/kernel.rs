//! Engines and the kernels they compile.

use ferrane_mil::{DType, Function, Verified};

use crate::{EngineError, Profile, Surface, SurfaceError, WeightFiles};

/// One input or output of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name of the function's input or output.
    pub name: String,
    /// Extents `[1, C, 1, W]`.
    pub shape: [usize; 4],
    /// Element type.
    pub dtype: DType,
}

impl Port {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes the Neural Engine sees.
    pub fn bytes(&self) -> usize {
        self.dtype.packed_bytes(self.elements())
    }

    /// The ports of a function: inputs, then outputs, in declaration order.
    ///
    /// # Errors
    /// Names a port whose shape is not `[1, C, 1, W]`.
    pub fn of(function: &Function) -> Result<(Vec<Port>, Vec<Port>), EngineError> {
        let port = |&v: &ferrane_mil::ValueId| {
            let (name, ty) = (function.name_of(v).to_owned(), &function.value(v).ty);
            match ty.as_tensor().map(|t| (t.shape.as_slice(), t.dtype)) {
                Some((&[1, c, 1, w], dtype)) => Ok(Port { name, shape: [1, c, 1, w], dtype }),
                _ => Err(EngineError::Binding {
                    program: function.name.clone(),
                    reason: format!("port `{name}` is {ty}; ports must be [1, C, 1, W]"),
                }),
            }
        };
        let inputs = function.inputs.iter().map(port).collect::<Result<_, _>>()?;
        let outputs = function.outputs.iter().map(port).collect::<Result<_, _>>()?;
        Ok((inputs, outputs))
    }
}

/// One compiled program as an engine holds it. Dropping it frees its slot.
pub trait Kernel: Send {
    /// Input ports, in the order [`Kernel::evaluate`] takes their surfaces.
    fn inputs(&self) -> &[Port];

    /// Output ports, in the order [`Kernel::evaluate`] takes their surfaces.
    fn outputs(&self) -> &[Port];

    /// Runs the program once and waits for it.
    ///
    /// # Errors
    /// When a surface does not fit its port, or the engine refuses or fails; outputs are then undefined.
    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError>;
}

/// Something that compiles and evaluates MIL.
pub trait Engine: Send + Sync {
    /// `ane`, `sim` or `cpu`.
    fn name(&self) -> &str;

    /// What is known of the chip, system and door.
    fn profile(&self) -> &Profile;

    /// Makes memory for a port. `allocation` is the number of bytes the surface claims, at least the port's own: some
    /// doors want all surfaces of a side to claim the same.
    ///
    /// # Errors
    /// When the memory cannot be had or `allocation` is too small.
    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError>;

    /// Compiles and loads a program. `weights` holds every file the program's constants refer to.
    ///
    /// # Errors
    /// The engine's refusal, in its words.
    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError>;

    /// True when kernels can read plain fp32 host memory in place, so that parameters need no copy.
    fn reads_host_memory(&self) -> bool {
        false
    }
}
