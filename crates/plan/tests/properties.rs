//! What holds for every plan: better machines are never worse.

use std::sync::LazyLock;

use ferrane_plan::sweep::Sweep;
use ferrane_plan::{Machines, Model, Plan, PlanError, Planner, Rate, Request, Sync, Topology};
use proptest::prelude::*;

static PLANNER: LazyLock<Planner> = LazyLock::new(|| Planner::new().unwrap());

#[derive(Clone, Debug)]
struct Case {
    parameters: f64,
    nodes: u32,
    uplink: f64,
    latency: f64,
    every: u32,
    bits: u32,
    method: &'static str,
    topology: Topology,
    duty: f64,
    mtbf: f64,
    tflops: f64,
}

fn cases() -> impl Strategy<Value = Case> {
    let topologies = [Topology::Ring, Topology::Tree, Topology::Star(1e8), Topology::Islands(1)];
    (
        (1e5..1e11f64, 1..100u32, 1e3..1e10f64, 0.0..1.0f64),
        (1..50u32, prop::sample::select(vec![1u32, 2, 4, 8, 16, 32])),
        prop::sample::select(vec!["ddp", "diloco", "streaming"]),
        prop::sample::select(topologies.to_vec()),
        (0.01..1.0f64, 1e4..1e9f64, 0.1..100.0f64),
    )
        .prop_map(|((parameters, nodes, uplink, latency), (every, bits), method, topology, rest)| Case {
            parameters,
            nodes,
            uplink,
            latency,
            every: every * 20,
            bits,
            method,
            topology,
            duty: rest.0,
            mtbf: rest.1,
            tflops: rest.2,
        })
}

fn request(planner: &Planner, case: &Case) -> Request {
    let machines = Machines::parse(planner.data(), &format!("{}xm4", case.nodes)).unwrap();
    let mut request = Request::new(planner.data(), Model::of(case.parameters), machines, "wan").unwrap();
    let sync = match case.method {
        "ddp" => format!("ddp:bits={}", case.bits),
        method => format!("{method}:H={},bits={}", case.every, case.bits),
    };
    let sync = if case.method == "streaming" { format!("{sync},overlap=4") } else { sync };
    request.sync = Sync::parse(&sync).unwrap();
    request.rate = Rate::Flops(case.tflops * 1e12);
    request.topology = case.topology;
    (request.uplink, request.latency) = (case.uplink, case.latency);
    (request.duty, request.mtbf) = (case.duty, case.mtbf);
    request
}

/// Days of the request and of the same after a change.
fn both(case: &Case, change: impl FnOnce(&mut Request)) -> (Plan, Plan) {
    let mut request = request(&PLANNER, case);
    let before = PLANNER.plan(&request).unwrap();
    change(&mut request);
    (before, PLANNER.plan(&request).unwrap())
}

fn no_more(after: f64, before: f64) -> bool {
    after <= before * (1.0 + 1e-9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_number_is_in_its_range(case in cases()) {
        let (plan, _) = both(&case, |_| {});
        prop_assert!(plan.utilisation > 0.0 && plan.utilisation <= 1.0);
        prop_assert!((0.0..=1.0).contains(&plan.survival));
        prop_assert!(no_more(plan.compute_days, plan.days));
        if let Some(real) = plan.days_with_failures {
            prop_assert!(no_more(plan.days, real));
        }
        prop_assert_eq!(plan.feasible, plan.first_failing().is_none());
    }

    #[test]
    fn a_faster_link_is_never_slower(case in cases(), times in 1.0..1e3f64) {
        let (before, after) = both(&case, |r| r.uplink *= times);
        prop_assert!(no_more(after.days, before.days));
        prop_assert!(after.survival >= before.survival * (1.0 - 1e-9));
        let (before, after) = both(&case, |r| r.latency /= times);
        prop_assert!(no_more(after.days, before.days));
    }

    #[test]
    fn fewer_bits_are_never_slower(case in cases()) {
        let (before, after) = both(&case, |r| r.sync.bits = 1);
        prop_assert!(no_more(after.days, before.days));
        prop_assert!(after.bytes_saved >= before.bytes_saved);
    }

    #[test]
    fn a_faster_machine_is_never_slower(case in cases(), times in 1.0..1e3f64) {
        let (before, after) = both(&case, |r| r.rate = Rate::Flops(case.tflops * 1e12 * times));
        prop_assert!(no_more(after.days, before.days));
        let (before, after) = both(&case, |r| r.duty = 1.0);
        prop_assert!(no_more(after.days, before.days));
    }

    #[test]
    fn rarer_failures_never_cost_more(case in cases(), times in 1.0..1e3f64) {
        let (before, after) = both(&case, |r| r.mtbf *= times);
        prop_assert!(after.survival >= before.survival);
        match (before.days_with_failures, after.days_with_failures) {
            (Some(before), Some(after)) => prop_assert!(no_more(after, before)),
            (Some(_), None) => prop_assert!(false, "a run that ends still ends"),
            _ => {}
        }
    }

    #[test]
    fn synchronising_more_rarely_never_wastes_more(case in cases(), times in 1..20u32) {
        prop_assume!(case.method != "ddp");
        let (before, after) = both(&case, |r| r.sync.every *= times);
        prop_assert!(after.utilisation >= before.utilisation * (1.0 - 1e-9));
    }

    #[test]
    fn what_an_uplink_needs_does_not_depend_on_the_models_size(case in cases(), times in 1.0..10.0f64) {
        prop_assume!(case.nodes > 1);
        let mut asked = request(&PLANNER, &Case { latency: 0.0, topology: Topology::Ring, ..case });
        asked.limits.days = f64::MAX;
        let before = PLANNER.plan(&asked).unwrap();
        asked.model.parameters *= times;
        let after = PLANNER.plan(&asked).unwrap();
        let (before, after) = (before.uplink_needed.unwrap(), after.uplink_needed.unwrap());
        prop_assert!((before / after - 1.0).abs() < 1e-9);
    }

    #[test]
    fn no_text_breaks_a_reader(text in "[ -~]{0,24}") {
        let _: Result<Vec<Machines>, PlanError> = Machines::parse(PLANNER.data(), &text);
        let _ = (Sync::parse(&text), Topology::parse(&text), Sweep::parse(&text), Model::preset(&text));
    }
}

#[test]
fn wrong_inputs_are_named() {
    let planner = &*PLANNER;
    let machines = |text| Machines::parse(planner.data(), text).unwrap_err().to_string();
    assert!(
        machines("8xm9").contains("there is no machine `m9`; there are m1, m1-max"),
        "{}",
        machines("8xm9")
    );
    assert!(machines("8x").contains("write 8xm4-max or 8xm4-max:64GB"));
    assert!(machines("").contains("is not a group of machines"));
    assert!(machines("0xm4").contains("the number of m4 is 0; give at least 1"));
    assert!(machines("2xm4:64").contains("is not an amount of memory"));
    assert!(machines("2xcpu").contains("there is no machine `cpu`"));
    assert!(machines("99999999999xm4").contains("is not a group of machines"));
    let sync = |text| Sync::parse(text).unwrap_err().to_string();
    assert!(sync("gossip").contains("write ddp, diloco:H=500,bits=8 or streaming"));
    assert!(sync("ddp:H=5").contains("there is no setting `H`; there are bits"));
    assert!(sync("diloco:H=0").contains("H is 0"));
    assert!(sync("diloco:bits=7").contains("use 1, 2, 4, 8, 16 or 32"));
    assert!(sync("diloco:H=x").contains("`x` is not a whole number"));
    assert!(sync("streaming:H=10,fragments=3").contains("choose a divisor of H = 10"));
    assert!(sync("streaming:H=20,fragments=4,overlap=5").contains("at most 4"));
    let topology = Topology::parse("islands:0").unwrap_err().to_string();
    assert!(topology.contains("write ring, tree, star:1Gbit or islands:4"));
    assert!(Model::preset("gpt5").unwrap_err().to_string().contains("there are nano, stories260k"));
    let four = Machines::parse(planner.data(), "4xm4").unwrap();
    let of_ten = Model::of(1e7);
    let link = Request::new(planner.data(), of_ten.clone(), four.clone(), "pigeon").unwrap_err().to_string();
    assert!(link.contains("there is no link `pigeon`; there are 10gbe, lan"), "{link}");
    let wrong = |change: &dyn Fn(&mut Request)| {
        let mut request = Request::new(planner.data(), of_ten.clone(), four.clone(), "wan").unwrap();
        change(&mut request);
        planner.plan(&request).unwrap_err().to_string()
    };
    assert!(wrong(&|r| r.duty = 1.5).contains("the duty is 1.5; it must be more than 0 and at most 1"));
    assert!(wrong(&|r| r.uplink = 0.0).contains("the uplink is 0; it must be more than 0"));
    assert!(wrong(&|r| r.tokens = f64::NAN).contains("the token budget is NaN"));
    assert!(
        wrong(&|r| r.topology = Topology::Islands(3)).contains("it must divide the number of machines, 4")
    );
    assert!(wrong(&|r| r.rate = Rate::Flops(-1.0)).contains("the rate is -1"));
}

#[test]
fn sweeps_vary_one_input() {
    let planner = &*PLANNER;
    let machines = |text| Machines::parse(planner.data(), text).unwrap();
    let request =
        Request::new(planner.data(), Model::preset("stories110m").unwrap(), machines("2xm4"), "wan").unwrap();
    for (text, rising) in
        [("nodes=2,4,8", true), ("uplink=1Mbit..1Gbit", true), ("H=10..1000", true), ("bits=4,8,16", false)]
    {
        let rows = Sweep::parse(text).unwrap().plans(planner, &request).unwrap();
        let speeds: Vec<f64> = rows.iter().map(|(_, plan)| plan.tokens_per_s).collect();
        assert!(speeds.windows(2).all(|pair| (pair[1] > pair[0]) == rising), "{text}: {speeds:?}");
    }
    let rows = Sweep::parse("params=10M,100M").unwrap().plans(planner, &request).unwrap();
    assert_eq!(rows[1].1.tokens, 2e9, "tokens a parameter stay");
    let mixed = Request { machines: machines("2xm4,1xm1"), ..request.clone() };
    let error = Sweep::parse("nodes=1,2").unwrap().plans(planner, &mixed).unwrap_err().to_string();
    assert!(error.contains("give machines of one kind"), "{error}");
    let ddp = Request { sync: Sync::parse("ddp").unwrap(), ..request.clone() };
    let error = Sweep::parse("H=1,2").unwrap().plans(planner, &ddp).unwrap_err().to_string();
    assert!(error.contains("ddp synchronises every step"), "{error}");
    let error = Sweep::parse("nodes=0").unwrap().plans(planner, &request).unwrap_err().to_string();
    assert!(error.contains("nodes is 0; it must be at least 1"), "{error}");
}
