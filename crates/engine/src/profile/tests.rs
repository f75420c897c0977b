use super::*;

fn built_in(name: &str) -> Profile {
    Profile::built_in(name).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(text: &str) -> String {
    Profile::parse("mine.toml", text).unwrap_err().to_string()
}

#[test]
fn every_built_in_profile_loads_under_its_own_name() {
    for name in Profile::names() {
        assert_eq!(built_in(name).name, name);
    }
}

#[test]
fn every_figure_says_where_it_comes_from_and_how_sure_it_is() {
    for name in Profile::names() {
        let profile = built_in(name);
        assert!(profile.figures().count() >= 14, "{name}");
        for (key, figure) in profile.figures() {
            assert!(!figure.source.is_empty(), "{name} {key}");
            let exact = figure.confidence == Confidence::Exact;
            assert_eq!(exact, name == "cpu", "{name} {key}: only our own engines are known exactly");
        }
    }
}

#[test]
fn figures_are_the_published_ones() {
    let m1 = built_in("m1");
    assert_eq!(m1.dialect.version.value, (1, 0));
    assert_eq!(m1.limits.max_extent.value, 16384);
    assert!(!m1.numerics.ties_away.value);
    assert!(m1.quirk("slice-scale").is_some());
    assert_eq!(m1.speed.dispatch_us.unwrap().value, 220.0);
    let m4 = built_in("m4");
    assert_eq!(m4.compute.value, DType::Fp16);
    assert_eq!((m4.limits.min_input_width.value, m4.limits.slots.value), (64, 119));
    assert_eq!(m4.limits.max_extent.value, 65536);
    assert_eq!(m4.numerics.accumulator.value, AccumulatorKind::Fixed16);
    assert_eq!(m4.speed.int8_tops.as_ref().unwrap().value, 35.1);
    assert_eq!(m4.power.fp16_w.as_ref().unwrap().value, 4.57);
    assert!(m4.quirk("slice-scale").is_none() && m4.quirks.contains_key("slice-scale"));
    assert_eq!(built_in("m3-pro").speed.fp16_tflops.unwrap().value, 16.77);
    assert_eq!(built_in("m5-max").speed.fp16_tflops.unwrap().value, 19.27);
    assert_eq!(built_in("m6").speed.engines.unwrap().value, 2);
}

#[test]
fn what_another_chip_measured_is_carried_over() {
    let (m4, max) = (built_in("m4"), built_in("m4-max"));
    let (measured, carried) = (m4.speed.fp16_tflops.unwrap(), max.speed.fp16_tflops.unwrap());
    assert_eq!(carried.value, measured.value);
    assert_eq!(carried.confidence, Confidence::Extrapolated);
    assert_eq!(carried.source, format!("on m4: {}", measured.source));
    // What its own file says, and what the family says of all, stays as it is.
    assert_eq!(max.speed.narrow_tflops.unwrap().confidence, Confidence::Measured);
    assert_eq!(max.numerics.ties_away.confidence, Confidence::Measured);
}

#[test]
fn a_file_may_extend_a_profile_and_change_one_figure() {
    let text = r#"
        name = "mine"
        title = "my Mac"
        extends = "m4"
        [limits]
        slots = { value = 60, source = "me", confidence = "single" }
    "#;
    let mine = Profile::parse("mine.toml", text).unwrap();
    assert_eq!((mine.limits.slots.value, mine.limits.max_rank.value), (60, 5));
}

const HEAD: &str = "name = \"mine\"\ntitle = \"my Mac\"\nextends = \"m4\"\n";

#[test]
fn errors_name_the_file_and_the_key() {
    let cases = [
        ("[limits]\nmax_rnak = { value = 5, source = \"me\", confidence = \"single\" }", "max_rnak"),
        ("[limits]\nslots = { value = 5, sauce = \"me\", confidence = \"single\" }", "sauce"),
        (
            "[limits]\nslots = { value = 5, source = \" \", confidence = \"single\" }",
            "limits.slots has no source",
        ),
        ("[limits]\nslots = { value = 5, source = \"me\", confidence = \"sure\" }", "sure"),
        (
            "[speed]\ndispatch_us = { value = -1.0, source = \"me\", confidence = \"single\" }",
            "speed.dispatch_us is -1",
        ),
        (
            "[speed]\ndispatch_us = { value = nan, source = \"me\", confidence = \"single\" }",
            "speed.dispatch_us is NaN",
        ),
        (
            "[speed]\ndispatch_us = { value = 9.0, source = \"me\", confidence = \"single\", range = [1.0, 2.0] }",
            "speed.dispatch_us is 9, outside its range 1 to 2",
        ),
        ("[quirks.mine]\nwhat = \"x\"\neffect = \"explode\"", "explode"),
        (
            "[quirks.mine]\nwhat = \"x\"\neffect = \"silent\"\nops = [\"konv\"]\n\
             holds = { value = true, source = \"me\", confidence = \"single\" }",
            "quirks.mine.ops names `konv`, which is not an op",
        ),
        ("speed = 3", "speed"),
    ];
    for (text, key) in cases {
        let message = refused(&format!("{HEAD}{text}"));
        assert!(message.starts_with("profile `mine.toml`") && message.contains(key), "{message}");
    }
    assert!(refused("name = \"mine\"").contains("title"), "{}", refused("name = \"mine\""));
    assert!(refused("extends = \"m9\"").contains("extends names `m9`"));
    assert!(refused("extends = 4").contains("extends is not the name of a profile"));
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let message = Profile::built_in("m9").unwrap_err().to_string();
    assert!(message.starts_with("there is no profile `m9`; there are cpu, m1, m1-max,"), "{message}");
}

#[test]
fn a_rule_can_be_turned_off_by_name() {
    let mut m4 = built_in("m4");
    m4.assume("conv-bias").unwrap();
    assert!(m4.quirk("conv-bias").is_none());
    m4.assume("gelu-mode-missing-ok").unwrap();
    assert!(m4.assumes("gelu-mode-missing") && m4.quirk("gelu-without-mode").is_none());
    m4.assume("weight-file-ignored").unwrap();
    m4.assume("input-width-ok").unwrap();
    assert_eq!(m4.limits.min_input_width.value, 1, "legalising does as if it were not, too");
    let message = m4.assume("conv-bais-ok").unwrap_err().to_string();
    assert!(message.contains("no rule `conv-bais`") && message.contains("conv-bias"), "{message}");
    let message = m4.assume("zzz").unwrap_err().to_string();
    assert!(message.contains("mil explain") && !message.contains("near"), "{message}");
}
