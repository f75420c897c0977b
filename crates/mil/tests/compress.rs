//! Weights in fewer bits and back: bounds on random weights, and agreement with coremltools.
//!
//! `tools/mil/make_compress_fixtures.py` makes the fixtures.

use ferrane_mil::compress::{Compressed, Scheme, Vector, compress};
use ferrane_mil::{Constant, DType, Data, Opcode, Opset, TensorType, ops};
use proptest::prelude::*;
use serde_json::Value;

/// Half a step of the quantiser that made `c`, for each element: from the operands, as the op's definition has them.
fn half_steps(c: &Compressed) -> Vec<f64> {
    let scale = &c.args.iter().find(|(name, _)| *name == "scale").expect("a scale").1;
    let scales = scale.data().and_then(Data::to_f64).unwrap();
    let axis = c.args.iter().find(|(name, _)| *name == "axis").and_then(|(_, a)| a.as_int()).unwrap_or(0);
    let shape = &c.ty.shape;
    let mut counts = vec![1; shape.len()];
    match (c.code, scale.ty.shape.as_slice()) {
        (Opcode::ConstexprAffineDequantize, []) => {}
        (Opcode::ConstexprAffineDequantize, all) => counts[axis as usize] = all[0],
        (_, all) => counts.copy_from_slice(all),
    }
    let of = |mut i: usize| {
        let mut place = vec![0; shape.len()];
        for d in (0..shape.len()).rev() {
            place[d] = i % shape[d] * counts[d] / shape[d];
            i /= shape[d];
        }
        place.iter().zip(&counts).fold(0, |at, (p, n)| at * n + p)
    };
    (0..c.ty.elements()).map(|i| scales[of(i)] / 2.0).collect()
}

fn check_half_a_step(values: &[f32], c: &Compressed) -> Result<(), TestCaseError> {
    // The result is rounded to its type.
    let ulp = if c.ty.dtype == DType::Fp16 { 2f64.powi(-10) } else { 2f64.powi(-23) };
    let decoded = c.decode().unwrap();
    for (i, (half, (x, y))) in half_steps(c).iter().zip(values.iter().zip(&decoded)).enumerate() {
        let (x, y) = (f64::from(*x), f64::from(*y));
        let bound = half * (1.0 + 1e-6) + x.abs().max(y.abs()) * ulp + 6e-8;
        prop_assert!((x - y).abs() <= bound, "element {i}: {x} became {y}, more than {bound} away");
    }
    Ok(())
}

fn weights(elements: usize) -> impl Strategy<Value = Vec<f32>> {
    let one = prop_oneof![6 => -1.0f32..1.0, 2 => Just(0.0f32), 1 => -300.0f32..300.0, 1 => -1e-4f32..1e-4];
    prop_oneof![
        8 => prop::collection::vec(one, elements),
        1 => prop::collection::vec(0.5f32..2.0, elements),
        1 => Just(vec![0.0; elements]),
    ]
}

fn float() -> impl Strategy<Value = DType> {
    prop_oneof![Just(DType::Fp16), Just(DType::Fp32)]
}

proptest! {
    #[test]
    fn affine_is_within_half_a_step(
        values in weights(24), dtype in float(), unsigned: bool, axis in prop::option::of(0usize..3), symmetric: bool,
    ) {
        let ty = TensorType::new(dtype, [2, 3, 4]);
        let integer = if unsigned { DType::Uint8 } else { DType::Int8 };
        let c = compress(&values, &ty, &Scheme::Affine { dtype: integer, axis, symmetric }, Opset::Ios16).unwrap();
        check_half_a_step(&values, &c)?;
    }

    #[test]
    fn blockwise_is_within_half_a_step(
        values in weights(24),
        dtype in float(),
        integer in prop::sample::select(&[DType::Int4, DType::Uint4, DType::Int8, DType::Uint8][..]),
        blocks in (prop::sample::select(&[1usize, 2][..]), prop::sample::select(&[1usize, 3][..]), prop::sample::select(&[1usize, 2, 4][..])),
        symmetric: bool,
    ) {
        let ty = TensorType::new(dtype, [2, 3, 4]);
        let blocks = vec![blocks.0, blocks.1, blocks.2];
        let c = compress(&values, &ty, &Scheme::Blockwise { dtype: integer, blocks, symmetric }, Opset::Ios18).unwrap();
        check_half_a_step(&values, &c)?;
    }

    #[test]
    fn sparse_is_exact(values in weights(24), old: bool) {
        let opset = if old { Opset::Ios16 } else { Opset::Ios18 };
        let c = compress(&values, &TensorType::new(DType::Fp32, [2, 3, 4]), &Scheme::Sparse(None), opset).unwrap();
        prop_assert_eq!(c.decode().unwrap(), values);
    }

    #[test]
    fn sparse_integers_are_those_of_dense_ones(values in weights(24), integer in prop::sample::select(&[DType::Int4, DType::Uint8][..]), symmetric: bool) {
        let ty = TensorType::new(DType::Fp32, [2, 3, 4]);
        let form = Scheme::Blockwise { dtype: integer, blocks: vec![2, 1, 2], symmetric };
        let dense = compress(&values, &ty, &form, Opset::Ios18).unwrap();
        let sparse = compress(&values, &ty, &Scheme::Sparse(Some(Box::new(form))), Opset::Ios18).unwrap();
        prop_assert_eq!(sparse.decode().unwrap(), dense.decode().unwrap());
        let stored = |c: &Compressed, name| c.args.iter().find(|(n, _)| *n == name).unwrap().1.ty.elements();
        prop_assert_eq!(stored(&sparse, "nonzero_data"), values.iter().filter(|x| **x != 0.0).count());
    }

    #[test]
    fn sparse_palettes_spend_no_entry_on_zeros(
        table in prop::collection::vec(0.125f32..2.0, 8),
        picks in prop::collection::vec(prop::option::of(0usize..4), 24),
        vector in prop::option::of(Just(Vector { size: 2, axis: 1 })),
    ) {
        // Four entries beside zero: one more than two bits of a dense palette could tell apart.
        let size = vector.map_or(1, |v| v.size);
        let values: Vec<f32> = picks.iter().flat_map(|pick| {
            (0..size).map(|part| pick.map_or(0.0, |entry| table[entry * size + part])).collect::<Vec<_>>()
        }).collect();
        let form = Scheme::Palette { bits: 2, groups: vec![], vector };
        let ty = TensorType::new(DType::Fp32, [4, 6 * size]);
        let c = compress(&values, &ty, &Scheme::Sparse(Some(Box::new(form))), Opset::Ios18).unwrap();
        prop_assert_eq!(c.decode().unwrap(), values);
    }

    #[test]
    fn palettes_that_hold_every_value_are_exact(
        table in prop::collection::vec(-2.0f32..2.0, 256),
        picks in prop::collection::vec(0usize..256, 96),
        bits in prop::sample::select(&[1usize, 2, 3, 4, 6, 8][..]),
        groups in prop::sample::select(&[1usize, 2, 4][..]),
        vector in prop::option::of(prop::sample::select(&[0usize, 1][..])),
        old: bool,
    ) {
        // Vectors of two elements along an axis: as many different ones as there are entries.
        let size = if vector.is_some() { 2 } else { 1 };
        let entries = (1 << bits).min(table.len() / size);
        let [rows, columns] = [8, 12];
        let values: Vec<f32> = (0..rows * columns).map(|i| {
            let (r, c) = (i / columns, i % columns);
            let (vector_number, part) = match vector {
                Some(0) => (r / 2 * columns + c, r % 2),
                Some(_) => (r * columns / 2 + c / 2, c % 2),
                None => (i, 0),
            };
            table[picks[vector_number] % entries * size + part]
        }).collect();
        let old = old && bits != 3 && groups == 1 && vector.is_none();
        let scheme = Scheme::Palette { bits, groups: vec![groups, 1], vector: vector.map(|axis| Vector { size: 2, axis }) };
        let opset = if old { Opset::Ios16 } else { Opset::Ios18 };
        let c = compress(&values, &TensorType::new(DType::Fp32, [rows, columns]), &scheme, opset).unwrap();
        prop_assert_eq!(c.decode().unwrap(), values);
    }

    #[test]
    fn palettes_give_every_weight_its_nearest_entry(values in weights(48), bits in prop::sample::select(&[1usize, 2, 3][..])) {
        let ty = TensorType::fp16([4, 12]);
        let c = compress(&values, &ty, &Scheme::Palette { bits, groups: vec![], vector: None }, Opset::Ios18).unwrap();
        let lut = c.args.iter().find(|(n, _)| *n == "lut").and_then(|(_, c)| c.data()?.to_f64()).unwrap();
        for (x, y) in values.iter().zip(c.decode().unwrap()) {
            let x = half::f16::from_f32(*x).to_f64();
            let best = lut.iter().map(|e| (e - x).abs()).fold(f64::INFINITY, f64::min);
            prop_assert!((x - f64::from(y)).abs() <= best, "{x} became {y} with {lut:?}");
        }
    }
}

/// The cases of the fixture file.
fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("fixtures/compress.json")).unwrap()
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn extents(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

fn constant(v: &Value) -> Constant {
    let dtype = DType::from_name(v["const"].as_str().unwrap()).unwrap();
    let data = numbers(&v["data"]).into_iter();
    let data = match dtype {
        DType::Fp32 => Data::Fp32(data.map(|x| x as f32).collect()),
        DType::Int4 | DType::Int8 | DType::Int32 => Data::Int(data.map(|x| x as i64).collect()),
        _ => Data::Uint(data.map(|x| x as u64).collect()),
    };
    Constant::inline(TensorType::new(dtype, extents(&v["shape"])), data)
}

fn scheme(v: &Value) -> Scheme {
    let dtype = || DType::from_name(v["dtype"].as_str().unwrap()).unwrap();
    let symmetric = v["symmetric"].as_bool() == Some(true);
    match v["kind"].as_str().unwrap() {
        "affine" => {
            Scheme::Affine { dtype: dtype(), axis: v["axis"].as_u64().map(|a| a as usize), symmetric }
        }
        "blockwise" => Scheme::Blockwise { dtype: dtype(), blocks: extents(&v["blocks"]), symmetric },
        "palette" => Scheme::Palette {
            bits: v["bits"].as_u64().unwrap() as usize,
            groups: extents(&v["groups"]),
            vector: v["vector"].as_array().map(|of| {
                let of: Vec<usize> = of.iter().map(|n| n.as_u64().unwrap() as usize).collect();
                Vector { size: of[0], axis: of[1] }
            }),
        },
        "sparse" => Scheme::Sparse(v.get("form").map(|form| Box::new(scheme(form)))),
        other => panic!("{other} is no scheme"),
    }
}

/// What coremltools made of a case.
fn theirs(case: &Value) -> Compressed {
    let code = Opcode::from_name(case["op"].as_str().unwrap()).unwrap();
    let spec = ops::spec(code).unwrap();
    let args = case["args"].as_object().unwrap();
    let args =
        args.iter().map(|(name, v)| (spec.arg(name).expect("a known argument").name, constant(v))).collect();
    Compressed { code, args, ty: TensorType::new(DType::Fp32, extents(&case["shape"])) }
}

fn ours(case: &Value) -> Compressed {
    let values: Vec<f32> = numbers(&case["values"]).iter().map(|&x| x as f32).collect();
    let opset = Opset::from_name(case["opset"].as_str().unwrap()).unwrap();
    let ty = TensorType::new(DType::Fp32, extents(&case["shape"]));
    compress(&values, &ty, &scheme(&case["scheme"]), opset).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn what_coremltools_compressed_decodes_as_it_says() {
    let cases = cases();
    assert!(cases.len() > 40, "fixtures are missing");
    for (i, case) in cases.iter().enumerate() {
        let decoded = theirs(case).decode().unwrap_or_else(|e| panic!("case {i}: {e}"));
        for (given, expected) in decoded.iter().zip(numbers(&case["decoded"])) {
            assert!(
                (f64::from(*given) - expected).abs() <= 1e-6 * expected.abs(),
                "case {i}: {given} {expected}"
            );
        }
        assert_eq!(decoded.len(), case["decoded"].as_array().unwrap().len(), "case {i}");
    }
}

#[test]
fn operands_have_the_names_types_and_shapes_that_coremltools_gives_them() {
    let shown = |c: &Compressed| {
        let mut all: Vec<String> = c.args.iter().map(|(name, c)| format!("{name}: {}", c.ty)).collect();
        all.sort();
        all
    };
    for (i, case) in cases().iter().enumerate() {
        assert_eq!(shown(&ours(case)), shown(&theirs(case)), "case {i}: {}", case["scheme"]);
    }
}

#[test]
fn errors_are_not_above_those_of_coremltools() {
    for (i, case) in cases().iter().enumerate() {
        let values = numbers(&case["values"]);
        let squares = |decoded: &[f64]| values.iter().zip(decoded).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
        let decoded: Vec<f64> = ours(case).decode().unwrap().iter().map(|&x| x.into()).collect();
        let (ours, theirs) = (squares(&decoded), squares(&numbers(&case["decoded"])));
        // Two runs of k-means end in tables of about the same quality.
        let slack = if case["scheme"]["kind"] == "palette" { 1.25 } else { 1.02 };
        assert!(ours <= theirs * slack + 1e-9, "case {i} {}: {ours} against {theirs}", case["scheme"]);
    }
}
