//! `ferrane plan` as a user runs it.

use serde_json::Value;

use crate::support::Bench;

fn json(bench: &Bench, line: &str) -> Value {
    serde_json::from_str(&bench.ok(line).stdout).unwrap()
}

#[test]
fn an_answer_fits_a_terminal_and_ends_with_the_verdict() {
    let bench = Bench::new();
    for (line, last) in [
        ("plan", "Yes, in 6.07 days, but cost fails: "),
        ("plan --nodes 8xm4-max --sync ddp --explain", "No: uplink fails first: "),
        ("plan --params 10B --nodes 64xm4-max", "No: memory fails first: "),
        ("plan --nodes 16xm4-max --link lan --price 0", "Yes, as far as is known, in "),
        ("plan --nodes m4 --duty 20% --price 0", "Yes, in 53"),
    ] {
        let text = bench.ok(line).stdout;
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.starts_with("Can ") && text.lines().any(|line| line.starts_with(last)), "{text}");
    }
}

#[test]
fn json_has_the_numbers_and_on_request_how_they_came_about() {
    let bench = Bench::new();
    let line = "plan --params 110M --nodes 8xm4-max --uplink 20Mbit --tflops 1.45 --price 0 --json";
    let plan = json(&bench, line);
    assert!((plan["utilisation"].as_f64().unwrap() - 0.819).abs() < 1e-3, "{plan}");
    assert!((plan["days"].as_f64().unwrap() - 1.77).abs() < 1e-2, "{plan}");
    assert_eq!((&plan["feasible"], &plan["fails_first"]), (&Value::Bool(true), &Value::Null));
    assert_eq!(plan["constraints"][0]["name"], "memory");
    assert_eq!(plan["steps"].as_array().map(Vec::len), Some(0));
    let steps = json(&bench, &format!("{line} --explain"))["steps"].clone();
    let sync = steps.as_array().unwrap().iter().find(|step| step["result"] == "t_sync").unwrap();
    assert_eq!(sync["expression"], "V / (eta * B) + L");
    assert_eq!(sync["numbers"], "192 MB / (60 % * 20 Mbit/s) + 560 ms");
}

#[test]
fn a_sweep_is_a_table_json_and_a_picture() {
    let bench = Bench::new();
    let line = "plan --nodes 2xm4-max --sweep nodes=2,8,64 --plot out/sweep.svg";
    let text = bench.ok(line).stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("fails first") && text.contains("failures"), "{text}");
    let svg = bench.text("out/sweep.svg");
    assert!(
        svg.starts_with("<svg") && svg.contains("utilisation") && svg.contains("diloco, H = 500, 8 bits"),
        "{svg}"
    );
    let rows = json(&bench, "plan --sweep H=100,500 --json");
    assert_eq!(rows["key"], "H");
    assert_eq!(rows["rows"][1]["value"], 500.0);
    bench.ok("plan --plot usual.svg");
    assert!(bench.text("usual.svg").contains("uplink"));
}

#[test]
fn the_write_up_is_checked_claim_by_claim() {
    let bench = Bench::new();
    let text = bench.ok("plan --check write-up --explain").stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.ends_with("17 claims: 5 right, 10 wrong, 2 inconsistent\n"), "{text}");
    let claims = json(&bench, "plan --check write-up --json");
    assert_eq!(claims[0]["verdict"], "right");
    assert_eq!(claims[0]["figures"][0]["claimed"], "26 min");
}

#[test]
fn wrong_inputs_end_with_2_and_say_what_would_be_right() {
    let bench = Bench::new();
    for (line, message) in [
        ("plan --nodes 3xm9", "there is no machine `m9`; there are m1"),
        ("plan --model gpt5", "there is no model `gpt5`; there are nano"),
        ("plan --link pigeon", "there is no link `pigeon`"),
        ("plan --uplink 20", "`20` is not a rate; write 20Mbit"),
        ("plan --sync diloco:H=0", "H is 0; synchronise every 1 step or more"),
        ("plan --duty 120%", "the duty is 1.2; it must be more than 0 and at most 1"),
        ("plan --topology islands:3", "the size of an island is 3; it must divide the number of machines, 2"),
        ("plan --sweep colour=1", "there is no input to sweep `colour`"),
        ("plan --tflops 0", "the rate is 0; it must be more than 0"),
        ("plan --check write-up --nodes m4", "cannot be used with"),
    ] {
        let finished = bench.run(line);
        assert_eq!(finished.code, Some(2), "{line}");
        assert!(finished.stderr.contains(message), "{line}: {}", finished.stderr);
    }
    let finished = bench.run("plan --plot text.txt/out.svg");
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
}

#[test]
fn the_page_shows_what_the_commands_print() {
    Bench::new().check_page("planner.md", &["planner-uplink.svg"]);
}
