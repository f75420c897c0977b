//! A reproduction as one HTML page that loads nothing.

use super::outcome::{How, Row, Verdict};
use super::{Fact, Figure, Reproduction, Step};
use crate::chart::ChartError;

const STYLE: &str = include_str!("page.css");

/// What a browser lets the page do: style itself, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

pub(super) fn html(report: &Reproduction) -> Result<String, ChartError> {
    let environment = environment(&report.environment);
    // The environment is the first section.
    let steps = report.steps.iter().zip(2..).map(|(step, number)| experiment(step, number, &report.text));
    let steps = steps.collect::<Result<String, _>>()?;
    let (head, foot) = (head(report), foot());
    Ok(format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Ferrane: a reproduction</title>
<style>
{STYLE}</style>
</head>
<body>
{head}<main>
{environment}{steps}</main>
{foot}</body>
</html>
"#
    ))
}

fn head(report: &Reproduction) -> String {
    let (text, on) = (escaped(&report.text), escaped(&report.on));
    let modelled = report.modelled.then(|| {
        "<p class=\"caveat\"><strong>Nothing here was measured on a Neural Engine.</strong> Times and energy are modelled from \
         published figures of the chip, some of them the claims below. What is computed or refused is what the simulated engine \
         does, by rules that were published, too.</p>\n"
            .to_owned()
    });
    let other_chip = report.other_chip.as_ref().map(|chip| {
        format!(
            "<p class=\"caveat\"><strong>Another chip.</strong> Times, rates and power here are of {}, which is not the \
             chip of the text.</p>\n",
            escaped(chip)
        )
    });
    let caveats: String = modelled.into_iter().chain(other_chip).collect();
    let tally: String = Verdict::ALL
        .into_iter()
        .map(|verdict| {
            format!("<li class=\"{}\">{}</li>\n", class(verdict), verdict.of(report.count(verdict)))
        })
        .collect();
    format!(
        "<header>\n<p class=\"brand\">Ferrane</p>\n<h1>A reproduction of {text}</h1>\n<p class=\"on\">on {on}</p>\n{caveats}\
         <ul class=\"tally\">\n{tally}</ul>\n</header>\n"
    )
}

fn environment(facts: &[Fact]) -> String {
    let row = |Fact { what, published, here }: &Fact| {
        let cells = cell("published", "", published) + &cell("here", "", here);
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", escaped(what))
    };
    let rows: String = facts.iter().map(row).collect();
    format!(
        "<section id=\"environment\">\n<h2><span>1</span> Environment</h2>\n<table class=\"facts\">\n<thead><tr><th></th>\
         <th>published</th><th>here</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</section>\n"
    )
}

/// `usual` is the source that is not named again with each claim.
fn experiment(step: &Step, number: usize, usual: &str) -> Result<String, ChartError> {
    let Step { id, title, about, rows, seconds, figure } = step;
    let (title, about) = (escaped(title), escaped(about));
    let figure = figure.as_ref().map(picture).transpose()?.unwrap_or_default();
    let rows: String = rows.iter().map(|row| claim(row, usual)).collect();
    Ok(format!(
        "<section id=\"{id}\">\n<h2><span>{number}</span> {title}</h2>\n<p>{about}</p>\n{figure}<table class=\"claims\">\n\
         <thead><tr><th>claim</th><th>published</th><th>here</th><th>here / published</th><th>how</th><th>verdict</th></tr></thead>\n\
         <tbody>\n{rows}</tbody>\n</table>\n<p class=\"took\">This took {seconds:.1} s here.</p>\n</section>\n"
    ))
}

fn picture(figure: &Figure) -> Result<String, ChartError> {
    let svg = figure.chart.to_svg()?;
    let caption = escaped(&figure.caption);
    Ok(format!("<figure>\n<div class=\"chart\">{svg}</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"))
}

fn claim(row: &Row, usual: &str) -> String {
    let source = (row.source != usual).then_some(&row.source);
    let remarks = source.into_iter().chain(&row.note).chain(&row.reason);
    let remarks: String = remarks.map(|remark| format!("<small>{}</small>", escaped(remark))).collect();
    let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
    let how = row.how.map_or(String::new(), |how| how.to_string());
    let cells = [
        cell("published", if row.published.is_some() { "number" } else { "text" }, &row.published_text()),
        cell("here", "number", &row.here_text()),
        cell("here / published", "number", &ratio),
        cell("how", "", &how),
    ];
    let (id, claim, cells) = (escaped(&row.id.replace(' ', "-")), escaped(&row.claim), cells.concat());
    let tolerance = row.tolerance_text().map_or(String::new(), |text| format!("<small>{text}</small>"));
    let verdict = badge(row.verdict);
    format!(
        "<tr id=\"{id}\"><th scope=\"row\">{claim}{remarks}</th>{cells}<td data-label=\"verdict\"><span>{verdict}{tolerance}</span></td>\
         </tr>\n"
    )
}

fn cell(label: &str, class: &str, text: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    format!("<td{class} data-label=\"{label}\">{}</td>", escaped(text))
}

fn foot() -> String {
    let verdict = |verdict| {
        let means = match verdict {
            Verdict::Agrees => "the same to the digits published, or within the tolerance; or both fail",
            Verdict::Differs => "neither",
            Verdict::NotCompared => "what was found here is of something else, or was left out",
            Verdict::Failed => "nothing was found here; the reason stands under the claim",
        };
        format!("<dt>{}</dt><dd>{means}</dd>\n", badge(verdict))
    };
    let how = |how| {
        let means = match how {
            How::Counted => "by looking at the programs",
            How::Simulated => "by the rules and the arithmetic of the simulated engine",
            How::Modelled => "by the cost model, from published figures of the chip",
            How::Measured => "by running, on this machine",
        };
        format!("<dt>{how}</dt><dd>{means}</dd>\n")
    };
    let verdicts: String = Verdict::ALL.into_iter().map(verdict).collect();
    let hows: String = How::ALL.into_iter().map(how).collect();
    format!(
        "<footer>\n<dl>\n{verdicts}{hows}</dl>\n<p>Made by <code>ferrane reproduce</code>. The same figures are in \
         <code>reproduce.json</code>, every step of the small network in <code>tiny-mlp/metrics.jsonl</code>.</p>\n</footer>\n"
    )
}

fn badge(verdict: Verdict) -> String {
    format!("<span class=\"verdict {}\">{}</span>", class(verdict), verdict.name())
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Agrees => "agrees",
        Verdict::Differs => "differs",
        Verdict::NotCompared => "apart",
        Verdict::Failed => "failed",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_elsewhere_cannot_become_markup() {
        assert_eq!(escaped("<b a=\"1\">&</b>"), "&lt;b a=&quot;1&quot;&gt;&amp;&lt;/b&gt;");
    }
}
