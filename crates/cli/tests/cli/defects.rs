//! `docs/defects.md` names tests; they must exist.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Whether `file` has a test of this name: `fn name(` after `#[test]`, or in a `proptest!`.
fn has_test(file: &str, name: &str) -> bool {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("fn {name}(")));
    at.is_some_and(|at| at > 0 && lines[at - 1] == "#[test]")
}

#[test]
fn every_defect_has_tests_and_every_test_named_exists() {
    let text = std::fs::read_to_string(root().join("docs/defects.md")).unwrap();
    let mut numbers = BTreeSet::new();
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let Some(number) = row.split('|').nth(1).and_then(|cell| cell.trim().parse::<u32>().ok()) else {
            continue;
        };
        assert!(numbers.insert(number), "defect {number} is listed twice");
        let tests: Vec<(&str, &str)> = row.split('`').filter_map(|code| code.split_once("::")).collect();
        assert!(!tests.is_empty(), "defect {number} has no test");
        for (file, name) in tests {
            assert!(has_test(file, name), "defect {number}: {file} has no test {name}");
        }
    }
    assert_eq!(numbers, (1..=29).collect());
}
