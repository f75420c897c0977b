//! What any estimate must be.

use ferrane_engine::{
    Confidence, Profile,
    cost::{Resource, estimate},
};
use ferrane_mil::{Builder, Opcode, Opset, TensorType};

use crate::programs::program;

fn chips() -> impl Iterator<Item = Profile> {
    Profile::names().filter(|name| *name != "cpu").map(|name| Profile::built_in(name).unwrap())
}

#[test]
fn a_tiny_program_takes_the_dispatch_floor() {
    // Published: M1 220, M2 Pro 100, M3 119, M4 90 to 95, M5 60 to 80, M6 160 and more.
    let published = [
        ("m1", 190.0, 230.0),
        ("m1-max", 190.0, 230.0),
        ("m2-pro", 95.0, 105.0),
        ("m3-pro", 115.0, 123.0),
        ("m4", 90.0, 95.0),
        ("m4-pro", 90.0, 95.0),
        ("m4-max", 90.0, 95.0),
        ("m5", 60.0, 80.0),
        ("m5-pro", 63.0, 74.0),
        ("m5-max", 60.0, 80.0),
        ("m6", 155.0, 355.0),
    ];
    for (chip, least, most) in published {
        let cost = estimate(&program("map", "8/64"), &Profile::built_in(chip).unwrap()).unwrap();
        let us = cost.seconds * 1e6;
        assert!(least <= us && us <= most + 1.0, "{chip}: {us}");
        assert_eq!(cost.limited_by(), Resource::Dispatch, "{chip}");
    }
}

#[test]
fn every_chip_gives_finite_sane_numbers() {
    let programs = [
        ("chain", "512/1/64/128/1/fp32"),
        ("chain8", "512/64/64/32/1/fp16"),
        ("matmul", "256/768/2048"),
        ("packed", "256/768"),
        ("reduce", "768/256"),
        ("map", "768/256"),
    ];
    for profile in chips() {
        for (kind, dims) in programs {
            let cost = estimate(&program(kind, dims), &profile).unwrap();
            let name = format!("{} {kind} {dims}", profile.name);
            assert!(cost.seconds > 5e-5 && cost.seconds < 0.1, "{name}: {} s", cost.seconds);
            let watts = cost.joules / cost.seconds;
            assert!(watts > 0.1 && watts < 15.0, "{name}: {watts} W");
            assert!(cost.of_peak >= 0.0 && cost.of_peak <= 1.02, "{name}: {}", cost.of_peak);
            assert!(cost.compile_seconds > 0.005 && cost.compile_seconds < 2.0, "{name}");
            assert!(cost.confidence == Confidence::Inferred || cost.confidence == Confidence::Extrapolated);
            let parts: f64 = cost.parts.iter().map(|part| part.seconds).sum();
            assert!((parts / cost.seconds - 1.0).abs() < 1e-9, "{name}");
        }
    }
}

#[test]
fn more_work_never_takes_less() {
    for profile in chips() {
        let seconds = |kind, dims: &str| estimate(&program(kind, dims), &profile).unwrap().seconds;
        for (less, more) in [
            ("64/64/64", "64/64/128"),
            ("64/1024/1024", "64/2048/1024"),
            ("1024/1024/1024", "2048/2048/2048"),
            ("2048/2048/2048", "2112/2048/2048"),
        ] {
            assert!(seconds("matmul", less) < seconds("matmul", more), "{} {less} {more}", profile.name);
        }
    }
}

#[test]
fn shared_weights_are_read_once_and_large_ones_each_time() {
    let m4 = Profile::built_in("m4").unwrap();
    let weights = |dims: &str| estimate(&program("chain", dims), &m4).unwrap().weight_bytes;
    assert_eq!(weights("512/1/64/1/1/fp16"), weights("512/1/64/9/1/fp16"));
    assert_eq!(9.0 * weights("2048/1/64/1/1/fp16"), weights("2048/1/64/9/1/fp16"));
}

#[test]
fn int8_weights_save_no_bandwidth_where_they_are_stored_as_fp16() {
    let bytes = |chip: &str, kind| {
        estimate(&program(kind, "256/1/64/1/1/fp16"), &Profile::built_in(chip).unwrap()).unwrap().weight_bytes
    };
    assert_eq!(2.0 * bytes("m4", "chain8"), bytes("m4", "chain"));
    assert_eq!(bytes("m1", "chain8"), bytes("m1", "chain"));
    // What is made of them on the way is no value that needs room, however large.
    let large =
        estimate(&program("chain8", "2048/1/64/1/1/fp16"), &Profile::built_in("m4").unwrap()).unwrap();
    assert_eq!(large.ops.iter().map(|op| op.bytes).sum::<f64>(), large.weight_bytes);
}

#[test]
fn operations_of_products_are_counted() {
    let mut b = Builder::new("main", Opset::Ios18);
    let q = b.input("q", TensorType::fp16([1, 12, 64, 256]));
    let k = b.input("k", TensorType::fp16([1, 12, 64, 256]));
    let scores = b.matmul(q, k, true, false).unwrap();
    let p = b.softmax(scores, -1).unwrap();
    let t = b.transpose(p, &[0, 1, 3, 2]).unwrap();
    let f = b.finish(&[t]);
    let cost = estimate(&f, &Profile::built_in("m4").unwrap()).unwrap();
    assert_eq!(cost.flops, 2.0 * 12.0 * 256.0 * 256.0 * 64.0);
    let limits: Vec<_> = cost.ops.iter().map(|op| (op.code, op.limited_by)).collect();
    assert_eq!(limits[0], (Opcode::Matmul, Resource::Mac));
    assert_eq!(limits[1], (Opcode::Softmax, Resource::Reduction));
}

#[test]
fn the_cpu_has_no_estimate_and_says_so() {
    let error = estimate(&program("map", "8/64"), &Profile::built_in("cpu").unwrap()).unwrap_err();
    assert!(error.to_string().contains("profile `cpu` has no"), "{error}");
}

#[test]
fn full_load_draws_the_published_power() {
    for (chip, kind, watts) in [("m4", "chain", 4.57), ("m4", "chain8", 12.25), ("m6", "chain", 6.2)] {
        let cost =
            estimate(&program(kind, "512/64/64/128/1/fp16"), &Profile::built_in(chip).unwrap()).unwrap();
        let drawn = cost.joules / cost.seconds;
        assert!((drawn / watts - 1.0).abs() < 0.1, "{chip} {kind}: {drawn} W");
    }
}

#[test]
fn extents_beyond_any_memory_are_no_panic() {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::fp16([1 << 31, 1 << 31]));
    let y = b.unary(Opcode::Relu, x).unwrap();
    let cost = estimate(&b.finish(&[y]), &Profile::built_in("m4").unwrap()).unwrap();
    assert!(cost.seconds.is_finite() && cost.seconds > 1e6);
}
