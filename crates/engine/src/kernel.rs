//! Engines and the kernels they compile.

use std::sync::Arc;

use ferrane_mil::{DType, Function, Opcode, Verified};

use crate::{Clock, EngineError, Profile, Surface, SurfaceError, WeightFiles};

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

    /// Puts new weights under the loaded program and loads it again, without compiling. `weights` holds every file that
    /// [`Engine::compile`] was given, of the same sizes.
    ///
    /// Success says that the program is loaded, not that it computes with the new weights: where the profile has the
    /// [quirk](ReloadWay::quirk) of the way, it silently goes on with those it was compiled with. Only comparing outputs
    /// tells.
    ///
    /// # Errors
    /// When a file is missing or damaged, the way is not known for such programs, or the program cannot be loaded again.
    fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError>;

    /// The ops of which results saturated in evaluations since this was last asked, for an engine that watches its
    /// arithmetic. Others tell of none.
    fn take_saturation(&mut self) -> Vec<OpSaturation> {
        Vec::new()
    }
}

/// How a loaded program is given other weights. An engine without files does the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadWay {
    /// The weight files that the program names are written anew. No Neural Engine is known to heed them.
    Files,
    /// The compiler's own copy, its file `data`, is replaced by the weight file. Seen to take effect with one weight;
    /// what the file holds for more than one weight file nobody says.
    Data,
}

impl ReloadWay {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Files, Self::Data];

    /// The quirk of profiles by which the way changes nothing.
    pub fn quirk(self) -> &'static str {
        match self {
            ReloadWay::Files => "weight-file-ignored",
            ReloadWay::Data => "data-file-ignored",
        }
    }
}

/// How many results of an op became infinite though its operands were finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpSaturation {
    /// The op's first result.
    pub value: String,
    /// The op.
    pub op: Opcode,
    /// Such results.
    pub saturated: u64,
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

    /// Compiles and loads a program. `weights` holds every file the program's constants refer to: they become part of the
    /// kernel, and stay what they were.
    ///
    /// # Errors
    /// The engine's refusal, in its words.
    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError>;

    /// True when kernels can read plain fp32 host memory in place, so that parameters need no copy.
    fn reads_host_memory(&self) -> bool {
        false
    }

    /// The same engine, asking the system for another class of quality of service (a `QOS_CLASS` of macOS) in all that it and its
    /// kernels do; none of an engine that asks no system for anything.
    fn with_qos(&self, _class: u32) -> Option<Arc<dyn Engine>> {
        None
    }

    /// What this process has used of the engine. An engine without limits need not count.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// What this process's evaluations would have taken on the chip, for an engine that models it; none where time is real.
    fn clock(&self) -> Option<Clock> {
        None
    }

    /// What the engine has noticed since it was last asked, oldest first.
    fn remarks(&self) -> Vec<Remark> {
        Vec::new()
    }
}

/// What a process has used of an engine, and how much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Programs compiled so far, those dropped again among them.
    pub compiles: usize,
    /// Programs one process can compile; none if there is no limit. Only a new process begins to count anew.
    pub max_compiles: Option<usize>,
    /// Programs loaded now, each in a slot.
    pub loaded: usize,
    /// Slots; none if there is no limit. Dropping a kernel frees its slot.
    pub slots: Option<usize>,
}

impl Usage {
    /// How many more programs this process can compile; none if there is no limit.
    pub fn compiles_left(&self) -> Option<usize> {
        self.max_compiles.map(|most| most.saturating_sub(self.compiles))
    }

    /// How many more programs can be loaded now; none if there is no limit.
    pub fn slots_left(&self) -> Option<usize> {
        self.slots.map(|slots| slots.saturating_sub(self.loaded))
    }
}

/// Something an engine noticed that did not stop it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What it is about.
    pub kind: RemarkKind,
    /// The program.
    pub program: String,
    /// What was noticed, and what it means.
    pub message: String,
}

/// What a [`Remark`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// A rule of the profile that the program breaks without being refused.
    Rule,
    /// Something failed or was late.
    Fault,
    /// What had failed succeeded after all.
    Recovery,
}
