//! The page of a reproduction in a real browser: headless Chromium, or what `CHROME` names. Where there is none the test is
//! reported as ignored.

mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
const ON_MACS: &str = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome";

fn main() {
    let arguments = Arguments::from_args();
    let browser = browser();
    let missing = browser.is_none();
    let name = match &browser {
        Some(_) => "the_page_is_whole_in_a_browser",
        None => {
            "the_page_is_whole_in_a_browser (no chromium or google-chrome in PATH, and CHROME is not set)"
        }
    };
    let test = Trial::test(name, move || match &browser {
        Some(browser) => look(browser),
        None => Err("there is no browser: install chromium, or set CHROME to one".into()),
    });
    libtest_mimic::run(&arguments, vec![test.with_ignored_flag(missing)]).exit();
}

fn browser() -> Option<PathBuf> {
    if let Some(given) = env::var_os("CHROME") {
        return Some(given.into());
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&folders).flat_map(|folder| BROWSERS.map(|name| folder.join(name)));
    in_path.chain([ON_MACS.into()]).find(|path| path.is_file())
}

/// Put into a copy of the page: what only a browser that laid it out knows.
const PROBE: &str = "<script>
addEventListener('load', () => {
  const all = selector => [...document.querySelectorAll(selector)];
  const box = element => element.getBoundingClientRect();
  const say = (key, value) => document.body.setAttribute('data-' + key, value);
  say('width', innerWidth);
  say('overflow', document.documentElement.scrollWidth - innerWidth);
  say('rows', all('table.claims tbody tr').filter(row => box(row).height > 10).length);
  say('charts', all('.chart svg').filter(svg => box(svg).width > 300 && box(svg).height > 150).length);
  say('right', all('td.number').every(cell => getComputedStyle(cell).textAlign === 'right'));
  say('loaded', performance.getEntriesByType('resource').length);
  say('overlapping', all('.chart svg').flatMap(svg => {
    const labels = [...svg.querySelectorAll('text')].map(box);
    return labels.flatMap((a, i) => labels.slice(i + 1).filter(b =>
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2));
  }).length);
});
</script>";

fn look(browser: &Path) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let metrics = folder.path().join("metrics.jsonl");
    support::write_metrics(&metrics);
    let report = support::reproduce(&support::m4_max, &metrics);
    let page = report.to_html()?;
    let rows: usize = report.steps.iter().map(|step| step.rows.len()).sum();

    // As it is: a script error, or a load that the page's own policy forbids, would be a message on the console.
    let path = folder.path().join("report.html");
    fs::write(&path, &page)?;
    let seen = open(browser, folder.path(), &path, 1200)?;
    for row in report.steps.iter().flat_map(|step| &step.rows) {
        let id = format!("<tr id=\"{}\">", row.id.replace(' ', "-"));
        require(seen.matches(&id).count() == 1, &format!("{id} is not there once"))?;
    }
    let policy = page.find("<meta http-equiv").ok_or("the page has no policy")?;
    let end = policy + page[policy..].find('\n').ok_or("the policy does not end")?;
    let probed = [&page[..policy], &page[end..]].concat().replace("</body>", &format!("{PROBE}</body>"));
    let path = folder.path().join("probed.html");
    fs::write(&path, probed)?;
    for width in [1200, 500] {
        let seen = open(browser, folder.path(), &path, width)?;
        for expected in [
            format!("data-width=\"{width}\""),
            "data-overflow=\"0\"".into(),
            format!("data-rows=\"{rows}\""),
            "data-charts=\"2\"".into(),
            "data-right=\"true\"".into(),
            "data-loaded=\"0\"".into(),
            "data-overlapping=\"0\"".into(),
        ] {
            let body =
                seen.find("<body").map_or("", |at| seen[at..].split_inclusive('>').next().unwrap_or(""));
            require(seen.contains(&expected), &format!("at {width} pixels: no {expected} in {body}"))?;
        }
    }
    Ok(())
}

fn require(holds: bool, otherwise: &str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// The document as the browser has it once it is loaded.
fn open(browser: &Path, folder: &Path, page: &Path, width: u32) -> Result<String, Failed> {
    let output = Command::new(browser)
        // A container's root cannot use the sandbox, and the page is ours.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args([
            "--disable-background-networking",
            "--hide-scrollbars",
            "--enable-logging=stderr",
            "--timeout=60000",
        ])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("--window-size={width},2000"))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .output()
        .map_err(|error| format!("cannot start {}: {error}", browser.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    require(output.status.success(), &format!("{} ended with {}\n{said}", browser.display(), output.status))?;
    let console: Vec<&str> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
    require(console.is_empty(), &format!("the console says {console:?}"))?;
    Ok(String::from_utf8(output.stdout)?)
}
