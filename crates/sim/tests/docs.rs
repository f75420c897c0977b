//! `docs/simulator.md` says of every rule what the simulator does. Its table is made here, so that it cannot go stale:
//! `FERRANE_BLESS=1 cargo test -p ferrane-sim --test docs` writes it.

use std::fmt::Write as _;
use std::path::Path;

use ferrane_engine::legality::{Certainty, Rule, rules};
use ferrane_engine::{Effect, Profile};
use ferrane_mil::diagnostic::Severity;
use ferrane_sim::faults::Fault;

const BEGIN: &str = "<!-- rules: made by crates/sim/tests/docs.rs -->\n";
const END: &str = "<!-- end of rules -->\n";

fn page() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulator.md")
}

/// What the simulator does where a rule that holds is broken.
fn reaction(rule: &Rule) -> &'static str {
    match (rule.id.as_str(), rule.effect, rule.severity()) {
        ("slots", ..) => "load fails: 0x50004",
        ("reload-ignored" | "data-ignored", ..) => "keeps the old weights, silently",
        ("port-order", ..) => "binds so, remarks",
        (
            "sdpa-mask"
            | "sdpa-mask-planes"
            | "sdpa-extent"
            | "transposed-products"
            | "slice-of-width"
            | "concat-of-width-slices",
            ..,
        ) => "computes so, remarks",
        ("int8-activations" | "gather-index" | "fp8-codes", ..) => "computes so",
        ("softplus-range" | "round-range", ..) => "computes so with `--numerics faithful`",
        ("port-sizes", ..) => "evaluation fails: 0x1d, when surfaces do differ",
        ("tile-poisons-process", ..) => "every later evaluation fails: 0x1d",
        (_, _, Severity::Note) => "nothing; `mil check` has a note",
        (_, Effect::RefuseText, _) => "`InvalidMILProgram`",
        (_, Effect::RefuseCompile, _) => "`ANECCompile() FAILED`",
        (_, Effect::Crash, _) => "the compile service crashes",
        (_, Effect::FailLoad, _) => "load fails: 0x20004",
        (_, Effect::FailEvaluate, _) => "evaluation fails: 0x1d",
        (_, Effect::Silent | Effect::Slow, _) => "remarks",
    }
}

fn confidence(rule: &Rule) -> &'static str {
    match rule.confidence {
        Certainty::High => "high",
        Certainty::Medium => "medium",
        Certainty::Low => "low",
        Certainty::Contradicted => "contradicted",
    }
}

/// `m1, m1-max …` as people say it.
fn chips(rule: &Rule) -> String {
    let neural: Vec<&str> = Profile::names().filter(|name| *name != "cpu").collect();
    match rule.chips() {
        none if none.is_empty() => "none".to_owned(),
        all if all == neural => "all".to_owned(),
        some => some.join(", "),
    }
}

fn table() -> String {
    let mut text =
        "| rule | what | when broken | holds on | confidence and sources |\n|---|---|---|---|---|\n"
            .to_owned();
    for rule in rules().unwrap() {
        let (id, what, sources) = (&rule.id, &rule.what, &rule.sources);
        let (reaction, chips, confidence) = (reaction(rule), chips(rule), confidence(rule));
        writeln!(text, "| `{id}` | {what} | {reaction} | {chips} | {confidence}: {sources} |").unwrap();
    }
    text
}

#[test]
fn the_page_has_every_rule_as_it_is() {
    let page = page();
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the table's beginning");
    let (written, after) = rest.split_once(END).expect("and its end");
    if std::env::var_os("FERRANE_BLESS").is_some() {
        std::fs::write(&page, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert!(
        written == table(),
        "docs/simulator.md is stale; FERRANE_BLESS=1 cargo test -p ferrane-sim --test docs"
    );
}

#[test]
fn the_page_names_every_quirk_without_a_rule_and_every_fault() {
    let text = std::fs::read_to_string(page()).unwrap();
    for chip in Profile::names() {
        for quirk in Profile::built_in(chip).unwrap().quirks.keys() {
            let has_rule = rules().unwrap().iter().any(|rule| rule.quirk.as_ref() == Some(quirk));
            assert!(has_rule || text.contains(&format!("`{quirk}`")), "{chip}: nothing is said of {quirk}");
        }
    }
    for fault in Fault::ALL {
        assert!(text.contains(&format!("| `{}` |", fault.name())), "{fault:?}");
    }
}
