//! On a simulated engine the doctor measures the profile that the simulation follows, without having seen it.

use std::sync::Arc;

use ferrane_doctor::{
    Dialect, Examination, Finding, Measured, NoMeter, Probe, Sharpness, examine, measured_profile, probe,
    probes,
};
use ferrane_engine::{
    Clock, Confidence, Engine, EngineError, Kernel, Port, Profile, Surface, SurfaceError, Usage, WeightFiles,
};
use ferrane_mil::Verified;
use ferrane_sim::{Numerics, SimEngine};
use toml::Value;

/// An engine that tells nobody its profile.
struct Blind(SimEngine);

impl Engine for Blind {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn profile(&self) -> &Profile {
        panic!("a probe looked at the profile")
    }

    fn surface(&self, port: &Port, allocation: usize) -> Result<Surface, SurfaceError> {
        self.0.surface(port, allocation)
    }

    fn compile(&self, program: &Verified, weights: &WeightFiles) -> Result<Box<dyn Kernel>, EngineError> {
        self.0.compile(program, weights)
    }

    fn usage(&self) -> Usage {
        panic!("a probe looked at what is left")
    }

    fn clock(&self) -> Option<Clock> {
        self.0.clock()
    }
}

/// Examines a simulation of `profile`, every probe in a process of its own as far as the simulation can tell.
fn examination(profile: &Profile, probes: &[&'static Probe]) -> Examination {
    let run = |probe: &'static Probe, dialect: Dialect, _door| {
        let numerics = if probe.ignores_results { Numerics::Skipped } else { Numerics::Faithful };
        let sim = SimEngine::new(profile.clone(), 2).with_numerics(numerics);
        probe.run(Arc::new(Blind(sim)), dialect, &NoMeter)
    };
    examine(probes, None, run, |_| {})
}

fn all() -> Vec<&'static Probe> {
    probes().iter().filter(|probe| !probe.is_long).collect()
}

fn chips() -> impl Iterator<Item = &'static str> {
    Profile::names().filter(|name| *name != "cpu")
}

/// What a profile says of a key, thresholds of quirks included.
fn said_of(profile: &Profile, key: &str) -> Option<Value> {
    match key.strip_prefix("quirks.").and_then(|key| key.strip_suffix(".threshold")) {
        Some(quirk) => profile.quirks.get(quirk)?.threshold.map(Value::Float),
        None => profile.figure(key).map(|figure| figure.value.clone()),
    }
}

/// What the simulation has no figure for, but predicts from those it has: how far it may be off. What is drawn at full load
/// is that of a program that is almost one.
const PREDICTED: &[(&str, f64)] = &[
    ("speed.fp16_tflops", 0.08),
    ("speed.narrow_tflops", 0.12),
    ("speed.matmul_tflops", 0.05),
    ("speed.int8_tops", 0.06),
    ("power.fp16_w", 0.07),
    ("power.int8_w", 0.07),
];

/// Products of which only the rate was published, and not the size.
const OF_NO_SIZE: &[&str] = &["m1", "m1-max", "m2-pro", "m5", "m5-pro"];

/// What faithful arithmetic does whatever a profile says of it: its tables are those of a generation.
const OF_THE_TABLES: &[&str] = &["quirks.round-1024.holds", "quirks.softplus-zero.holds"];

/// Whether a finding is what the simulation of a profile should show. A quirk that a profile does not name does not hold.
fn is(finding: &Finding, said: Option<&Value>) -> bool {
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|n| n as f64));
    match (&finding.value, said) {
        // What no rule is known of is simulated as what is best known.
        (Measured::Name(found), Some(Value::String(said))) if said == "tiles" => found == "fixed16",
        (Measured::Flag(found), said) => *found == said.and_then(Value::as_bool).unwrap_or(false),
        (Measured::Name(found), Some(said)) => said.as_str() == Some(found),
        (Measured::Version(major, minor), Some(said)) => {
            let version = [major, minor].map(|n| Value::Integer(i64::from(*n)));
            said.as_array().is_some_and(|said| said[..] == version)
        }
        (Measured::Count(_) | Measured::Number(_), Some(said)) => {
            let (found, said) = (finding.value.as_number().unwrap(), number(said).unwrap());
            match finding.sharpness {
                Sharpness::Exact => found == said,
                Sharpness::AtLeast => found <= said,
                Sharpness::UpTo(most) => (found..=most).contains(&said),
                Sharpness::Timed => (found / said - 1.0).abs() < within(&finding.key),
            }
        }
        // Not every chip's peaks were published.
        (_, None) => PREDICTED.iter().any(|(key, _)| *key == finding.key),
    }
}

/// How far a timed value may be from the profile's.
fn within(key: &str) -> f64 {
    PREDICTED.iter().find(|(predicted, _)| *predicted == key).map_or(0.02, |(_, within)| *within)
}

/// What every chip's simulation shows.
const ALWAYS: &[&str] = &[
    "compile.program_ms",
    "cost.elementwise_gps",
    "cost.half_width",
    "cost.mac_tflops",
    "cost.reduction_gps",
    "dialect.opset",
    "dialect.version",
    "limits.compiles",
    "limits.max_channels",
    "limits.max_extent",
    "limits.max_kernel_height",
    "limits.max_kernel_width",
    "limits.max_rank",
    "limits.max_transpose",
    "limits.min_input_width",
    "limits.slots",
    "ports.alphabetical",
    "ports.equal_allocation",
    "ports.runtime_conv_weights",
    "numerics.accumulator",
    "numerics.accumulator_limit",
    "numerics.ties_away",
    "power.active_w",
    "power.fp16_w",
    "quirks.cast-io.holds",
    "quirks.combined-weight-file.holds",
    "quirks.concat-refused.holds",
    "quirks.conv-32k-inputs.holds",
    "quirks.conv-32k-inputs.threshold",
    "quirks.conv-bias.holds",
    "quirks.data-file-ignored.holds",
    "quirks.gather-index.holds",
    "quirks.gather-index.threshold",
    "quirks.gelu-without-mode.holds",
    "quirks.int8-activation-limit.holds",
    "quirks.int8-activation-limit.threshold",
    "quirks.int8-weights-fold.holds",
    "quirks.matmul-inline-transpose.holds",
    "quirks.matmul-refused.holds",
    "quirks.multiple-inputs.holds",
    "quirks.round-1024.holds",
    "quirks.rsqrt-after-reduce.holds",
    "quirks.slice-scale.holds",
    "quirks.softmax-power-of-two.holds",
    "quirks.softplus-zero.holds",
    "quirks.tile-poisons.holds",
    "quirks.topk.holds",
    "quirks.weight-file-ignored.holds",
    "speed.activations_gbs",
    "speed.dispatch_us",
    "speed.fp16_tflops",
    "speed.matmul_tflops",
    "speed.narrow_tflops",
    "speed.weights_gbs",
    "speed.working_set_mb",
];

#[test]
fn every_profile_is_measured_back() {
    for chip in chips() {
        let profile = Profile::built_in(chip).unwrap();
        let examination = examination(&profile, &all());
        let mut found: Vec<&str> = examination.findings().map(|finding| finding.key.as_str()).collect();
        let said = |finding: &&Finding| said_of(&profile, &finding.key);
        let told = |finding: &&Finding| finding.key != "speed.matmul_tflops" || !OF_NO_SIZE.contains(&chip);
        let wrong =
            examination.findings().filter(told).filter(|finding| !is(finding, said(finding).as_ref()));
        let wrong: Vec<String> =
            wrong.map(|finding| format!("{finding}, not {:?}", said(&finding))).collect();
        assert!(wrong.is_empty(), "{chip}: {wrong:#?}");
        found.sort_unstable();
        for key in ALWAYS {
            let why = || examination.examined.iter().map(|e| format!("\n{}: {:?}", e.probe.name, e.verdict));
            assert!(found.binary_search(key).is_ok(), "{chip}: no {key}{}", why().collect::<String>());
        }
        assert!(
            found.windows(2).all(|pair| pair[0] != pair[1]),
            "{chip}: something is found twice: {found:?}"
        );

        let text = format!("name = \"x\"\nextends = \"{chip}\"\n");
        let text = measured_profile(&text, &profile, "mine", "a test", &examination).unwrap();
        let measured = Profile::parse("mine", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(measured.name, "mine");
        for key in ALWAYS.iter().filter(|key| profile.figure(key).is_some()) {
            let (figure, same) =
                (measured.figure(key).unwrap(), said_of(&measured, key) == said_of(&profile, key));
            assert_eq!(figure.confidence, Confidence::Measured, "{chip} {key}");
            assert!(!same || figure.contradicted_by.is_none(), "{chip} {key}: {figure:?}");
            assert!(figure.source.starts_with("a test"), "{chip} {key}: {}", figure.source);
        }
    }
}

/// The profile of `chip` with one figure changed.
fn changed(chip: &str, key: &str, value: &Value) -> Profile {
    let (table, name) = key.rsplit_once('.').unwrap();
    let figure = match name {
        "threshold" => value.to_string(),
        _ => format!("{{ value = {value}, source = \"a test\", confidence = \"exact\" }}"),
    };
    let text = format!(
        "name = \"changed\"\ntitle = \"{key} is {value}\"\nextends = \"{chip}\"\n[{table}]\n{name} = {figure}\n"
    );
    Profile::parse("changed", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Whatever one figure is changed to, the probe that measures it sees.
#[track_caller]
fn assert_sees(chip: &str, probe: &'static Probe, key: &str, value: &Value) {
    let profile = changed(chip, key, value);
    let examination = examination(&profile, &[probe]);
    let finding = examination.finding(key);
    let finding = finding.unwrap_or_else(|| panic!("{key} = {value}: {:?}", examination.examined.last()));
    assert!(finding.sharpness != Sharpness::AtLeast, "{key} = {value}: {finding}");
    assert!(is(finding, Some(value)), "{}: {finding}", profile.title);
}

#[test]
fn every_flag_is_seen_whichever_way_it_stands() {
    let profile = Profile::built_in("m4").unwrap();
    let mut flags = 0;
    for examined in examination(&profile, &all()).examined {
        let findings = examined.verdict.found().map_or(&[][..], |found| &found.findings);
        for Finding { key, value, .. } in findings {
            let is_fixed = OF_THE_TABLES.contains(&key.as_str());
            if let (Measured::Flag(flag), Some(_), false) = (value, profile.figure(key), is_fixed) {
                assert_sees("m4", examined.probe, key, &Value::Boolean(!flag));
                flags += 1;
            }
        }
    }
    assert!(flags > 10, "{flags} flags");
}

#[test]
fn changed_figures_are_seen() {
    let cases: &[(&str, &str, i64)] = &[
        ("width", "limits.min_input_width", 1),
        ("width", "limits.min_input_width", 40),
        ("width", "limits.min_input_width", 16),
        ("slots", "limits.slots", 7),
        ("compiles", "limits.compiles", 60),
        ("compiles", "limits.compiles", 128),
        ("extent", "limits.max_extent", 20_000),
        ("channels", "limits.max_channels", 30_000),
        ("rank", "limits.max_rank", 4),
        ("transpose", "limits.max_transpose", 3_000_000),
        ("argmax", "limits.max_arg_axis", 1000),
        ("kernel-width", "limits.max_kernel_width", 10),
        ("kernel-height", "limits.max_kernel_height", 30),
        ("depth", "limits.max_depth", 100),
        ("weight-bytes", "limits.max_weight_bytes", 600_000_000),
    ];
    for (name, key, value) in cases {
        assert_sees("m4", probe(name).unwrap(), key, &Value::Integer(*value));
    }
    let cases: &[(&str, &str, f64)] = &[
        ("conv-channels", "quirks.conv-32k-inputs.threshold", 20_000.0),
        ("dispatch", "speed.dispatch_us", 150.0),
        ("dispatch", "speed.activations_gbs", 9.0),
        ("dispatch", "cost.elementwise_gps", 44.0),
        ("reductions", "cost.reduction_gps", 33.0),
        ("weights", "speed.weights_gbs", 33.0),
        ("array", "cost.mac_tflops", 5.0),
        ("array", "cost.half_width", 60.0),
        ("int8", "speed.int8_speedup", 1.3),
        ("conv3", "cost.conv3_speedup", 2.2),
        ("working-set", "speed.working_set_mb", 1.0),
        ("working-set", "speed.working_set_mb", 6.0),
        ("power", "power.active_w", 0.5),
        ("power", "power.fp16_w", 9.0),
        ("power", "power.int8_w", 20.0),
        ("compile-time", "compile.program_ms", 20.0),
    ];
    for (name, key, value) in cases {
        assert_sees("m4", probe(name).unwrap(), key, &Value::Float(*value));
    }
}

#[test]
fn quirks_of_one_chip_are_found_on_it_and_written_for_another() {
    let m1 = Profile::built_in("m1").unwrap();
    let examination = examination(&m1, &[probe("topk").unwrap()]);
    // The M4's profile has no such quirk: it is written with what it is about.
    let m4 = Profile::built_in("m4").unwrap();
    let text = "name = \"x\"\nextends = \"m4\"\n";
    let text = measured_profile(text, &m4, "mine", "a test", &examination).unwrap();
    let measured = Profile::parse("mine", &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let quirk = measured.quirk("topk").unwrap();
    assert_eq!((&quirk.what, &quirk.ops), (&m1.quirks["topk"].what, &vec!["topk".to_owned()]));
    assert_eq!(measured.dialect.opset.value.name(), "ios16");
    assert!(measured.dialect.opset.contradicted_by.as_ref().unwrap().contains("ios18"));
}

/// What only a program shows that other quirks let through.
#[test]
fn quirks_that_others_hide_are_found_without_them() {
    let text = "name = \"x\"\ntitle = \"x\"\nextends = \"m5\"\n[quirks.sdpa-mask-ignored]\n\
                holds = { value = false, source = \"a test\", confidence = \"exact\" }\n";
    let profile = Profile::parse("x", text).unwrap();
    let examination = examination(&profile, &[probe("mask").unwrap()]);
    let finding = examination.finding("quirks.sdpa-mask-plane.holds").unwrap();
    assert_eq!(finding.value, Measured::Flag(true));
}

/// What a probe of the M4 tells, in words.
fn notes(name: &str) -> String {
    let m4 = Profile::built_in("m4").unwrap();
    let examination = examination(&m4, &[probe(name).unwrap()]);
    let found = examination.examined.last().unwrap().verdict.found().unwrap();
    found.notes.join("\n")
}

#[test]
fn what_no_profile_has_a_figure_for_is_told_in_words() {
    assert!(notes("refusals").contains("after 16 refusals 103 programs compile"), "{}", notes("refusals"));
    assert!(
        notes("sums").contains("2048 and 255 ones are 2304: added up in more than fp16"),
        "{}",
        notes("sums")
    );
    let by_name = "inputs of unequal sizes: bound by name\noutputs of unequal sizes: bound by name";
    assert_eq!(notes("size-order"), by_name);
    assert_eq!(notes("movement"), "reshape: right\ntranspose: right\npad: right\nreduce_max: right");
    assert!(notes("anecdotes").lines().all(|line| line.ends_with(": right")), "{}", notes("anecdotes"));
    let tables = notes("look-up-tables");
    assert!(tables.contains("a table of 256 values: taken, results right"), "{tables}");
    assert!(tables.contains("one of 512 values: taken, results right"), "{tables}");
}

/// Through the other door go those probes alone whose answer is a door's, and what they find is not the profile's.
#[test]
fn the_other_door_is_asked_what_is_a_doors() {
    let own = Profile::built_in("m4").unwrap();
    let mut other = own.clone();
    other.assume("compile-count").unwrap();
    let run = |probe: &'static Probe, dialect: Dialect, door: Option<&'static str>| {
        let profile = if door.is_some() { &other } else { &own };
        probe.run(Arc::new(Blind(SimEngine::new(profile.clone(), 1))), dialect, &NoMeter)
    };
    let asked = ["width", "compiles", "reload-data"].map(|name| probe(name).unwrap());
    let examination = examine(&asked, Some("the other"), run, |_| {});
    let titles: Vec<String> = examination.examined.iter().map(|examined| examined.title()).collect();
    let expected =
        ["dialect", "width", "compiles", "compiles by the other", "reload-data", "reload-data by the other"];
    assert_eq!(titles, expected);
    let value = |finding: &Finding| (finding.value.clone(), finding.sharpness);
    let limit = |n, sharpness| (Measured::Count(n), sharpness);
    assert_eq!(value(examination.finding("limits.compiles").unwrap()), limit(119, Sharpness::Exact));
    let by_other = &examination.examined[3].verdict.found().unwrap().findings[0];
    assert_eq!(value(by_other), limit(300, Sharpness::AtLeast));
}

#[test]
fn limits_that_are_not_met_are_not_claimed() {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.assume("slots").unwrap();
    profile.assume("compile-count").unwrap();
    let examination = examination(&profile, &["slots", "compiles"].map(|name| probe(name).unwrap()));
    for key in ["limits.slots", "limits.compiles"] {
        let finding = examination.finding(key).unwrap();
        assert_eq!((&finding.value, finding.sharpness), (&Measured::Count(300), Sharpness::AtLeast), "{key}");
    }
}

#[test]
fn an_engine_that_takes_nothing_is_not_taken_for_one_with_many_rules() {
    let mut profile = Profile::built_in("m4").unwrap();
    profile.limits.compiles.as_mut().unwrap().value = 0;
    let examination = examination(&profile, &all());
    assert_eq!(examination.findings().count(), 0);
    for examined in &examination.examined {
        let text = format!("{:?}", examined.verdict);
        assert!(text.contains("plainest program") || text.contains("takes no dialect"), "{text}");
    }
}
