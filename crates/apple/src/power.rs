//! What the machine draws, as macOS's `powermetrics` says.
#![allow(unsafe_code, reason = "each block says why it is sound")]

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::process::held;

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

/// Adds up what the machine draws from its start on.
pub struct PowerMeter {
    child: Child,
    reading: Arc<Mutex<Reading>>,
}

#[derive(Debug, Default)]
struct Reading {
    /// Since it was last taken.
    energy: Energy,
    /// A sample has come.
    is_sampled: bool,
    /// What was said at the end, if it has come.
    ended: Option<String>,
}

impl PowerMeter {
    /// Starts `powermetrics`, which only root may: as root, or by `sudo`, which is told to ask nobody for a password. Where that
    /// is not allowed, taking the energy tells so.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> io::Result<Self> {
        let mut command = if is_root() {
            Command::new("powermetrics")
        } else {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "powermetrics"]);
            sudo
        };
        command.args(["--samplers", "cpu_power,gpu_power,ane_power", "--sample-rate", "1000"]);
        Self::read(command)
    }

    /// A meter that reads what `command` prints.
    fn read(mut command: Command) -> io::Result<Self> {
        let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn()?;
        let (lines, complaints) = (child.stdout.take(), child.stderr.take());
        let reading = Arc::<Mutex<Reading>>::default();
        let read = Arc::clone(&reading);
        thread::spawn(move || {
            let mut elapsed = 0.0;
            let lines = lines.map(BufReader::new);
            for line in lines.into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
                let mut reading = held(&read);
                reading.energy.add(&line, &mut elapsed);
                reading.is_sampled |= elapsed > 0.0;
            }
            let said = complaints.and_then(|complaints| io::read_to_string(complaints).ok());
            held(&read).ended = Some(said.unwrap_or_default().trim().to_owned());
        });
        Ok(Self { child, reading })
    }

    /// What was drawn since this was last called, in whole samples of a second.
    ///
    /// # Errors
    /// Why nothing was ever measured.
    pub fn take(&self) -> Result<Energy, String> {
        let mut reading = held(&self.reading);
        match &reading.ended {
            _ if reading.is_sampled => Ok(std::mem::take(&mut reading.energy)),
            Some(said) => Err(format!(
                "powermetrics ended at once ({said}): run as root, or let sudo start it without a password"
            )),
            None => Err("powermetrics had no sample yet, of which it has one a second".to_owned()),
        }
    }
}

impl Drop for PowerMeter {
    fn drop(&mut self) {
        // One of root's, started by another's user, cannot be ended, but ends when nobody reads what it prints.
        let _ = self.child.kill();
    }
}

fn is_root() -> bool {
    unsafe extern "C" {
        fn geteuid() -> u32;
    }
    // SAFETY: it takes nothing and cannot fail.
    unsafe { geteuid() == 0 }
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

    /// A meter that has read all that `script` prints.
    fn read(script: &str) -> PowerMeter {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        let meter = PowerMeter::read(shell).unwrap();
        while held(&meter.reading).ended.is_none() {
            thread::yield_now();
        }
        meter
    }

    #[test]
    fn each_sample_counts_for_its_time_and_once() {
        let meter = read(&format!("cat <<'END'\n{SAMPLES}END"));
        assert_eq!(meter.take(), Ok(Energy { ane: 2.0, cpu: 2.5, gpu: 0.04, seconds: 3.0 }));
        assert_eq!(meter.take(), Ok(Energy::default()));
    }

    #[test]
    fn what_was_not_measured_has_a_reason() {
        let refused = read("echo 'sudo: a password is required' >&2; exit 1").take().unwrap_err();
        assert!(refused.contains("(sudo: a password is required): run as root"), "{refused}");
        let mut shell = Command::new("sh");
        shell.args(["-c", "read -r never"]).stdin(Stdio::null());
        let quiet = PowerMeter { child: shell.spawn().unwrap(), reading: Arc::default() };
        assert!(quiet.take().unwrap_err().contains("no sample yet"));
        PowerMeter::read(Command::new("/no/such/powermetrics")).err().unwrap();
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
