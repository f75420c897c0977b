//! What a process has used of the simulated engine, and what has happened to it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ferrane_engine::{Clock, Remark, RemarkKind};

use crate::faults::{FaultPlan, Faults};

/// One process: its kernels, whichever clone of the engine compiled them, share it.
#[derive(Debug, Default)]
pub(crate) struct Process {
    pub(crate) compiles: AtomicUsize,
    pub(crate) loaded: AtomicUsize,
    /// An evaluation left the process unable to evaluate anything.
    pub(crate) poisoned: AtomicBool,
    /// How often the daemon restarted: kernels loaded before are gone.
    daemon: AtomicU64,
    pub(crate) faults: Faults,
    log: Mutex<Log>,
    clock: Mutex<Clock>,
}

#[derive(Debug, Default)]
struct Log {
    remarks: Vec<Remark>,
    /// Rules of which nothing more is to be said, by program.
    said: HashSet<(String, String)>,
}

impl Process {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self { faults: Faults::new(plan), ..Self::default() }
    }

    /// Counts a compile and returns how many there were before.
    pub(crate) fn count_compile(&self) -> usize {
        self.compiles.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes a slot; says how many were taken before.
    pub(crate) fn take_slot(self: &Arc<Self>) -> (Slot, usize) {
        let before = self.loaded.fetch_add(1, Ordering::Relaxed);
        (Slot { process: Arc::clone(self), daemon: self.daemon.load(Ordering::Relaxed) }, before)
    }

    pub(crate) fn restart_daemon(&self) {
        self.daemon.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets modelled time pass.
    pub(crate) fn pass(&self, time: Clock) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }

    pub(crate) fn clock(&self) -> Clock {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remark(&self, kind: RemarkKind, program: &str, message: String) {
        self.log().remarks.push(Remark { kind, program: program.into(), message });
    }

    /// Remarks on a rule, once for a program.
    pub(crate) fn remark_on_rule(&self, program: &str, message: String) {
        let mut log = self.log();
        if log.said.insert((program.into(), message.clone())) {
            log.remarks.push(Remark { kind: RemarkKind::Rule, program: program.into(), message });
        }
    }

    pub(crate) fn take_remarks(&self) -> Vec<Remark> {
        std::mem::take(&mut self.log().remarks)
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        // A log is good however far its writer came.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A loaded program's slot, free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    process: Arc<Process>,
    daemon: u64,
}

impl Slot {
    /// False once the daemon that loaded the program is gone.
    pub(crate) fn is_loaded(&self) -> bool {
        self.daemon == self.process.daemon.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.process.loaded.fetch_sub(1, Ordering::Relaxed);
    }
}
