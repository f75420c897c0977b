//! What the machine draws, as macOS's `powermetrics` says.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Energy of the parts of a chip, in joules, over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energy {
    /// Of the Neural Engine.
    pub ane: f64,
    /// Of the processors.
    pub cpu: f64,
    /// Of the graphics unit.
    pub gpu: f64,
    /// The time, in seconds.
    pub seconds: f64,
}

impl Energy {
    /// Takes in a line. `elapsed` is the time of the sample that it is of, in seconds.
    fn add(&mut self, line: &str, elapsed: &mut f64) {
        if let Some(milliseconds) = heading(line) {
            *elapsed = milliseconds / 1e3;
            self.seconds += *elapsed;
        } else if let Some((part, milliwatts)) = power(line) {
            let joules = milliwatts / 1e3 * *elapsed;
            match part {
                "ANE" => self.ane += joules,
                "CPU" => self.cpu += joules,
                "GPU" => self.gpu += joules,
                _ => {}
            }
        }
    }
}

/// The milliseconds of a sample: `*** Sampled system activity (…) (1003.17ms elapsed) ***`.
fn heading(line: &str) -> Option<f64> {
    let before = line.strip_prefix("*** Sampled system activity")?.split_once("ms elapsed")?.0;
    before.rsplit_once('(')?.1.parse().ok()
}

/// A part and its milliwatts: `ANE Power: 1234 mW`.
fn power(line: &str) -> Option<(&str, f64)> {
    let (part, power) = line.trim().split_once(" Power: ")?;
    Some((part, power.strip_suffix(" mW")?.parse().ok()?))
}

/// Adds up what the machine draws from its start to its end.
pub struct PowerMeter {
    child: Child,
    stop: Arc<AtomicBool>,
    reader: JoinHandle<Energy>,
}

impl PowerMeter {
    /// Starts `powermetrics`, which only root may: as root, or where `sudo` asks for no password. Otherwise, and where it cannot be
    /// started, there is no meter; nobody is asked for anything.
    pub fn start() -> Option<Self> {
        let arguments = ["--samplers", "cpu_power,gpu_power,ane_power", "--sample-rate", "1000"];
        if !cfg!(target_os = "macos") {
            return None;
        }
        let mut command = if is_root() {
            Command::new("powermetrics")
        } else if asks_for_no_password() {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "powermetrics"]);
            sudo
        } else {
            return None;
        };
        command.args(arguments);
        Self::read(command).ok()
    }

    /// A meter that reads what `command` prints.
    fn read(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let lines = child.stdout.take().map(BufReader::new);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let reader = thread::spawn(move || {
            let (mut energy, mut elapsed) = (Energy::default(), 0.0);
            for line in lines.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                energy.add(&line, &mut elapsed);
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
            energy
        });
        Ok(Self { child, stop, reader })
    }

    /// Ends it, within a sample's second, and says what was drawn.
    pub fn stop(mut self) -> Energy {
        self.stop.store(true, Ordering::Relaxed);
        // A process of root's cannot be ended by another's user, but it ends when nobody reads what it prints.
        let energy = self.reader.join().unwrap_or_default();
        let _ = self.child.wait();
        energy
    }
}

fn is_root() -> bool {
    unsafe extern "C" {
        fn geteuid() -> u32;
    }
    // SAFETY: it takes nothing and cannot fail.
    unsafe { geteuid() == 0 }
}

/// `-n` makes sudo fail where it would ask.
fn asks_for_no_password() -> bool {
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sudo.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of the form that published tools read, with others around them.
    const SAMPLES: &str = "\
Machine model: Mac16,10
*** Sampled system activity (Thu Nov  5 10:00:00 2026 +0100) (1000.00ms elapsed) ***

**** Processor usage ****

E-Cluster Online: 100%
CPU 0 frequency: 1020 MHz
CPU Power: 1500 mW
GPU Power: 20 mW
ANE Power: 2000 mW
Combined Power (CPU + GPU + ANE): 3520 mW

*** Sampled system activity (Thu Nov  5 10:00:02 2026 +0100) (2000.00ms elapsed) ***

CPU Power: 500 mW
GPU Power: 10 mW
ANE Power: 0 mW
Combined Power (CPU + GPU + ANE): 510 mW
";

    #[test]
    fn each_sample_counts_for_its_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), SAMPLES).unwrap();
        let mut command = Command::new("cat");
        command.arg(file.path());
        let meter = PowerMeter::read(command).unwrap();
        // All of it is read before the end is asked for.
        while !meter.reader.is_finished() {
            thread::yield_now();
        }
        let energy = meter.stop();
        assert_eq!(energy, Energy { ane: 2.0, cpu: 2.5, gpu: 0.04, seconds: 3.0 });
    }

    #[test]
    fn lines_that_say_something_else_are_passed_over() {
        for line in
            ["", "ANE Power: - mW", "Power: 5 mW", "ANE Power: 5 W", "*** Sampled system activity (x) ***"]
        {
            let (mut energy, mut elapsed) = (Energy::default(), 1.0);
            energy.add(line, &mut elapsed);
            assert_eq!((energy, elapsed), (Energy::default(), 1.0), "{line}");
        }
    }
}
