//! A sweep as a chart: utilisation and days over the input that is varied.

use ferrane_lab::chart::{self, Axis, Chart};
use ferrane_plan::quantity::{Unit, show};
use ferrane_plan::sweep::{Key, Sweep};
use ferrane_plan::{Method, Planner, Request, Sync};

use crate::failure::Failure;

pub(super) fn svg(planner: &Planner, request: &Request, sweep: &Sweep) -> Result<String, Failure> {
    let mut utilisation = Chart::new(
        "Time spent computing",
        axis(sweep),
        Axis::linear("utilisation").from_zero().written(|value| show(value, Unit::Ratio)),
    );
    let mut days = Chart::new(
        "Days to the token budget, lost rounds repeated",
        axis(sweep),
        Axis::log("days").written(|value| show(value, Unit::Number)),
    );
    let place = |value| value * scale(sweep.key);
    for (name, request) in series(request, sweep) {
        let plans = sweep.plans(planner, &request).map_err(Failure::usage)?;
        utilisation =
            utilisation.line(name.clone(), plans.iter().map(|(x, plan)| (place(*x), plan.utilisation)));
        days =
            days.line(name, plans.iter().filter_map(|(x, plan)| Some((place(*x), plan.days_with_failures?))));
    }
    if sweep.key == Key::Uplink && within(sweep, request.uplink) {
        utilisation = utilisation.mark(place(request.uplink), "asked for");
    }
    chart::to_svg(&[utilisation, days]).map_err(Failure::failed)
}

/// The method asked for, and data parallel beside it where that says something.
fn series(request: &Request, sweep: &Sweep) -> Vec<(String, Request)> {
    let mut all = vec![(name(request.sync, sweep), request.clone())];
    let tells = !matches!(sweep.key, Key::H | Key::Bits) && request.sync.method != Method::Ddp;
    if tells {
        let sync = Sync { method: Method::Ddp, every: 1, bits: 32, fragments: 1, overlap: 0 };
        all.push((name(sync, sweep), Request { sync, ..request.clone() }));
    }
    all
}

fn name(sync: Sync, sweep: &Sweep) -> String {
    let method = match sync.method {
        Method::Ddp => "ddp",
        Method::Diloco => "diloco",
        Method::Streaming => "streaming",
    };
    let bits = if sweep.key == Key::Bits { String::new() } else { format!(", {} bits", sync.bits) };
    let every = match sync.method {
        Method::Ddp => String::new(),
        _ if sweep.key == Key::H => String::new(),
        _ => format!(", H = {}", sync.every),
    };
    format!("{method}{every}{bits}")
}

/// Rates are held in bytes and shown in bits, so ticks must be round in bits.
fn scale(key: Key) -> f64 {
    if key == Key::Uplink { 8.0 } else { 1.0 }
}

fn axis(sweep: &Sweep) -> Axis {
    let label = sweep.key.name();
    let unit = sweep.key.unit();
    let scale = scale(sweep.key);
    let spread = sweep.values.iter().copied().fold(0.0, f64::max)
        / sweep.values.iter().copied().fold(f64::INFINITY, f64::min);
    let axis = if spread > 8.0 && spread.is_finite() { Axis::log(label) } else { Axis::linear(label) };
    axis.written(move |value| show(value / scale, unit))
}

fn within(sweep: &Sweep, value: f64) -> bool {
    let inside = |low: f64, high: f64| (low..=high).contains(&value);
    match (sweep.values.first(), sweep.values.last()) {
        (Some(&first), Some(&last)) => inside(first, last) || inside(last, first),
        _ => false,
    }
}
