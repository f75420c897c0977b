use ferrane_mil::{text, verify};

use super::*;

fn profile(chip: &str) -> Profile {
    Profile::built_in(chip).unwrap()
}

/// What the rules say of a function with these inputs and statements that returns `y`.
fn say(chip: &str, inputs: &str, statements: &str) -> Vec<(Severity, String)> {
    let source = format!("program(1.3) {{ func main<ios18>({inputs}) {{ {statements} }} -> (y); }}");
    let parsed = text::parse(&source).unwrap_or_else(|e| panic!("{e}"));
    verify(parsed.program.clone()).unwrap_or_else(|e| panic!("{e:#?}"));
    let all = check(&parsed.program, Some(&parsed.source_map), &profile(chip));
    all.iter()
        .map(|d| {
            assert!(d.span().is_some(), "{d}");
            let id = d.message.rsplit_once(" (").unwrap().1.trim_end_matches(')');
            (d.severity, id.to_owned())
        })
        .collect()
}

const X: &str = "tensor<fp16, [1, 64, 1, 64]> x";

fn one(severity: Severity, id: &str) -> Vec<(Severity, String)> {
    vec![(severity, id.into())]
}

#[test]
fn the_rules_are_read_and_their_quirks_are_known() {
    let rules = rules().unwrap();
    let m4 = profile("m4");
    let mut ids = std::collections::HashSet::new();
    for rule in rules {
        assert!(ids.insert(&rule.id), "{} twice", rule.id);
        assert!(!rule.sources.is_empty() && !rule.what.ends_with('.'), "{}", rule.id);
        assert!(rule.explanation().contains(&rule.sources));
        let mut known = Profile::names().map(profile);
        if let Some(quirk) = &rule.quirk {
            assert!(known.any(|p| p.quirks.contains_key(quirk)), "{}: no quirk {quirk}", rule.id);
        }
    }
    assert!(rules.iter().any(|r| r.applies_to(&m4)));
}

#[test]
fn a_clean_program_has_nothing_said_of_it() {
    assert_eq!(say("m4", X, "tensor<fp16, [1, 64, 1, 64]> y = relu(x = x);"), []);
}

#[test]
fn contradicted_rules_are_notes() {
    let concat = "tensor<fp16, [1, 128, 1, 64]> y = concat(values = (x, x), axis = int32(1), interleave = bool(false));";
    let said = say("m4", X, concat);
    assert_eq!(
        said,
        [(Severity::Note, "concat-axis-inline".into()), (Severity::Note, "concat-axis-inline".into())]
    );
}

#[test]
fn sure_rules_are_errors() {
    let x = "tensor<fp16, [1, 64, 1, 70000]> x";
    let said = say("m4", x, "tensor<fp16, [1, 64, 1, 70000]> y = relu(x = x);");
    assert!(said.contains(&(Severity::Error, "extent".into())), "{said:?}");
    let x = "tensor<fp32, [1, 64, 1, 64]> x";
    let said = say("m4", x, "tensor<fp32, [1, 64, 1, 64]> y = relu(x = x);");
    assert_eq!(said, [(Severity::Error, "compute-type".into()), (Severity::Error, "compute-type".into())]);
    assert_eq!(say("cpu", x, "tensor<fp32, [1, 64, 1, 64]> y = relu(x = x);"), []);
}

#[test]
fn fp32_at_the_boundary_is_legal() {
    let x = "tensor<fp32, [1, 64, 1, 64]> x";
    let casts = r#"string half = const()[val = string("fp16")]; string single = const()[val = string("fp32")];
        tensor<fp16, [1, 64, 1, 64]> h = cast(x = x, dtype = half);
        tensor<fp16, [1, 64, 1, 64]> r = relu(x = h);
        tensor<fp32, [1, 64, 1, 64]> y = cast(x = r, dtype = single);"#;
    assert_eq!(say("m4", x, casts), []);
    assert_eq!(say("m1", x, casts).iter().filter(|(_, id)| id == "cast-on-m1").count(), 2);
}

#[test]
fn gelu_needs_its_mode() {
    let said = say("m4", X, "tensor<fp16, [1, 64, 1, 64]> y = gelu(x = x);");
    assert_eq!(said, one(Severity::Error, "gelu-mode-missing"));
}

#[test]
fn narrow_inputs_are_errors_below_the_least_width_of_the_profile() {
    let narrow = |chip: &str, w: usize| {
        let x = format!("tensor<fp16, [1, 64, 1, {w}]> x");
        say(chip, &x, &format!("tensor<fp16, [1, 64, 1, {w}]> y = relu(x = x);"))
    };
    assert_eq!(narrow("m4", 64), []);
    assert_eq!(narrow("m4", 32), one(Severity::Error, "input-width"));
    assert_eq!(narrow("m3-pro", 32), []);
    assert_eq!(narrow("m3-pro", 16), one(Severity::Error, "input-width"));
}

#[test]
fn ports_out_of_order_are_warned_of() {
    let inputs = "tensor<fp16, [1, 64, 1, 64]> x, tensor<fp16, [1, 32, 1, 64]> a";
    let said =
        say("m4", inputs, "tensor<fp16, [1, 96, 1, 64]> y = concat(values = (x, a), axis = int32(1));");
    assert!(said.contains(&(Severity::Warning, "port-order".into())), "{said:?}");
    assert!(said.contains(&(Severity::Note, "port-sizes".into())), "{said:?}");
}

#[test]
fn slices_of_the_width_are_wrong_on_m1_only() {
    let slice = "tensor<int32, [4]> begin = const()[val = tensor<int32, [4]>([0, 0, 0, 32])];
        tensor<int32, [4]> size = const()[val = tensor<int32, [4]>([1, 64, 1, 32])];
        tensor<fp16, [1, 64, 1, 32]> y = slice_by_size(x = x, begin = begin, size = size);";
    assert_eq!(say("m4", X, slice), []);
    assert!(say("m1", X, slice).contains(&(Severity::Warning, "slice-of-width".into())));
}

/// A table has two axes more than the weights it stands for, which have four.
#[test]
fn a_look_up_table_has_no_rank_of_its_own() {
    let table = |ty: &str, shape: &str, name: &str| {
        let ones = vec!["1"; 16].join(", ");
        format!("tensor<{ty}, {shape}> {name} = const()[val = tensor<{ty}, {shape}>([{ones}])]; ")
    };
    let looked_up = table("uint8", "[1, 16, 1, 1]", "i")
        + &table("fp16", "[1, 1, 1, 1, 16, 1]", "l")
        + "tensor<fp16, [1, 16, 1, 1]> w = constexpr_lut_to_dense(indices = i, lut = l); ";
    let x = "tensor<fp16, [1, 16, 1, 64]> x";
    let used = format!("{looked_up} tensor<fp16, [1, 16, 1, 64]> y = mul(x = x, y = w);");
    assert_eq!(say("m4", x, &used), []);
    let computed = format!("{used} tensor<fp16, [1, 1, 1, 1, 16, 1]> z = relu(x = l);");
    assert!(say("m4", x, &computed).contains(&(Severity::Error, "rank".into())));
}

#[test]
fn a_rule_that_is_turned_off_says_nothing() {
    let source = "program(1.3) { func main<ios18>(tensor<fp16, [1, 64, 1, 8]> x) {
        tensor<fp16, [1, 64, 1, 8]> y = gelu(x = x); } -> (y); }";
    let program = text::parse(source).unwrap().program;
    let mut m4 = profile("m4");
    assert_eq!(breaches(&program, &m4).len(), 2);
    m4.assume("gelu-mode-missing-ok").unwrap();
    assert_eq!(
        breaches(&program, &m4).iter().map(|b| b.rule.id.as_str()).collect::<Vec<_>>(),
        ["input-width"]
    );
    m4.assume("input-width").unwrap();
    assert!(breaches(&program, &m4).is_empty());
}

/// Quirks that no rule stands for: nothing in a program or in the interface of engines can meet them, or they are about
/// time alone, which is the cost model's.
const BEYOND_RULES: [&str; 5] =
    ["weights-buffer-ignored", "firmware-chaining", "failed-compiles", "tires", "int8-weights-fold"];

#[test]
fn every_quirk_of_every_profile_has_a_rule_or_a_reason() {
    let linked: Vec<_> = rules().unwrap().iter().filter_map(|rule| rule.quirk.as_deref()).collect();
    for chip in Profile::names() {
        for quirk in profile(chip).quirks.keys() {
            let known = linked.contains(&quirk.as_str()) || BEYOND_RULES.contains(&quirk.as_str());
            assert!(known, "{chip}: nothing acts on the quirk {quirk}");
        }
    }
}
