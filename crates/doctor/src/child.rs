//! A probe in a process of its own, which may crash or never end.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::Verdict;

/// What a child prints before its verdict, in case a library prints something too.
const MARK: &str = "ferrane-doctor-verdict ";

/// The line by which a child tells its verdict, on its standard output.
///
/// # Errors
/// When the verdict cannot be written as JSON, which is a defect.
pub fn told(verdict: &Verdict) -> Result<String, serde_json::Error> {
    Ok(format!("{MARK}{}", serde_json::to_string(verdict)?))
}

/// Runs `command`, which is to run one probe and print [`told`], and ends it after `limit`.
///
/// A process that cannot even be killed, as one that waits in a wedged driver, is left behind.
pub fn run(mut command: Command, limit: Duration) -> Verdict {
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return Verdict::Died(format!("its process could not be started: {error}")),
    };
    // The child's standard input stays open and empty for as long as it lives.
    let input = child.stdin.take();
    let said = read(&mut child);
    let verdict = match said.recv_timeout(limit) {
        Ok((verdict, complaint)) => verdict.unwrap_or_else(|| Verdict::Died(end(child, &complaint))),
        Err(_) => {
            // What cannot be killed is past helping, and so is what is gone.
            let _ = child.kill();
            reap(child);
            Verdict::TimedOut { seconds: limit.as_secs() }
        }
    };
    drop(input);
    verdict
}

/// The verdict of a child and the last line of its complaints, once it closes its outputs.
fn read(child: &mut Child) -> mpsc::Receiver<(Option<Verdict>, String)> {
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (send, said) = mpsc::channel();
    thread::spawn(move || {
        let errors = thread::spawn(move || {
            let mut text = String::new();
            // What cannot be read was not said.
            let _ = errors.map(|mut errors| errors.read_to_string(&mut text));
            text.lines().last().unwrap_or_default().to_owned()
        });
        let lines =
            output.into_iter().flat_map(|output| BufReader::new(output).lines().map_while(Result::ok));
        let verdict = lines.filter_map(|line| serde_json::from_str(line.strip_prefix(MARK)?).ok()).last();
        let complaint = errors.join().unwrap_or_default();
        // Nobody listens any more after the time-out.
        let _ = send.send((verdict, complaint));
    });
    said
}

/// How a child ended that has closed its outputs without a verdict.
fn end(mut child: Child, complaint: &str) -> String {
    // Closing its outputs was its last act, or else it hangs on its way out.
    let _ = child.kill();
    let status = reap(child).recv_timeout(Duration::from_secs(5));
    let status = status.map_or_else(|_| "it hangs".to_owned(), |status: ExitStatus| status.to_string());
    if complaint.is_empty() { status } else { format!("{status}: {complaint}") }
}

/// Waits for a child elsewhere, for that may take for ever.
fn reap(mut child: Child) -> mpsc::Receiver<ExitStatus> {
    let (send, ended) = mpsc::channel();
    thread::spawn(move || child.wait().map(|status| send.send(status)));
    ended
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::Found;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_child_that_tells_is_heard_whatever_else_it_says() {
        let verdict = Verdict::Found(Found::default().flag("ports.alphabetical", true).note("it's so"));
        let line = told(&verdict).unwrap().replace('\'', "'\\''");
        assert_eq!(run(shell(&format!("echo noise; echo '{line}'; echo more")), LONG), verdict);
        // Even if it dies on its way out.
        assert_eq!(run(shell(&format!("echo '{line}'; kill -SEGV $$")), LONG), verdict);
    }

    #[test]
    fn a_child_that_hangs_is_ended() {
        // `cat` reads an input that never ends.
        let verdict = run(shell("exec cat"), Duration::from_millis(1));
        assert_eq!(verdict, Verdict::TimedOut { seconds: 0 });
    }

    #[test]
    fn a_child_that_crashes_is_told_of() {
        let Verdict::Died(how) = run(shell("echo it breaks >&2; kill -SEGV $$"), LONG) else { panic!() };
        assert!(how.contains("signal: 11") && how.contains("it breaks"), "{how}");
        let Verdict::Died(how) = run(shell("exit 3"), LONG) else { panic!() };
        assert!(how.contains("exit status: 3"), "{how}");
        let Verdict::Died(how) = run(Command::new("/nonexistent/program"), LONG) else { panic!() };
        assert!(how.contains("could not be started"), "{how}");
    }
}
