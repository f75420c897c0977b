//! Faults that the simulated engine is told to have: which, and when.
//!
//! A [`FaultPlan`] is a schedule (`compile@3,eval@120x2`) or a seed with a rate (`seed=7:rate=0.01`). Both are
//! deterministic: the n-th compile, load or evaluation of a process fails or does not, whatever else happens.

mod spec;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

pub use spec::FaultSpecError;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A program is not compiled: `ANECCompile() FAILED`.
    Compile,
    /// A program is compiled a hundred times more slowly.
    SlowCompile,
    /// A program is not loaded: status 0x50004.
    Load,
    /// Other processes hold all slots: status 0x50004, from then on.
    Slots,
    /// An evaluation fails: status 0x1d.
    Evaluate,
    /// An evaluation is given up: status 0x11.
    TimeOut,
    /// The system's daemon restarts, and what was loaded no longer is.
    DaemonRestart,
}

/// When in a program's life faults happen; each counts on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Compile,
    Load,
    Evaluate,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Fault; 7] = [
        Fault::Compile,
        Fault::SlowCompile,
        Fault::Load,
        Fault::Slots,
        Fault::Evaluate,
        Fault::TimeOut,
        Fault::DaemonRestart,
    ];

    /// As it is written in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Compile => "compile",
            Fault::SlowCompile => "slow-compile",
            Fault::Load => "load",
            Fault::Slots => "slots",
            Fault::Evaluate => "eval",
            Fault::TimeOut => "timeout",
            Fault::DaemonRestart => "daemon-restart",
        }
    }

    fn moment(self) -> Moment {
        match self {
            Fault::Compile | Fault::SlowCompile => Moment::Compile,
            Fault::Load | Fault::Slots => Moment::Load,
            Fault::Evaluate | Fault::TimeOut | Fault::DaemonRestart => Moment::Evaluate,
        }
    }
}

/// Which faults happen when. Read with [`str::parse`]; see [`FaultPlan::GRAMMAR`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultPlan(Plan);

#[derive(Clone, Debug, PartialEq)]
enum Plan {
    Schedule(Vec<Scheduled>),
    Random { seed: u64, rate: f64, kinds: Vec<Fault> },
}

impl Default for Plan {
    fn default() -> Self {
        Plan::Schedule(Vec::new())
    }
}

/// A fault from the `at`-th compile, load or evaluation on, `times` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scheduled {
    fault: Fault,
    at: u64,
    times: u64,
}

impl FaultPlan {
    /// How a plan is written.
    pub const GRAMMAR: &'static str = "KIND@N[xTIMES],… or seed=S:rate=R[:kinds=KIND+KIND…], where KIND is compile, \
                                       slow-compile (the N-th compile), load, slots (the N-th load), eval, timeout or \
                                       daemon-restart (the N-th evaluation)";

    /// The fault of the `n`-th (from 1) such moment.
    fn at(&self, moment: Moment, n: u64) -> Option<Fault> {
        match &self.0 {
            Plan::Schedule(all) => {
                let due = |s: &&Scheduled| s.fault.moment() == moment && n >= s.at && n - s.at < s.times;
                all.iter().find(due).map(|s| s.fault)
            }
            Plan::Random { seed, rate, kinds } => {
                let due = |fault: &Fault| fault.moment() == moment && unit(*seed, *fault, n) < *rate;
                kinds.iter().copied().find(due)
            }
        }
    }
}

/// A number from 0 to 1 that depends on all three and on nothing else (SplitMix64).
fn unit(seed: u64, fault: Fault, n: u64) -> f64 {
    let mut x =
        seed.wrapping_add((fault as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(n << 8);
    for multiplier in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        x = (x ^ (x >> 30)).wrapping_mul(multiplier);
    }
    ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Plan::Schedule(all) => {
                for (i, s) in all.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}@{}", s.fault.name(), s.at)?;
                    if s.times != spec::once(s.fault) {
                        write!(f, "x{}", s.times)?;
                    }
                }
                Ok(())
            }
            Plan::Random { seed, rate, kinds } => {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                write!(f, "seed={seed}:rate={rate}:kinds={}", kinds.join("+"))
            }
        }
    }
}

/// A plan and how far a process has come in it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: FaultPlan,
    compiles: AtomicU64,
    loads: AtomicU64,
    evaluations: AtomicU64,
}

impl Faults {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self { plan, ..Self::default() }
    }

    /// Counts one more such moment and says what goes wrong in it, if anything does.
    pub(crate) fn next(&self, moment: Moment) -> Option<Fault> {
        let count = match moment {
            Moment::Compile => &self.compiles,
            Moment::Load => &self.loads,
            Moment::Evaluate => &self.evaluations,
        };
        self.plan.at(moment, count.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(plan: &str, moment: Moment, upto: u64) -> Vec<(u64, Fault)> {
        let faults = Faults::new(plan.parse().unwrap());
        (1..=upto).filter_map(|n| Some((n, faults.next(moment)?))).collect()
    }

    #[test]
    fn a_schedule_counts_each_kind_of_moment_on_its_own() {
        let plan = "compile@3,load@1,eval@5x2,timeout@8,slow-compile@2,daemon-restart@9";
        assert_eq!(fired(plan, Moment::Compile, 9), [(2, Fault::SlowCompile), (3, Fault::Compile)]);
        assert_eq!(fired(plan, Moment::Load, 9), [(1, Fault::Load)]);
        let evaluations = [(5, Fault::Evaluate), (6, Fault::Evaluate), (8, Fault::TimeOut)];
        assert_eq!(fired(plan, Moment::Evaluate, 8), evaluations);
        assert_eq!(fired("slots@3", Moment::Load, 5).len(), 3, "slots stay taken");
        assert_eq!(fired("slots@3x2", Moment::Load, 5).len(), 2);
    }

    #[test]
    fn a_seed_gives_the_same_faults_every_time_and_about_as_many_as_the_rate_says() {
        let first = fired("seed=7:rate=0.01", Moment::Evaluate, 20_000);
        assert_eq!(first, fired("seed=7:rate=0.01", Moment::Evaluate, 20_000));
        assert_ne!(first, fired("seed=8:rate=0.01", Moment::Evaluate, 20_000));
        // Three kinds at a hundredth each.
        assert!((500..700).contains(&first.len()), "{}", first.len());
        for kind in [Fault::Evaluate, Fault::TimeOut, Fault::DaemonRestart] {
            assert!(first.iter().any(|(_, fault)| *fault == kind), "{kind:?}");
        }
        assert!(fired("seed=1:rate=1:kinds=load", Moment::Evaluate, 9).is_empty());
        assert!(fired("seed=1:rate=0", Moment::Compile, 1000).is_empty());
    }
}
