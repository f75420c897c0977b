//! What was found, as a text to paste into an issue.

use std::fmt::Write as _;

use ferrane_engine::{Figure, Profile};
use toml::Value;

use crate::finding::{Finding, Verdict};
use crate::profile::{agrees, shown};
use crate::{Examination, Examined, Machine, NoMachine};

/// A report in Markdown: the machine, what was examined, and for each probe what it found and which sources that agrees with
/// or contradicts. `base` is the profile that it is compared with, `title` the engine's.
pub fn report(
    machine: &Result<Machine, NoMachine>,
    title: &str,
    base: &Profile,
    examination: &Examination,
) -> String {
    let mut text = format!("# ferrane doctor {}\n\n", env!("CARGO_PKG_VERSION"));
    // Writing to a string does not fail.
    let _ = writeln!(text, "- engine: {title}\n- compared with: profile {base}\n{}", of_machine(machine));
    let of = |met: fn(&Verdict) -> bool| examination.examined.iter().filter(|e| met(&e.verdict)).count();
    let (found, lost) =
        (of(|v| v.found().is_some()), of(|v| matches!(v, Verdict::TimedOut { .. } | Verdict::Died(_))));
    let all = examination.examined.len();
    let _ = writeln!(text, "{all} probes: {found} answered, {} unclear, {lost} lost\n", all - found - lost);
    let contradicting: Vec<String> = examination
        .findings()
        .filter(|finding| compared(finding, base).contradicts)
        .map(|finding| format!("`{}`", finding.key))
        .collect();
    let _ = match &contradicting[..] {
        [] => writeln!(text, "Nothing contradicts the profile.\n"),
        keys => writeln!(text, "These contradict the profile: {}\n", keys.join(", ")),
    };
    for examined in &examination.examined {
        text += &of_probe(examined, base);
    }
    text
}

fn of_machine(machine: &Result<Machine, NoMachine>) -> String {
    let machine = match machine {
        Ok(machine) => machine,
        Err(why) => return format!("- machine: {why}\n"),
    };
    let gib = machine.memory as f64 / (1u64 << 30) as f64;
    let subtype = machine.ane_subtype.as_deref().unwrap_or("unknown");
    let mut text =
        format!("- machine: {}, {gib:.0} GiB, {}, engine {subtype}\n", machine.chip, machine.macos);
    for (name, there) in &machine.framework {
        let _ = writeln!(text, "- `{name}`: {}", if *there { "there" } else { "**missing**" });
    }
    text
}

fn of_probe(examined: &Examined, base: &Profile) -> String {
    let mut text = format!("## {}: {}\n\n", examined.title(), examined.probe.question);
    match &examined.verdict {
        Verdict::Unclear(why) => {
            let _ = writeln!(text, "Unclear: {why}");
        }
        Verdict::TimedOut { seconds } => {
            let _ = writeln!(text, "**Lost**: it did not end within {seconds} s.");
        }
        Verdict::Died(how) => {
            let _ = writeln!(text, "**Lost**: its process died ({how}).");
        }
        Verdict::Found(found) => {
            for finding in &found.findings {
                let _ = writeln!(text, "{}", of_finding(finding, base));
            }
            for note in &found.notes {
                let _ = writeln!(text, "- note: {note}");
            }
        }
    }
    text + "\n"
}

fn of_finding(finding: &Finding, base: &Profile) -> String {
    format!("- `{}` = **{}**; {}", finding.key, finding.shown(), compared(finding, base).words)
}

/// A finding beside what was published.
struct Compared {
    contradicts: bool,
    words: String,
}

/// Which sources a finding agrees with, and which it contradicts.
fn compared(finding: &Finding, base: &Profile) -> Compared {
    if let Some(figure) = base.figure(&finding.key) {
        return of_figure(finding, figure);
    }
    let threshold = finding.key.strip_prefix("quirks.").and_then(|key| key.strip_suffix(".threshold"));
    let published = threshold.and_then(|name| base.quirks.get(name)?.threshold);
    let contradicts = published.is_some_and(|published| !agrees(finding, &Value::Float(published)));
    let words = match published {
        Some(published) if contradicts => format!("**published is {published}**"),
        Some(_) => "as published".into(),
        None => "nothing is published for this chip".into(),
    };
    Compared { contradicts, words }
}

fn of_figure(finding: &Finding, figure: &Figure<Value>) -> Compared {
    let (source, other) = (&figure.source, figure.contradicted_by.as_deref());
    let (said, contradicts) = (shown(&figure.value), !agrees(finding, &figure.value));
    let words = match (contradicts, other) {
        (false, None) => format!("agrees with {source}"),
        (false, Some(other)) => format!("agrees with {source}; contradicts {other}"),
        (true, None) => format!("**contradicts** {source}: {said}"),
        (true, Some(other)) => {
            format!("**contradicts** {source}: {said}; compare with what others say: {other}")
        }
    };
    Compared { contradicts, words }
}
