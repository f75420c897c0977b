//! Plans held to numbers computed by hand.

use ferrane_plan::{Limits, Machines, Model, Plan, Planner, Rate, Request, Status, Sync, Topology};

const MBIT: f64 = 125_000.0;

/// A group of equal machines at a given rate, on a home link with the uplink in Mbit/s.
fn request(planner: &Planner, parameters: f64, nodes: &str, uplink: f64, sync: &str, tflops: f64) -> Request {
    let machines = Machines::parse(planner.data(), nodes).unwrap();
    let mut request = Request::new(planner.data(), Model::of(parameters), machines, "wan").unwrap();
    request.uplink = uplink * MBIT;
    request.sync = Sync::parse(sync).unwrap();
    request.rate = Rate::Flops(tflops * 1e12);
    request
}

fn near(found: f64, by_hand: f64, tolerance: f64) {
    assert!((found / by_hand - 1.0).abs() <= tolerance, "{found} is not {by_hand}");
}

/// Parameters, machines, uplink, method, TFLOPS, tokens of a step; then step and synchronisation in seconds, utilisation,
/// tokens a second, days.
type Example = (f64, u32, f64, &'static str, f64, f64, [f64; 5]);

/// Efficiency 0.6, latency 40 ms, 20 tokens a parameter.
#[test]
fn the_worked_examples_come_out() {
    let planner = Planner::new().unwrap();
    let rows: [Example; 8] = [
        (110e6, 2, 20.0, "ddp", 1.45, 2560.0, [1.165, 293.4, 0.00396, 17.4, 1_463.0]),
        (110e6, 2, 20.0, "diloco", 1.45, 2560.0, [1.165, 73.4, 0.888, 3_903.0, 6.5]),
        (110e6, 8, 20.0, "diloco", 1.45, 2560.0, [1.165, 128.9, 0.819, 14_396.0, 1.77]),
        (110e6, 8, 20.0, "diloco:bits=4", 1.45, 2560.0, [1.165, 64.7, 0.900, 15_820.0, 1.61]),
        (596e6, 8, 20.0, "diloco", 1.5, 2560.0, [6.103, 695.9, 0.814, 2_733.0, 50.5]),
        (1.5e9, 32, 20.0, "diloco", 1.5, 4096.0, [24.58, 1_940.0, 0.864, 4_606.0, 75.4]),
        (1e10, 64, 20.0, "diloco", 1.5, 4096.0, [163.8, 13_130.0, 0.862, 1_379.0, 1_679.0]),
        (1e10, 64, 208.0, "ddp", 1.5, 4096.0, [163.8, 5_053.0, 0.0314, 50.2, 46_067.0]),
    ];
    for (parameters, count, uplink, sync, tflops, tokens, [step, sync_s, used, speed, days]) in rows {
        let mut asked = request(&planner, parameters, &format!("{count}xm4-max"), uplink, sync, tflops);
        asked.step_tokens = tokens;
        let plan = planner.plan(&asked).unwrap();
        near(plan.step_s, step, 2e-3);
        near(plan.sync_s, sync_s, 5e-3);
        near(plan.utilisation, used, 5e-3);
        near(plan.tokens_per_s, speed, 1e-2);
        near(plan.days, days, 1e-2);
    }
}

#[test]
fn a_measured_step_is_taken_as_measured() {
    let planner = Planner::new().unwrap();
    let machines = Machines::parse(planner.data(), "m4-max").unwrap();
    let mut asked =
        Request::new(planner.data(), Model::preset("stories110m").unwrap(), machines, "wan").unwrap();
    asked.step_tokens = 256.0;
    let plan = planner.plan(&asked).unwrap();
    near(plan.step_s, 0.064, 1e-9);
    near(plan.tokens_per_s, 4000.0, 1e-9);
    near(plan.days, 6.34, 1e-3);
    assert_eq!((plan.utilisation, plan.sync_s), (1.0, 0.0), "one machine shares nothing");

    asked.rate = Rate::Step { tokens: 256.0, seconds: 0.5 };
    near(planner.plan(&asked).unwrap().step_s, 0.5, 1e-9);
}

#[test]
fn the_uplink_needed_gives_the_utilisation_asked_for() {
    let planner = Planner::new().unwrap();
    // By hand, without latency: 2 (N-1)/N · b/8 · F · u / (6 H T (1-u) η).
    for (sync, by_hand_mbit) in
        [("ddp", 79_300.0), ("diloco:H=100", 198.0), ("diloco", 39.6), ("diloco:bits=4", 19.8)]
    {
        for parameters in [110e6, 1e10] {
            let mut asked = request(&planner, parameters, "8xm4-max", 20.0, sync, 1.45);
            asked.latency = 0.0;
            asked.limits = Limits { days: 1e9, utilisation: 0.9, survival: 0.5 };
            let needed = planner.plan(&asked).unwrap().uplink_needed.unwrap();
            near(needed, by_hand_mbit * MBIT, 5e-3);
            asked.uplink = needed;
            near(planner.plan(&asked).unwrap().utilisation, 0.9, 1e-9);
        }
    }
    for sync in ["diloco", "streaming:H=100,fragments=4,overlap=5"] {
        for topology in [Topology::Ring, Topology::Tree, Topology::Star(1e9), Topology::Islands(4)] {
            let mut asked = request(&planner, 110e6, "8xm4-max", 20.0, sync, 1.45);
            asked.topology = topology;
            asked.limits = Limits { days: 1e9, utilisation: 0.6, survival: 0.5 };
            asked.uplink =
                planner.plan(&asked).unwrap().uplink_needed.unwrap_or_else(|| panic!("{sync} {topology:?}"));
            near(planner.plan(&asked).unwrap().utilisation, 0.6, 1e-9);
        }
    }
}

#[test]
fn an_uplink_cannot_make_up_for_latency() {
    let planner = Planner::new().unwrap();
    let mut asked = request(&planner, 1e6, "8xm4-max", 20.0, "ddp", 1.45);
    asked.latency = 1.0;
    let plan = planner.plan(&asked).unwrap();
    assert_eq!(plan.uplink_needed, None);
    let uplink = plan.constraints.iter().find(|c| c.name == "uplink").unwrap();
    assert!(uplink.sentence.contains("latency alone is more"), "{}", uplink.sentence);
}

/// What the links and methods cost by hand, for 8 workers, 100 MB to share, 1 MB/s reached and 1 s of latency.
#[test]
fn topologies_cost_what_they_do_by_hand() {
    let planner = Planner::new().unwrap();
    let sync_s = |topology: Topology, sync: &str| {
        let mut asked = request(&planner, 100e6, "8xm4-max", 8.0, sync, 1.45);
        (asked.efficiency, asked.latency, asked.topology) = (1.0, 1.0, topology);
        planner.plan(&asked).unwrap().sync_s
    };
    near(sync_s(Topology::Ring, "diloco"), 175.0 + 14.0, 1e-12);
    near(sync_s(Topology::Tree, "diloco"), 6.0 * 100.0 + 6.0, 1e-12);
    near(sync_s(Topology::Star(1e7), "diloco"), 100.0 + 80.0 + 2.0, 1e-12);
    // Two islands of four on gigabit Ethernet: 1.5 · 100 MB / 125 MB/s and 6 · 0.3 ms inside, a ring of two outside.
    near(sync_s(Topology::Islands(4), "diloco"), 1.2 + 0.0018 + 100.0 + 2.0, 1e-12);
    near(sync_s(Topology::Islands(8), "diloco"), 1.4 + 0.0042, 1e-12);
    near(sync_s(Topology::Ring, "streaming:H=100,bits=8,fragments=4,overlap=5"), 175.0 / 4.0 + 14.0, 1e-12);
}

#[test]
fn streaming_hides_what_fits_behind_its_overlap() {
    let planner = Planner::new().unwrap();
    // A step takes 1.165 s; a fragment of 110 M / 4 at 8 bits 64.2 s · 0.5 = 32.1 s and latency 0.56 s.
    let used = |overlap: u32| {
        let sync = format!("streaming:H=500,bits=8,fragments=4,overlap={overlap}");
        planner.plan(&request(&planner, 110e6, "8xm4-max", 20.0, &sync, 1.45)).unwrap().utilisation
    };
    assert_eq!(used(29), 1.0);
    let fragment = 1.75 * 110e6 / 4.0 / 1.5e6 + 0.56;
    let step = 6.0 * 110e6 * 2560.0 / 1.45e12;
    near(used(10), 500.0 * step / (500.0 * step + 4.0 * (fragment - 10.0 * step)), 1e-12);
}

#[test]
fn memory_is_counted_by_what_a_worker_holds() {
    let planner = Planner::new().unwrap();
    let memory = |parameters, nodes, sync| {
        planner.plan(&request(&planner, parameters, nodes, 20.0, sync, 1.45)).unwrap().memory_bytes
    };
    near(memory(110e6, "2xm4", "diloco"), 2.86e9, 1e-12);
    near(memory(596e6, "2xm4", "diloco"), 15.5e9, 1e-3);
    near(memory(1.5e9, "2xm4", "diloco"), 39e9, 1e-12);
    near(memory(1e10, "2xm4", "streaming"), 260e9, 1e-12);
    near(memory(1e10, "2xm4", "ddp"), 180e9, 1e-12);
    near(memory(1e10, "1xm4", "diloco"), 180e9, 1e-12);
}

#[test]
fn rounds_survive_as_often_as_nobody_fails() {
    let planner = Planner::new().unwrap();
    // A round of 12 minutes, a failure a day and machine.
    for (workers, by_hand) in [(2, 0.983), (8, 0.936), (16, 0.875), (64, 0.587)] {
        let mut asked = request(&planner, 110e6, &format!("{workers}xm4-max"), 1e9, "diloco", 1.0);
        asked.rate = Rate::Step { tokens: asked.step_tokens, seconds: 1.44 };
        (asked.mtbf, asked.latency) = (86400.0, 0.0);
        let plan = planner.plan(&asked).unwrap();
        near(plan.round_s, 720.0, 1e-6);
        near(plan.survival, by_hand, 2e-3);
        // Rounds that are begun again: (e^x − 1) / x of the time.
        let x = f64::from(workers) * plan.round_s / 86400.0;
        near(plan.days_with_failures.unwrap() / plan.days, x.exp_m1() / x, 1e-9);
        let failing = plan.constraints.iter().find(|c| c.name == "failures").unwrap();
        assert_eq!(failing.status == Status::Fails, workers > 8, "{}", failing.sentence);
        // √(2 · 2.2 s · MTBF / N)
        near(plan.checkpoint_every_s, (2.0 * 2.2 * 86400.0 / f64::from(workers)).sqrt(), 1e-9);
    }
}

#[test]
fn a_run_whose_rounds_never_end_has_no_cost() {
    let planner = Planner::new().unwrap();
    let mut asked = request(&planner, 1e10, "64xm4-max", 20.0, "diloco", 1.45);
    asked.mtbf = 3600.0;
    let plan = planner.plan(&asked).unwrap();
    assert!(plan.days_with_failures.is_none() && plan.cost.is_none());
}

#[test]
fn energy_and_renting_are_counted_by_hand() {
    let planner = Planner::new().unwrap();
    let mut asked = request(&planner, 110e6, "2xm4,1xm1", 1e6, "diloco", 1.45);
    (asked.mtbf, asked.duty) = (1e15, 0.5);
    let plan = planner.plan(&asked).unwrap();
    let cost = plan.cost.as_ref().unwrap();
    near(cost.wall_kwh, (2.0 * 65.0 + 39.0) * 0.5 * 24.0 * plan.days / 1000.0, 1e-6);
    near(cost.electricity_usd, cost.wall_kwh * 0.17, 1e-9);
    let gpu_s = 6.0 * 110e6 * 2.2e9 / (0.4 * 989e12);
    near(cost.gpu_hours, gpu_s / 3600.0, 1e-9);
    near(cost.gpu_usd, gpu_s / 3600.0 * 2.5, 1e-9);
}

/// The verdict is the first constraint that fails, in the order in which they are asked.
#[test]
fn the_first_failing_constraint_is_the_verdict() {
    let planner = Planner::new().unwrap();
    let plan = |parameters, nodes: &str, sync: &str| -> Plan {
        let asked = request(&planner, parameters, nodes, 20.0, sync, 1.45);
        planner.plan(&Request { electricity: 0.0, ..asked }).unwrap()
    };
    let first = |plan: &Plan| plan.fails_first;
    assert_eq!(first(&plan(110e6, "8xm4-max", "diloco")), None);
    assert_eq!(first(&plan(1e10, "64xm4-max", "diloco")), Some("memory"));
    assert_eq!(first(&plan(1e9, "2xm4-max", "diloco")), Some("compute"));
    assert_eq!(first(&plan(110e6, "8xm4-max", "ddp")), Some("uplink"));
    assert_eq!(first(&plan(110e6, "32xm4-max", "diloco")), Some("failures"));
    let mut dear = request(&planner, 110e6, "8xm4-max", 20.0, "diloco", 1.45);
    dear.electricity = 100.0;
    let dear = planner.plan(&dear).unwrap();
    assert_eq!((first(&dear), dear.feasible), (Some("cost"), false));
    let many = plan(110e6, "9xm4-max", "diloco:bits=1");
    let statistics = many.constraints.iter().find(|c| c.name == "statistics").unwrap();
    assert_eq!((statistics.status, many.feasible), (Status::Unknown, true));
}

#[test]
fn a_slow_machine_that_holds_others_back_is_named() {
    let planner = Planner::new().unwrap();
    let machines = |text| Machines::parse(planner.data(), text).unwrap();
    let mut asked =
        Request::new(planner.data(), Model::preset("stories110m").unwrap(), machines("8xm4-max,2xm1"), "lan")
            .unwrap();
    let plan = planner.plan(&asked).unwrap();
    assert!(plan.notes.iter().any(|note| note.contains("without 2xm1 it takes")), "{:?}", plan.notes);
    assert!(plan.notes.iter().any(|note| note.contains("nobody measured a step on m1;")), "{:?}", plan.notes);
    asked.machines = machines("8xm4-max,2xm4-pro");
    let plan = planner.plan(&asked).unwrap();
    assert!(!plan.notes.iter().any(|note| note.contains("without")), "{:?}", plan.notes);
}

#[test]
fn every_formula_is_used_by_some_plan() {
    let planner = Planner::new().unwrap();
    let mut used = std::collections::BTreeSet::new();
    for sync in ["ddp", "diloco", "streaming"] {
        for topology in [Topology::Ring, Topology::Tree, Topology::Star(1e9), Topology::Islands(2)] {
            let mut asked = request(&planner, 110e6, "8xm4-max", 1e6, sync, 1.45);
            asked.topology = topology;
            asked.rate = Rate::Published;
            used.extend(planner.plan(&asked).unwrap().steps.into_iter().map(|step| step.formula));
        }
    }
    let known: Vec<&str> = planner.data().book.names().collect();
    assert_eq!(used.iter().map(String::as_str).collect::<Vec<_>>(), known);
}
