//! From a question to an answer: which formulas are applied, in which order, and which constraints their results meet.

use serde::Serialize;

use crate::data::{Data, is_extrapolated};
use crate::error::PlanError;
use crate::formula::{Ledger, Step};
use crate::inputs::{Limits, Machines, Method, Model, Rate, Request, Sync, Topology};
use crate::quantity::{Unit, show};

/// Failures expected in a round beyond which it practically never ends: one in 150 does.
const HOPELESS: f64 = 5.0;

/// Answers questions.
#[derive(Debug)]
pub struct Planner {
    data: Data,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The model.
    pub model: Model,
    /// The machines, in groups of equal ones.
    pub machines: Vec<Machine>,
    /// How many machines.
    pub workers: u64,
    /// Token budget.
    pub tokens: f64,
    /// What is shared, and when.
    pub sync: Sync,
    /// Memory of one worker, bytes, without activations.
    pub memory_bytes: f64,
    /// One inner step, seconds.
    pub step_s: f64,
    /// Days of computing, were synchronising free.
    pub compute_days: f64,
    /// One synchronisation, seconds; of one fragment if streaming.
    pub sync_s: f64,
    /// Computing as part of all time.
    pub utilisation: f64,
    /// Uplink that would give the utilisation asked for, bytes a second; none if latency alone exceeds it.
    pub uplink_needed: Option<f64>,
    /// Fewer bytes than sharing fp32 gradients every step.
    pub bytes_saved: f64,
    /// Tokens a second of all workers.
    pub tokens_per_s: f64,
    /// Days to the token budget, nothing failing.
    pub days: f64,
    /// One round, seconds.
    pub round_s: f64,
    /// Probability that no worker fails in a round.
    pub survival: f64,
    /// Days to the token budget, lost rounds repeated; none if rounds practically never end.
    pub days_with_failures: Option<f64>,
    /// Best time between checkpoints, seconds.
    pub checkpoint_every_s: f64,
    /// What it takes and costs; none if it never ends.
    pub cost: Option<Cost>,
    /// All constraints, in the order in which they are asked.
    pub constraints: Vec<Constraint>,
    /// Whether none fails.
    pub feasible: bool,
    /// The name of the first that fails.
    pub fails_first: Option<&'static str>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What would be good enough.
    pub limits: Limits,
    /// How every number came about.
    pub steps: Vec<Step>,
}

/// Energy and money.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Energy at the wall, at most.
    pub wall_kwh: f64,
    /// Energy of the Neural Engines, at most; none if a chip's power is not known.
    pub engine_kwh: Option<f64>,
    /// Electricity, at most.
    pub electricity_usd: f64,
    /// Hours of one rented GPU for the same training.
    pub gpu_hours: f64,
    /// What they cost.
    pub gpu_usd: f64,
}

/// Equal machines, and what is known of them.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// How many.
    pub count: u32,
    /// The name of their profile.
    pub chip: String,
    /// Memory of each, bytes.
    pub ram_bytes: f64,
    /// Sustained FLOP/s, counted as 6 a parameter and token.
    pub flops: f64,
    /// Where that is from.
    pub source: String,
    /// Whether it was measured on another chip.
    pub extrapolated: bool,
    /// Power at the wall, at most, watts.
    pub wall_w: f64,
}

/// One of the conditions a plan must meet.
#[derive(Clone, Debug, Serialize)]
pub struct Constraint {
    /// Its name.
    pub name: &'static str,
    /// Whether it is met.
    pub status: Status,
    /// The number asked about.
    pub value: f64,
    /// What it is held to.
    pub limit: f64,
    /// The unit of both.
    pub unit: Unit,
    /// Both in a sentence.
    pub sentence: String,
}

/// Whether a constraint is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is.
    Met,
    /// It is not.
    Fails,
    /// Nobody has shown either.
    Unknown,
}

impl Plan {
    /// The first constraint that fails.
    pub fn first_failing(&self) -> Option<&Constraint> {
        self.constraints.iter().find(|c| c.status == Status::Fails)
    }
}

impl Planner {
    /// A planner with the built-in figures.
    ///
    /// # Errors
    /// [`PlanError::Data`], which the tests exclude.
    pub fn new() -> Result<Self, PlanError> {
        Ok(Self { data: Data::built_in()? })
    }

    /// The figures it plans with.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Answers one question.
    ///
    /// # Errors
    /// [`PlanError`] for numbers that cannot be.
    pub fn plan(&self, request: &Request) -> Result<Plan, PlanError> {
        let mut plan = self.answer(request)?;
        plan.notes.extend(self.slow_machines(request, &plan)?);
        Ok(plan)
    }

    fn answer(&self, request: &Request) -> Result<Plan, PlanError> {
        request.check()?;
        let mut ledger = Ledger::new(&self.data.book);
        self.give(&mut ledger, request)?;
        let memory_bytes = ledger.apply("memory")?;
        let machines = self.machines(request, &mut ledger)?;
        let step_s = ledger.apply("step")?;
        let compute_days = ledger.apply("days-compute")?;
        let (sync_s, utilisation) = synchronise(&mut ledger, request)?;
        let uplink_needed = uplink_needed(&mut ledger, request, compute_days)?;
        let bytes_saved = ledger.apply("saved")?;
        let tokens_per_s = ledger.apply("throughput")?;
        let days = ledger.apply("days")?;
        let round_s = ledger.apply("round")?;
        let failures = ledger.apply("failures")?;
        let survival = ledger.apply("survival")?;
        let days_with_failures = if failures < HOPELESS { Some(ledger.apply("days-real")?) } else { None };
        let checkpoint_every_s = ledger.apply("checkpoint")?;
        let cost = match days_with_failures {
            Some(_) => Some(self.cost(&mut ledger, &machines)?),
            None => None,
        };
        let mut plan = Plan {
            model: request.model.clone(),
            workers: request.workers(),
            tokens: request.tokens,
            sync: request.sync,
            limits: request.limits,
            constraints: Vec::new(),
            feasible: true,
            fails_first: None,
            notes: Vec::new(),
            steps: ledger.into_steps(),
            machines,
            memory_bytes,
            step_s,
            compute_days,
            sync_s,
            utilisation,
            uplink_needed,
            bytes_saved,
            tokens_per_s,
            days,
            round_s,
            survival,
            days_with_failures,
            checkpoint_every_s,
            cost,
        };
        plan.constraints = self.constraints(request, &plan);
        plan.fails_first = plan.first_failing().map(|constraint| constraint.name);
        plan.feasible = plan.fails_first.is_none();
        plan.notes = self.notes(&plan);
        Ok(plan)
    }

    /// What the question says, as values of symbols.
    fn give(&self, ledger: &mut Ledger<'_>, request: &Request) -> Result<(), PlanError> {
        let lan = self.data.link("lan")?;
        let figures = &self.data.assumptions;
        let workers = request.workers() as f64;
        // One worker alone shares nothing and needs no outer optimiser.
        let outer = workers > 1.0 && request.sync.method != Method::Ddp;
        let bytes = if outer { &figures.bytes_diloco } else { &figures.bytes_single };
        for (symbol, value) in [
            ("P", request.model.parameters),
            ("D", request.tokens),
            ("T", request.step_tokens),
            ("N", workers),
            ("H", f64::from(request.sync.every)),
            ("b", f64::from(request.sync.bits)),
            ("P_f", f64::from(request.sync.fragments)),
            ("tau", f64::from(request.sync.overlap)),
            ("d", request.duty),
            ("m_b", bytes.value),
            ("B", request.uplink),
            ("eta", request.efficiency),
            ("alpha", request.latency),
            ("B_l", lan.uplink.value),
            ("alpha_l", lan.latency.value),
            ("MTBF", request.mtbf),
            ("W_d", figures.disk.value),
            ("c_e", request.electricity),
            ("F_g", figures.gpu_flops.value),
            ("mfu", figures.gpu_mfu.value),
            ("c_g", request.gpu_price),
        ] {
            ledger.set(symbol, value);
        }
        Ok(())
    }

    /// What each group does. All wait for the slowest, whose rate becomes `F`.
    fn machines(&self, request: &Request, ledger: &mut Ledger<'_>) -> Result<Vec<Machine>, PlanError> {
        let mut machines = Vec::new();
        for group in &request.machines {
            let known = self.data.machine(&group.chip)?;
            let (flops, source, extrapolated) = self.rate(request, group, ledger)?;
            machines.push(Machine {
                count: group.count,
                chip: group.chip.clone(),
                ram_bytes: group.ram.unwrap_or(known.ram_gb.value * 1e9),
                flops,
                source,
                extrapolated,
                wall_w: known.wall_w.value,
            });
        }
        ledger.set("F", machines.iter().map(|machine| machine.flops).fold(f64::INFINITY, f64::min));
        Ok(machines)
    }

    /// A group's FLOP/s, where that is from, and whether it was measured on another chip.
    fn rate(
        &self,
        request: &Request,
        group: &Machines,
        ledger: &mut Ledger<'_>,
    ) -> Result<(f64, String, bool), PlanError> {
        let parameters = request.model.parameters;
        let ([parameters, tokens, seconds], source, extrapolated) = match request.rate {
            Rate::Flops(flops) => return Ok((flops, "given".into(), false)),
            Rate::Step { tokens, seconds } => ([parameters, tokens, seconds], "given".to_owned(), false),
            Rate::Published => {
                let step = self.data.machine(&group.chip)?.nearest_step(parameters).ok_or_else(|| {
                    let reason = "no training step of it was published; give a rate";
                    PlanError::value(&group.chip, "unmeasured", reason)
                })?;
                let source = format!(
                    "{} ms for {} tokens and {} parameters ({})",
                    step.ms.value,
                    step.tokens,
                    show(step.parameters, Unit::Count),
                    step.ms.source
                );
                let measured = [step.parameters, step.tokens, step.ms.value / 1e3];
                (measured, source, is_extrapolated(&step.ms))
            }
        };
        ledger.set("P_m", parameters);
        ledger.set("T_m", tokens);
        ledger.set("t_m", seconds);
        Ok((ledger.apply("rate")?, source, extrapolated))
    }

    fn cost(&self, ledger: &mut Ledger<'_>, machines: &[Machine]) -> Result<Cost, PlanError> {
        let sum = |power: &dyn Fn(&Machine) -> Option<f64>| -> Option<f64> {
            machines.iter().map(|machine| Some(f64::from(machine.count) * power(machine)?)).sum()
        };
        let wall = sum(&|machine| Some(machine.wall_w)).unwrap_or_default();
        ledger.set("W", wall);
        let wall_kwh = ledger.apply("energy")?;
        let rail = sum(&|machine| self.data.machine(&machine.chip).ok()?.rail_w);
        let engine_kwh = match rail {
            Some(watts) => {
                ledger.set("W_r", watts);
                Some(ledger.apply("energy-rail")?)
            }
            None => None,
        };
        Ok(Cost {
            wall_kwh,
            engine_kwh,
            electricity_usd: ledger.apply("electricity")?,
            gpu_hours: ledger.apply("rent-hours")?,
            gpu_usd: ledger.apply("rent")?,
        })
    }

    fn constraints(&self, request: &Request, plan: &Plan) -> Vec<Constraint> {
        let all = [
            Some(self.memory(plan)),
            Some(compute(plan)),
            (plan.workers > 1).then(|| uplink(request, plan)),
            Some(failures(request, plan)),
            self.statistics(plan),
            cost(plan),
        ];
        all.into_iter().flatten().collect()
    }

    fn memory(&self, plan: &Plan) -> Constraint {
        let system = self.data.assumptions.system_gb.value * 1e9;
        let smallest = plan.machines.iter().min_by(|a, b| a.ram_bytes.total_cmp(&b.ram_bytes));
        let (chip, ram) = smallest.map_or(("", 0.0), |machine| (machine.chip.as_str(), machine.ram_bytes));
        let free = (ram - system).max(0.0);
        let sentence = format!(
            "{} a worker; {chip} of {} has {} to give",
            show(plan.memory_bytes, Unit::Bytes),
            show(ram, Unit::Bytes),
            show(free, Unit::Bytes),
        );
        at_most("memory", plan.memory_bytes, free, Unit::Bytes, sentence)
    }

    /// Whether so many workers were ever shown to learn as one does from as many tokens.
    fn statistics(&self, plan: &Plan) -> Option<Constraint> {
        if plan.workers == 1 || plan.sync.method == Method::Ddp {
            return None;
        }
        let (workers, proven) = (plan.workers as f64, self.data.assumptions.proven_workers.value);
        let known = workers <= proven;
        let sentence = if known {
            format!("{workers} workers; up to {proven} were shown to learn as one does")
        } else {
            format!("{workers} workers; only {proven} were shown to learn as one does, so days are a guess")
        };
        Some(Constraint {
            name: "statistics",
            status: if known { Status::Met } else { Status::Unknown },
            value: workers,
            limit: proven,
            unit: Unit::Number,
            sentence,
        })
    }

    fn notes(&self, plan: &Plan) -> Vec<String> {
        let mut notes = Vec::new();
        for machine in plan.machines.iter().filter(|machine| machine.extrapolated) {
            notes.push(format!("nobody measured a step on {}; taken {}", machine.chip, machine.source));
        }
        if plan.workers > 1
            && plan.sync.method != Method::Ddp
            && let Some(run) = self.data.nearest_published(plan.model.parameters, plan.workers as f64)
        {
            notes.push(format!(
                "nearest published run: {}, {} on {} workers: {} ({})",
                run.name,
                show(run.parameters, Unit::Count),
                run.workers,
                run.result,
                run.source
            ));
        }
        notes
    }

    /// Whether the run would end sooner without its slowest machines.
    fn slow_machines(&self, request: &Request, plan: &Plan) -> Result<Option<String>, PlanError> {
        let mut rates: Vec<f64> = plan.machines.iter().map(|machine| machine.flops).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let mut best: Option<(f64, String)> = None;
        for &least in rates.iter().skip(1) {
            let (kept, left): (Vec<_>, Vec<_>) =
                request.machines.iter().zip(&plan.machines).partition(|(_, machine)| machine.flops >= least);
            let faster = Request {
                machines: kept.into_iter().map(|(group, _)| group.clone()).collect(),
                ..request.clone()
            };
            // An island's size may no longer divide the rest.
            let Ok(days) = self.answer(&faster).map(|p| p.days) else { continue };
            if days < best.as_ref().map_or(plan.days, |(days, _)| *days) {
                let names: Vec<String> =
                    left.iter().map(|(g, _)| format!("{}x{}", g.count, g.chip)).collect();
                best = Some((days, names.join(", ")));
            }
        }
        Ok(best.map(|(days, names)| {
            format!(
                "every step waits for the slowest machine: without {names} it takes {} in place of {}",
                show(days, Unit::Days),
                show(plan.days, Unit::Days)
            )
        }))
    }
}

/// Time of one synchronisation and what is left of the time for computing.
fn synchronise(ledger: &mut Ledger<'_>, request: &Request) -> Result<(f64, f64), PlanError> {
    ledger.apply("share")?;
    let topology = match request.topology {
        Topology::Ring => "ring",
        Topology::Tree => "tree",
        Topology::Star(server) => {
            ledger.set("B_s", server);
            "star"
        }
        Topology::Islands(size) => {
            ledger.set("G", f64::from(size));
            "islands"
        }
    };
    ledger.apply(&format!("{topology}-volume"))?;
    ledger.apply(&format!("{topology}-latency"))?;
    if request.sync.method == Method::Streaming {
        Ok((ledger.apply("synchronise-fragment")?, ledger.apply("utilisation-streaming")?))
    } else {
        Ok((ledger.apply("synchronise")?, ledger.apply("utilisation")?))
    }
}

/// The uplink that gives the least utilisation, or as much as ending in time takes.
fn uplink_needed(
    ledger: &mut Ledger<'_>,
    request: &Request,
    compute_days: f64,
) -> Result<Option<f64>, PlanError> {
    ledger.set("u_min", least_utilisation(request, compute_days));
    let streaming = request.sync.method == Method::Streaming;
    let free = ledger.apply(if streaming { "free-streaming" } else { "free" })?;
    if ledger.value("V") == Some(0.0) || ledger.value("L").is_some_and(|latency| free <= latency) {
        return Ok(None);
    }
    ledger.apply(if streaming { "uplink-needed-streaming" } else { "uplink-needed" }).map(Some)
}

/// Utilisation asked for: the limit, or more if computing alone takes most of the days there are.
fn least_utilisation(request: &Request, compute_days: f64) -> f64 {
    let in_time = compute_days / request.limits.days;
    if in_time <= 1.0 { in_time.max(request.limits.utilisation) } else { request.limits.utilisation }
}

fn compute(plan: &Plan) -> Constraint {
    let limit = plan.limits.days;
    let sentence = format!(
        "{} of computing alone, {} a step; limit {}",
        show(plan.compute_days, Unit::Days),
        show(plan.step_s, Unit::Seconds),
        show(limit, Unit::Days)
    );
    at_most("compute", plan.compute_days, limit, Unit::Days, sentence)
}

fn uplink(request: &Request, plan: &Plan) -> Constraint {
    let least = least_utilisation(request, plan.compute_days);
    let has = show(request.uplink, Unit::Rate);
    let needs = match plan.uplink_needed {
        Some(rate) => format!("{} needs {}", show(least, Unit::Ratio), show(rate, Unit::Rate)),
        None => format!("no uplink gives {}: latency alone is more", show(least, Unit::Ratio)),
    };
    let sentence = format!("utilisation {} at {has}; {needs}", show(plan.utilisation, Unit::Ratio));
    at_least("uplink", plan.utilisation, least, Unit::Ratio, sentence)
}

fn failures(request: &Request, plan: &Plan) -> Constraint {
    let limit = request.limits.survival;
    let survives =
        format!("a round of {} survives with {:.2}", show(plan.round_s, Unit::Seconds), plan.survival);
    let sentence = if plan.survival >= limit {
        format!("{survives}; limit {limit:.2}")
    } else {
        format!("{survives}, below {limit:.2}: needs an elastic engine, not MPI")
    };
    at_least("failures", plan.survival, limit, Unit::Number, sentence)
}

fn cost(plan: &Plan) -> Option<Constraint> {
    let cost = plan.cost.as_ref()?;
    let sentence = format!(
        "{} of electricity at most; renting: {}",
        show(cost.electricity_usd, Unit::Usd),
        show(cost.gpu_usd, Unit::Usd)
    );
    Some(at_most("cost", cost.electricity_usd, cost.gpu_usd, Unit::Usd, sentence))
}

fn at_most(name: &'static str, value: f64, limit: f64, unit: Unit, sentence: String) -> Constraint {
    let status = if value <= limit { Status::Met } else { Status::Fails };
    Constraint { name, status, value, limit, unit, sentence }
}

fn at_least(name: &'static str, value: f64, limit: f64, unit: Unit, sentence: String) -> Constraint {
    let status = if value >= limit { Status::Met } else { Status::Fails };
    Constraint { name, status, value, limit, unit, sentence }
}
