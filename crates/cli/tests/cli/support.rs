//! Runs the binary on runs small enough for tests.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a tiny model's settings and data, and the binary to run on them.
pub(crate) struct Bench {
    folder: TempDir,
}

/// Two layers, grouped queries, a vocabulary of 300: a step takes milliseconds.
pub(crate) const TINY: &str = r#"
data = "text.txt"
steps = 12
micro-batches = 2
batch-size = 2
seq = 32
lr = 0.01
warmup = 3
checkpoint-every = 4
keep = 2
engine = "cpu"

[shape]
dim = 32
hidden = 48
layers = 2
heads = 4
kv-heads = 2
vocab = 300
max-seq = 64
"#;

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let sentences =
            (0..400).map(|i| format!("The {} fox met a {} bear. ", WORDS[i % 7], WORDS[i * i % 11 % 7]));
        bench.write("text.txt", sentences.collect::<String>().as_bytes());
        bench.write("tiny.toml", TINY.as_bytes());
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ferrane"));
        command.args(line.split_whitespace()).current_dir(self.folder.path()).env_remove("NO_COLOR");
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, line: &str) -> Finished {
        Finished::from(self.command(line).output().unwrap())
    }

    /// Runs to the end and requires success.
    pub(crate) fn ok(&self, line: &str) -> Finished {
        let finished = self.run(line);
        assert_eq!(finished.code, Some(0), "{line}\n{}", finished.stderr);
        finished
    }

    /// Starts a run whose events can be waited for.
    pub(crate) fn start(&self, line: &str) -> Running {
        let mut child =
            self.command(line).arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        let errors = BufReader::new(child.stderr.take().unwrap());
        Running { child, events, errors }
    }

    /// Every block of a page of `docs` that shows a command shows what it prints, and every picture what it draws. With
    /// `UPDATE_DOCS` set, the page is brought up to date in place of being checked.
    pub(crate) fn check_page(&self, name: &str, pictures: &[&str]) {
        const BLOCK: &str = "```text\n$ ferrane ";
        let page = std::fs::read_to_string(docs().join(name)).unwrap();
        let mut shown = String::new();
        let mut rest = page.as_str();
        while let Some(start) = rest.find(BLOCK) {
            let (before, block) = rest.split_at(start + BLOCK.len());
            let (line, after) = block.split_once('\n').unwrap();
            shown.push_str(before);
            shown.push_str(&format!("{line}\n{}", self.ok(line).stdout));
            rest = &after[after.find("```\n").unwrap()..];
        }
        shown.push_str(rest);
        check_doc(name, shown.as_bytes());
        pictures.iter().for_each(|picture| check_doc(picture, &self.read(&format!("docs/{picture}"))));
    }

    /// The step numbers of a run's metrics.
    pub(crate) fn steps(&self, run: &str) -> Vec<u64> {
        let lines = self.text(&format!("{run}/metrics.jsonl"));
        lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64().unwrap())
            .collect()
    }

    /// Names in a folder, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }
}

pub(crate) fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// A file of `docs` holds this; with `UPDATE_DOCS` set, it is made to.
pub(crate) fn check_doc(name: &str, expected: &[u8]) {
    let path = docs().join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, expected).unwrap();
    } else {
        let same = std::fs::read(path).unwrap() == expected;
        assert!(same, "docs/{name} is out of date: run this test with UPDATE_DOCS=1");
    }
}

const WORDS: [&str; 7] = ["red", "small", "kind", "brave", "sleepy", "old", "quick"];

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a finished process said.
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A training process. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    events: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl Running {
    /// Reads events until one of this kind at this step or later; says whether there was one before the end.
    pub(crate) fn wait_for(&mut self, kind: &str, step: u64) -> bool {
        let mut line = String::new();
        while self.events.read_line(&mut line).unwrap() > 0 {
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == kind && event["step"].as_u64().unwrap_or(0) >= step {
                return true;
            }
            line.clear();
        }
        false
    }

    /// Reads stderr until a line has this in it; says whether there was one before the end.
    pub(crate) fn wait_for_words(&mut self, words: &str) -> bool {
        let mut line = String::new();
        while self.errors.read_line(&mut line).unwrap() > 0 {
            if line.contains(words) {
                return true;
            }
            line.clear();
        }
        false
    }

    /// SIGKILL once the event has come: nothing of the process runs any more. It may have gone a few steps further, or
    /// to its end, so what is true afterwards must be true whenever a kill comes.
    pub(crate) fn kill_after(mut self, kind: &str, step: u64) {
        self.wait_for(kind, step);
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGINT, as Ctrl-C sends it.
    pub(crate) fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for the end; the remaining events are read so that the process is not held up.
    pub(crate) fn end(mut self) -> ExitStatus {
        std::io::copy(&mut self.events, &mut std::io::sink()).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
