//! A reproduction and its page, looked at without a browser. `browser.rs` opens it in one.

mod support;

use std::path::Path;

use ferrane_lab::reproduce::{How, Reproduction, Row, Verdict};

use support::{m4_max, reproduce, write_metrics};

fn row<'a>(report: &'a Reproduction, id: &str) -> &'a Row {
    let mut rows = report.steps.iter().flat_map(|step| &step.rows);
    rows.find(|row| row.id == id).unwrap_or_else(|| panic!("no claim `{id}`"))
}

#[test]
fn a_reproduction_answers_every_claim_and_its_page_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = folder.path().join("metrics.jsonl");
    write_metrics(&metrics);
    let report = reproduce(&m4_max, &metrics);
    every_claim_is_answered_and_says_how(&report);
    the_page_is_well_formed_stands_alone_and_has_every_claim(&report);
}

fn every_claim_is_answered_and_says_how(report: &Reproduction) {
    let rows: Vec<&Row> = report.steps.iter().flat_map(|step| &step.rows).collect();
    let counted: usize = Verdict::ALL.iter().map(|verdict| report.count(*verdict)).sum();
    assert_eq!(counted, rows.len());
    assert_eq!(report.count(Verdict::Failed), 0, "{rows:#?}");
    for row in &rows {
        let left_out = row.verdict == Verdict::NotCompared;
        assert!(left_out == row.reason.is_some() || row.here.is_none(), "{row:?}");
        assert!(left_out || row.how.is_some(), "{row:?}");
    }
    for (id, verdict, how) in [
        ("peak 32x 512ch 64", Verdict::Agrees, How::Modelled),
        ("peak 64x 256ch 64", Verdict::Differs, How::Modelled),
        ("header-512", Verdict::Agrees, How::Simulated),
        ("header-256", Verdict::Agrees, How::Simulated),
        ("restart-2", Verdict::Agrees, How::Counted),
        ("compiles", Verdict::Agrees, How::Counted),
        ("wall", Verdict::NotCompared, How::Measured),
        ("parameters", Verdict::Agrees, How::Counted),
        ("kernels", Verdict::Agrees, How::Counted),
        ("reload", Verdict::Agrees, How::Simulated),
        ("runtime-weights", Verdict::Agrees, How::Simulated),
        ("mask", Verdict::Agrees, How::Simulated),
        ("compile-limit", Verdict::Agrees, How::Simulated),
        ("watts", Verdict::Differs, How::Modelled),
    ] {
        let found = row(report, id);
        assert_eq!((found.verdict, found.how), (verdict, Some(how)), "{found:?}");
    }
    assert_eq!(row(report, "first-loss").verdict, Verdict::NotCompared);
}

#[test]
fn what_fails_is_rows_with_the_reason_and_the_page_is_there() {
    let none = reproduce(&|| Err("no engine & no \"luck\"".into()), Path::new("nowhere"));
    let all: usize = none.steps.iter().map(|step| step.rows.len()).sum();
    assert_eq!(none.count(Verdict::Failed), all);
    let page = none.to_html().unwrap();
    elements(&page);
    assert!(page.contains("no engine &amp; no &quot;luck&quot;"));
}

fn the_page_is_well_formed_stands_alone_and_has_every_claim(report: &Reproduction) {
    let page = report.to_html().unwrap();
    let elements = elements(&page);
    for Element { name, attributes } in &elements {
        assert!(!["script", "link", "img", "iframe", "object", "base"].contains(&name.as_str()), "<{name}>");
        for (key, value) in attributes {
            let loads = ["src", "href", "xlink:href", "srcset", "data", "action"].contains(&key.as_str());
            assert!(!loads && !key.starts_with("on"), "<{name} {key}={value}>");
            assert!(key == "xmlns" || !value.contains("//"), "<{name} {key}={value}>");
        }
    }
    let style = &page[page.find("<style>").unwrap()..page.find("</style>").unwrap()];
    assert!(
        !style.contains("url(") && !style.contains("@import") && style.contains("prefers-color-scheme: dark")
    );

    let id =
        |element: &Element| element.attributes.iter().find(|(key, _)| key == "id").map(|(_, id)| id.clone());
    let ids: Vec<String> = elements.iter().filter_map(id).collect();
    for row in report.steps.iter().flat_map(|step| &step.rows) {
        let wanted = row.id.replace(' ', "-");
        assert_eq!(ids.iter().filter(|id| **id == wanted).count(), 1, "{wanted}");
        assert!(page.contains(&row.here_text()) && page.contains(&row.published_text()), "{row:?}");
    }
    assert_eq!(elements.iter().filter(|element| element.name == "svg").count(), 2);
    assert_eq!(page.matches(">\nrestart\n<").count(), 4, "four restarts are marked");
    assert!(page.contains("sim &lt;m4-max&gt;") && page.contains("Nothing here was measured"));
}

#[derive(Debug)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
}

/// The elements of a page. Panics unless each that opens closes, in order, and attributes are quoted.
fn elements(page: &str) -> Vec<Element> {
    const VOID: [&str; 1] = ["meta"];
    let (mut found, mut open) = (Vec::new(), Vec::<String>::new());
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    while let Some(start) = rest.find('<') {
        let (tag, after) = rest[start + 1..].split_once('>').expect("a tag that ends");
        assert!(!tag.contains('<'), "<{tag}>");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed by </{name}>");
            continue;
        }
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut pairs = Vec::new();
        while !attributes.trim().is_empty() {
            let (key, value) = attributes.split_once("=\"").unwrap_or_else(|| panic!("<{tag}>"));
            let (value, more) = value.split_once('"').unwrap_or_else(|| panic!("<{tag}>"));
            pairs.push((key.trim().to_owned(), value.to_owned()));
            attributes = more;
        }
        if !empty && !VOID.contains(&name) {
            open.push(name.to_owned());
        }
        found.push(Element { name: name.to_owned(), attributes: pairs });
    }
    assert!(open.is_empty(), "never closed: {open:?}");
    found
}
