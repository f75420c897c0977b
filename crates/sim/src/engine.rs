//! The engine `sim`.

use std::sync::{Arc, atomic::Ordering};

use ferrane_cpu::{HostKernel, Options, Workspace};
use ferrane_engine::{
    Clock, Engine, EngineError, Kernel, OpSaturation, Port, Profile, ReloadWay, Remark, RemarkKind, Status,
    Surface, SurfaceError, Usage, WeightFiles, cost,
};
use ferrane_mil::{Program, Verified, pass::decompose_attention, verify};

use crate::faults::{Fault, FaultPlan, Moment};
use crate::process::{Process, Slot};
use crate::rules::{self, REJECTED, Rules, Verdict};
use crate::{numerics::Faithful, silent};

/// How the simulated engine computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numerics {
    /// Every op's result is rounded to its MIL type, ties to even; sums are fp32.
    #[default]
    Fast,
    /// As the chip was measured to compute: [`Faithful`].
    Faithful,
    /// Not at all: outputs stay as they are, and time passes as it is modelled. For programs of which only the time is asked.
    Skipped,
}

/// A simulated Neural Engine with the limits, quirks and slots of a profile.
#[derive(Clone, Debug)]
pub struct SimEngine {
    shared: Arc<Shared>,
    process: Arc<Process>,
}

/// What kernels need of their engine.
#[derive(Clone, Debug)]
struct Shared {
    profile: Profile,
    threads: usize,
    numerics: Numerics,
    lenient: bool,
    /// Intermediate values of all kernels.
    workspace: Workspace,
}

impl SimEngine {
    /// A simulation of `profile` computed on `threads` threads. Clones are of one process: they share its slots, its count
    /// of compiles and its faults.
    pub fn new(profile: Profile, threads: usize) -> Self {
        let shared = Shared {
            profile,
            threads,
            numerics: Numerics::Fast,
            lenient: false,
            workspace: Workspace::default(),
        };
        Self { shared: Arc::new(shared), process: Arc::default() }
    }

    /// The same engine, computing otherwise.
    #[must_use]
    pub fn with_numerics(mut self, numerics: Numerics) -> Self {
        Arc::make_mut(&mut self.shared).numerics = numerics;
        self
    }

    /// What to know of its numerics before trusting them, for a chip whose arithmetic is not known well enough.
    pub fn caveat(&self) -> Option<&'static str> {
        match self.shared.numerics {
            Numerics::Fast | Numerics::Skipped => None,
            Numerics::Faithful => Faithful::caveat(&self.shared.profile),
        }
    }

    /// The same, reporting what breaks a rule instead of refusing it: [`Engine::remarks`] has the reports.
    #[must_use]
    pub fn lenient(mut self, lenient: bool) -> Self {
        Arc::make_mut(&mut self.shared).lenient = lenient;
        self
    }

    /// The same in a new process, which has the faults of `plan`.
    #[must_use]
    pub fn with_faults(mut self, plan: FaultPlan) -> Self {
        self.process = Arc::new(Process::new(plan));
        self
    }

    /// Counts a compile that takes `time`, or refuses it: as one too many for the process, or because it is to fail.
    fn count_compile(&self, rules: Rules<'_>, program: &str, time: Clock) -> Result<(), EngineError> {
        let before = self.process.count_compile();
        if let Some(most) = self.shared.max_compiles().filter(|most| before >= *most) {
            let what = format!("this process has compiled {most} programs, which is all it can");
            if let Some(reason) = rules.of_process("compile-count", program, what) {
                return Err(rules.refused(program, REJECTED, &reason));
            }
        }
        self.process.pass(time);
        match self.process.faults.next(Moment::Compile) {
            Some(Fault::Compile) => Err(rules.refused(program, REJECTED, "an injected fault")),
            Some(_) => {
                let nanoseconds = time.compile_nanoseconds * (SLOWDOWN - 1);
                self.process.pass(Clock { compile_nanoseconds: nanoseconds, ..Clock::default() });
                let message = format!("compiling took {SLOWDOWN} times its time (an injected fault)");
                self.process.remark(RemarkKind::Fault, program, message);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Loads a compiled program; once more if it fails, as a slot may just be coming free.
    fn load(&self, rules: Rules<'_>, program: &str, verdict: &Verdict) -> Result<Slot, EngineError> {
        if let Some((status, reason)) = &verdict.load {
            return Err(rules.not_loaded(program, *status, reason.clone()));
        }
        let first = match self.take_slot(rules, program) {
            Ok(slot) => return Ok(slot),
            Err(error) => error,
        };
        let slot = self.take_slot(rules, program)?;
        self.process.remark(RemarkKind::Fault, program, first.to_string());
        self.process.remark(RemarkKind::Recovery, program, "loaded at the second try".to_owned());
        Ok(slot)
    }

    fn take_slot(&self, rules: Rules<'_>, program: &str) -> Result<Slot, EngineError> {
        let (slot, before) = self.process.take_slot();
        if let Some(slots) = self.shared.slots().filter(|slots| before >= *slots)
            && let Some(reason) =
                rules.of_process("slots", program, format!("all {slots} program slots are taken"))
        {
            return Err(rules.not_loaded(program, Status::LOAD, reason));
        }
        match self.process.faults.next(Moment::Load) {
            None => Ok(slot),
            Some(Fault::Slots) => {
                let reason = "other processes hold all program slots (an injected fault)".to_owned();
                Err(rules.not_loaded(program, Status::LOAD, reason))
            }
            Some(_) => Err(rules.not_loaded(program, Status::LOAD, "an injected fault".to_owned())),
        }
    }
}

/// How many times longer than usual a slow compile takes: after a burst of failures 120 ms were seen to become minutes.
const SLOWDOWN: u64 = 100;

/// Modelled time that an evaluation takes until it is given up. Nobody published how long the system waits.
const TIME_OUT: Clock = Clock {
    evaluations: 0,
    nanoseconds: 1_000_000_000,
    nanojoules: 0,
    at_peak_nanoseconds: 0,
    compile_nanoseconds: 0,
};

impl Shared {
    /// Programs one process can compile, where that is limited.
    fn max_compiles(&self) -> Option<usize> {
        let most = self.profile.limits.compiles.as_ref().map(|most| most.value);
        most.filter(|_| !self.profile.assumes("compile-count"))
    }

    /// Programs one process can hold, where that is limited.
    fn slots(&self) -> Option<usize> {
        let limited = self.profile.quirk("load-limit").is_some() && !self.profile.assumes("slots");
        limited.then_some(self.profile.limits.slots.value)
    }

    fn title(&self) -> String {
        format!("sim ({})", self.profile.name)
    }

    /// What computes the program as the chip does, its silent quirks included.
    fn kernel(&self, program: &Verified, weights: &WeightFiles) -> Result<Option<HostKernel>, EngineError> {
        let refuse = |reason: String| EngineError::Compile {
            engine: self.title(),
            program: program.main().name.clone(),
            reason,
        };
        let mut function = silent::rewrite(program.main(), &self.profile);
        let numerics = match self.numerics {
            Numerics::Skipped => {
                weights.check(program.main())?;
                return Ok(None);
            }
            Numerics::Fast => ferrane_cpu::Numerics::Declared,
            Numerics::Faithful => {
                function = decompose_attention(&function).map_err(|e| refuse(e.to_string()))?;
                ferrane_cpu::Numerics::Arithmetic(Arc::new(Faithful::of(&self.profile)))
            }
        };
        let program = Program { functions: vec![function], ..program.program().clone() };
        let program = verify(program).map_err(|errors| refuse(joined(&errors)))?;
        let options = Options { numerics, threads: self.threads, workspace: self.workspace.clone() };
        HostKernel::compile(&self.title(), &program, weights, options).map(Some)
    }

    fn rules<'a>(&'a self, remark: &'a dyn Fn(&str, String)) -> Rules<'a> {
        Rules { profile: &self.profile, lenient: self.lenient, remark }
    }
}

fn joined(errors: &[impl ToString]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Engine for SimEngine {
    fn name(&self) -> &str {
        "sim"
    }

    fn profile(&self) -> &Profile {
        &self.shared.profile
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        Surface::host(&port.name, port.shape, port.dtype, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        let remark = |program: &str, message| self.process.remark_on_rule(program, message);
        let rules = self.shared.rules(&remark);
        let name = program.main().name.clone();
        // A profile need not have the figures of the cost model.
        let cost = cost::estimate(program.main(), &self.shared.profile).ok();
        let compiling = cost.as_ref().map(Clock::of_compile).unwrap_or_default();
        self.count_compile(rules, &name, compiling)?;
        let verdict = rules.judge(program.program(), &name)?;
        let slot = self.load(rules, &name, &verdict)?;
        let kernel = self.shared.kernel(program, weights).map_err(|error| match error {
            EngineError::Weights(damaged) => {
                rules.refused(&name, REJECTED, &format!("{damaged} (rule weight-header)"))
            }
            other => other,
        })?;
        let profile = &self.shared.profile;
        let (inputs, outputs) = Port::of(program.main())?;
        Ok(Box::new(SimKernel {
            input_binding: rules::binding(&inputs, profile),
            output_binding: rules::binding(&outputs, profile),
            inputs,
            outputs,
            shared: Arc::clone(&self.shared),
            process: Arc::clone(&self.process),
            name,
            kernel,
            evaluation: cost.as_ref().map(Clock::of_evaluation).unwrap_or_default(),
            verdict,
            slot,
        }))
    }

    fn usage(&self) -> Usage {
        Usage {
            compiles: self.process.compiles.load(Ordering::Relaxed),
            max_compiles: self.shared.max_compiles(),
            loaded: self.process.loaded.load(Ordering::Relaxed),
            slots: self.shared.slots(),
        }
    }

    fn clock(&self) -> Option<Clock> {
        cost::is_modelled(&self.shared.profile).then(|| self.process.clock())
    }

    fn remarks(&self) -> Vec<Remark> {
        self.process.take_remarks()
    }
}

struct SimKernel {
    name: String,
    shared: Arc<Shared>,
    process: Arc<Process>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// What computes it; none where only the time is asked.
    kernel: Option<HostKernel>,
    /// What one evaluation takes.
    evaluation: Clock,
    verdict: Verdict,
    /// For each port, the surface that is bound to it.
    input_binding: Vec<usize>,
    output_binding: Vec<usize>,
    slot: Slot,
}

impl Kernel for SimKernel {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn evaluate(&mut self, inputs: &[&Surface], outputs: &[&Surface]) -> Result<(), EngineError> {
        let remark = |program: &str, message| self.process.remark_on_rule(program, message);
        let rules = self.shared.rules(&remark);
        let inputs = bound(inputs, &self.input_binding);
        let outputs = bound(outputs, &self.output_binding);
        rules.surfaces(&self.name, "input", &self.inputs, &inputs)?;
        rules.surfaces(&self.name, "output", &self.outputs, &outputs)?;
        if let Some((status, reason)) = self.failure() {
            spoil(&outputs)?;
            return Err(rules.not_evaluated(&self.name, status, reason));
        }
        if let Some(kernel) = &mut self.kernel {
            kernel.evaluate(&inputs, &outputs)?;
        }
        self.process.pass(self.evaluation);
        if self.verdict.poisons {
            self.process.poisoned.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn take_saturation(&mut self) -> Vec<OpSaturation> {
        self.kernel.as_mut().map(Kernel::take_saturation).unwrap_or_default()
    }

    fn reload(&mut self, weights: &WeightFiles, way: ReloadWay) -> Result<(), EngineError> {
        if way == ReloadWay::Data {
            weights.only()?;
        }
        match (&mut self.kernel, self.shared.profile.quirk(way.quirk())) {
            (None, _) => Ok(()),
            // Weights are part of the compiled program: nobody reads the new ones.
            (Some(kernel), Some(_)) => Ok(kernel.check_weights(weights)?),
            (Some(kernel), None) => kernel.reload(weights, way),
        }
    }
}

impl SimKernel {
    /// Why this evaluation fails, if it does.
    fn failure(&self) -> Option<(Status, String)> {
        let injected = |what: &str| format!("{what} (an injected fault)");
        if let Some(reason) = &self.verdict.evaluate {
            return Some((Status::INFERENCE, reason.clone()));
        }
        if self.process.poisoned.load(Ordering::Relaxed) {
            let reason = "an evaluation before has left the process unable to evaluate (rule \
                          tile-poisons-process); go on in a new process";
            return Some((Status::INFERENCE, reason.to_owned()));
        }
        match self.process.faults.next(Moment::Evaluate) {
            Some(Fault::TimeOut) => {
                self.process.pass(TIME_OUT);
                return Some((Status::TIME_OUT, injected("it timed out")));
            }
            Some(Fault::DaemonRestart) => self.process.restart_daemon(),
            Some(_) => return Some((Status::INFERENCE, "an injected fault".to_owned())),
            None => {}
        }
        let gone = "the daemon has restarted and the program is no longer loaded";
        (!self.slot.is_loaded()).then(|| (Status::INFERENCE, injected(gone)))
    }
}

/// What a failed evaluation leaves behind is anything; here nothing that could be taken for a result.
fn spoil(outputs: &[&Surface]) -> Result<(), SurfaceError> {
    outputs.iter().try_for_each(|surface| surface.write(|elements| elements.fill(f32::NAN)))
}

/// The surfaces in port order. A wrong number of them is left to the rules to refuse.
fn bound<'a>(surfaces: &[&'a Surface], binding: &[usize]) -> Vec<&'a Surface> {
    if surfaces.len() != binding.len() {
        return surfaces.to_vec();
    }
    binding.iter().map(|&i| surfaces[i]).collect()
}
