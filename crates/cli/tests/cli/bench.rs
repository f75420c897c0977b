//! `ferrane bench` as a user runs it.

use serde_json::Value;

use crate::support::Bench;

#[test]
fn a_modelled_benchmark_is_a_table_beside_a_published_one() {
    let bench = Bench::new();
    let text = bench.ok("bench peak --compare m4-mini --plot out/peak.svg").stdout;
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.starts_with("peak on sim (m4, fast): modelled\n"), "{text}");
    assert!(text.contains("nothing was timed") && text.contains("source: maderix/ANE#3"), "{text}");
    let svg = bench.text("out/peak.svg");
    assert!(svg.starts_with("<svg") && svg.contains("Mac mini M4, 10 cores, 16 GB, published"), "{svg}");
}

#[test]
fn a_saved_run_can_be_compared_with() {
    let bench = Bench::new();
    let saved = bench.ok("bench dispatch --chip m5 --json").stdout;
    let report: Value = serde_json::from_str(&saved).unwrap();
    assert_eq!((&report["benchmark"], &report["basis"]), (&"dispatch".into(), &"modelled".into()));
    assert!(report["rows"][0]["values"]["mj"].as_f64().unwrap() > 0.0, "{report}");
    bench.write("m5.json", saved.as_bytes());
    let text = bench.ok("bench dispatch --compare m5.json").stdout;
    assert!(text.contains("beside sim (m5, fast): modelled") && text.contains("here/there"), "{text}");
    let wrong = bench.run("bench sram --compare m5.json");
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("m5.json holds the benchmark dispatch"), "{}", wrong.stderr);
}

#[test]
fn the_cpu_is_measured_and_csv_says_so() {
    let bench = Bench::new();
    let csv = bench.ok("bench dispatch --engine cpu --runs 1 --warmup 0 --budget 0 --csv").stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert!(lines[0].starts_with("config,basis,ms,"), "{csv}");
    assert!(lines.len() == 7 && lines[1..].iter().all(|line| line.contains(",measured,")), "{csv}");
}

#[test]
fn rows_that_fail_say_why_and_nothing_but_failures_is_a_failure() {
    let bench = Bench::new();
    let finished = bench.run("bench qos --engine cpu --compare m5");
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stdout.contains("class 21  FAILS: engine cpu knows no quality-of-service"),
        "{}",
        finished.stdout
    );
    for (line, message) in [
        (
            "bench peak --compare m99",
            "no published table of peak is called `m99`; there are m4-mini, write-up",
        ),
        ("bench peak --chip m99", "there is no profile `m99`"),
        ("bench peak --budget -1", "unexpected argument"),
        ("bench peak --runs 0", "0 is not in 1.."),
        ("bench nothing", "possible values: peak"),
        #[cfg(not(target_os = "macos"))]
        ("bench peak --engine ane", "`engine` ane: a Neural Engine is part of a Mac, and this is"),
        #[cfg(not(target_os = "macos"))]
        ("bench peak --engine ane-client", "`engine` ane-client: a Neural Engine is part of a Mac"),
        ("bench peak --engine ane --lenient", "`lenient` is about the simulated engine, and `engine` is ane"),
    ] {
        let finished = bench.run(line);
        assert_eq!(finished.code, Some(2), "{line}");
        assert!(finished.stderr.contains(message), "{line}: {}", finished.stderr);
    }
}

#[test]
fn the_page_shows_what_the_commands_print() {
    Bench::new().check_page("benchmarks.md", &["bench-peak.svg"]);
}
