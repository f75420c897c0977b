//! Plans for people.

use ferrane_plan::quantity::{Unit, show};
use ferrane_plan::sweep::Sweep;
use ferrane_plan::{Machines, Method, Model, Plan, Request, Status, Sync, Topology};

use crate::lines::{hanging, table};

pub(super) fn plan(request: &Request, plan: &Plan) -> String {
    let mut out = question(request);
    out.push('\n');
    for constraint in &plan.constraints {
        let mark = match constraint.status {
            Status::Met => "ok",
            Status::Fails => "FAILS",
            Status::Unknown => "?",
        };
        out.push_str(&hanging(&format!("  {mark:<5}  {:<10}  ", constraint.name), &constraint.sentence));
    }
    out.push('\n');
    out.push_str(&hanging("  speed   ", &speed(plan)));
    out.push_str(&hanging("  time    ", &time(plan)));
    if let Some(cost) = &plan.cost {
        let engine = match cost.engine_kwh {
            Some(kwh) => format!(", of it {} for the engines", show(kwh, Unit::Kwh)),
            None => String::new(),
        };
        let text = format!(
            "at most {}{engine}; a rented H100 takes {}",
            show(cost.wall_kwh, Unit::Kwh),
            show(cost.gpu_hours, Unit::Hours)
        );
        out.push_str(&hanging("  energy  ", &text));
    }
    if !plan.notes.is_empty() {
        out.push('\n');
    }
    plan.notes.iter().for_each(|note| out.push_str(&hanging("  note: ", note)));
    out.push('\n');
    out.push_str(&hanging("", &verdict(plan)));
    out
}

pub(super) fn sweep(request: &Request, sweep: &Sweep, rows: &[(f64, Plan)]) -> String {
    let mut out = question(request);
    out.push('\n');
    let heads = [sweep.key.name(), "step", "sync", "used", "tokens/s", "days", "survives", "fails first"];
    let mut cells = vec![heads.map(String::from).to_vec()];
    for (value, plan) in rows {
        let plain = |value| show(value, Unit::Number);
        cells.push(vec![
            show(*value, sweep.key.unit()),
            show(plan.step_s, Unit::Seconds),
            show(plan.sync_s, Unit::Seconds),
            show(plan.utilisation, Unit::Ratio),
            plain(plan.tokens_per_s),
            plan.days_with_failures.map_or("never".into(), plain),
            format!("{:.2}", plan.survival),
            plan.first_failing().map_or(String::new(), |constraint| constraint.name.to_owned()),
        ]);
    }
    out.push_str(&table(&cells));
    out
}

pub(super) fn explanation(plan: &Plan) -> String {
    let mut out = String::from("\nHow the numbers came about\n");
    for step in &plan.steps {
        let head = format!("  {} ", step.result);
        let under = " ".repeat(head.len());
        out.push('\n');
        out.push_str(&hanging(&format!("{head}= "), &step.expression));
        out.push_str(&hanging(&format!("{under}= "), &step.numbers));
        out.push_str(&hanging(&format!("{under}= "), &format!("{}: {}", step.shown, step.meaning)));
        out.push_str(&hanging(&format!("{under}  "), &format!("({})", step.source)));
    }
    out
}

fn question(request: &Request) -> String {
    let machines: Vec<String> = request.machines.iter().map(group).collect();
    let text = format!(
        "Can {} train {} on {} tokens?",
        machines.join(" and "),
        model(&request.model),
        show(request.tokens, Unit::Tokens)
    );
    let mut out = hanging("", &text);
    if request.workers() > 1 {
        let link = format!(
            "{}: {} up, {}, {} of it reached",
            request.link,
            show(request.uplink, Unit::Rate),
            show(request.latency, Unit::Seconds),
            show(request.efficiency, Unit::Ratio)
        );
        out.push_str(&hanging("  link  ", &link));
        out.push_str(&hanging(
            "  sync  ",
            &format!("{}, {}", method(request.sync), topology(request.topology)),
        ));
    }
    if request.duty < 1.0 {
        out.push_str(&hanging("  duty  ", &format!("{} of the time", show(request.duty, Unit::Ratio))));
    }
    out
}

fn group(machines: &Machines) -> String {
    let ram = machines.ram.map_or(String::new(), |ram| format!(" of {}", show(ram, Unit::Bytes)));
    format!("{} x {}{ram}", machines.count, machines.chip)
}

fn model(model: &Model) -> String {
    let parameters = format!("{} parameters", show(model.parameters, Unit::Count));
    match &model.name {
        Some(name) => format!("{name} ({parameters})"),
        None => parameters,
    }
}

fn method(sync: Sync) -> String {
    match sync.method {
        Method::Ddp => format!("gradients of {} bits after every step", sync.bits),
        Method::Diloco => format!("diloco: {} bits every {} steps", sync.bits, sync.every),
        Method::Streaming => format!(
            "streaming diloco: {} bits every {} steps in {} fragments, {} steps of overlap",
            sync.bits, sync.every, sync.fragments, sync.overlap
        ),
    }
}

fn topology(topology: Topology) -> String {
    match topology {
        Topology::Ring => "in a ring".into(),
        Topology::Tree => "over a tree".into(),
        Topology::Star(server) => format!("through a server with {}", show(server, Unit::Rate)),
        Topology::Islands(size) => format!("in a ring of local rings of {size}"),
    }
}

fn speed(plan: &Plan) -> String {
    let speed = show(plan.tokens_per_s, Unit::Speed);
    if plan.workers == 1 {
        return speed;
    }
    let saved = match plan.bytes_saved {
        1.0 => String::new(),
        saved => format!("; {} fewer bytes than fp32 gradients every step", show(saved, Unit::Times)),
    };
    format!(
        "{speed}; a round of {} with {} of synchronising{saved}",
        show(plan.round_s, Unit::Seconds),
        show(plan.sync_s * f64::from(plan.sync.fragments), Unit::Seconds)
    )
}

fn time(plan: &Plan) -> String {
    let days = show(plan.days, Unit::Days);
    let failures = match plan.days_with_failures {
        Some(real) if show(real, Unit::Days) == days => String::new(),
        Some(real) => format!(", {} with lost rounds repeated", show(real, Unit::Days)),
        None => "; with failures it practically never ends".into(),
    };
    format!("{days}{failures}; a checkpoint every {}", show(plan.checkpoint_every_s, Unit::Seconds))
}

fn verdict(plan: &Plan) -> String {
    let days = show(plan.days_with_failures.unwrap_or(plan.days), Unit::Days);
    match plan.first_failing() {
        // What costs too much can still be done.
        Some(cost) if cost.name == "cost" => format!("Yes, in {days}, but cost fails: {}.", cost.sentence),
        Some(constraint) => format!("No: {} fails first: {}.", constraint.name, constraint.sentence),
        None => {
            let guess = plan.constraints.iter().any(|c| c.status == Status::Unknown);
            let so_far = if guess { ", as far as is known" } else { "" };
            format!("Yes{so_far}, in {days}.")
        }
    }
}
