//! `ferrane reproduce` as a user runs it. What its page is like in a browser is tested in `crates/lab/tests/browser.rs`.

use serde_json::Value;

use crate::support::{Bench, check_doc, docs};

#[test]
fn the_write_up_is_reproduced_with_restarts_into_a_page_and_figures() {
    let bench = Bench::new();
    let shown = bench.ok("reproduce --quick --out rep").stdout;
    // The small network trains in processes of its own, and is seen to.
    assert_eq!(shown.matches("going on in a new process").count(), 4, "{shown}");
    assert!(shown.contains("differs: Power at that rate: published 2.80 W"), "{shown}");
    assert!(shown.contains("0 failed\nrep/report.html\nrep/reproduce.json\n"), "{shown}");
    assert!(bench.text("rep/report.html").contains("on sim (m4-max, fast)"));

    // docs/reproduction.md tells what differs as it is told here, and shows the pictures.
    let page = std::fs::read_to_string(docs().join("reproduction.md")).unwrap();
    for told in shown.split("  differs: ").skip(1) {
        let told: Vec<&str> = told
            .lines()
            .enumerate()
            .take_while(|(i, line)| *i == 0 || line.starts_with("    "))
            .map(|(_, l)| l)
            .collect();
        let told = told.join("\n");
        assert!(page.contains(&told), "docs/reproduction.md does not say: {told}");
    }
    check_doc("reproduction-peak.svg", &bench.read("rep/peak.svg"));
    check_doc("reproduction-tiny.svg", &bench.read("rep/tiny.svg"));

    let report: Value = serde_json::from_str(&bench.text("rep/reproduce.json")).unwrap();
    assert_eq!(report["modelled"], true);
    let rows =
        || report["steps"].as_array().unwrap().iter().flat_map(|step| step["rows"].as_array().unwrap());
    let row = |id: &str| rows().find(|row| row["id"] == id).unwrap_or_else(|| panic!("no claim {id}"));
    // The run in the folder is the one that the report tells of.
    let metrics = bench.text("rep/tiny-mlp/metrics.jsonl");
    let last_but_ten: Value = serde_json::from_str(metrics.lines().nth(1990).unwrap()).unwrap();
    assert_eq!(row("loss-1990")["here"], last_but_ten["loss"]);
    assert_eq!((&row("restart-1")["here"], &row("restart-2")["verdict"]), (&480.0.into(), &"agrees".into()));
    for row in rows() {
        assert!(row["source"].is_string() && row["tolerance"].is_number(), "{row}");
        let compared = row["verdict"] != "not-compared";
        assert!(!compared || row["how"].is_string(), "{row}");
    }
}

#[test]
fn a_folder_of_something_else_is_left_alone_and_wrong_inputs_end_with_2() {
    let bench = Bench::new();
    bench.write("mine/notes.txt", b"mine");
    for (line, message) in [
        ("reproduce --out mine", "--out mine: the folder holds something else"),
        ("reproduce --chip m99 --out none", "there is no profile `m99`"),
        ("reproduce --engine ane --out none", "a Neural Engine is part of a Mac"),
    ] {
        let finished = bench.run(line);
        assert_eq!(finished.code, Some(2), "{line}");
        assert!(finished.stderr.contains(message), "{line}: {}", finished.stderr);
    }
    assert_eq!(bench.names("mine"), ["notes.txt"]);
    assert!(!bench.path("none").exists());
}
