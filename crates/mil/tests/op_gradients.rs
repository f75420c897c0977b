//! Derivatives of ops against central differences, at the points of the op fixtures.

#[path = "common/op_cases.rs"]
#[allow(dead_code, reason = "each test binary uses its part")]
mod op_cases;

use std::collections::{BTreeSet, HashMap};

use ferrane_mil::{
    DType, Function, Opcode, ValueId,
    diff::{DiffError, differentiate},
    interp::{Options, Tensor, interpret},
    verify,
};

use Opcode::*;
const OPS: [Opcode; 44] = [
    Linear,
    Einsum,
    ScaledDotProductAttention,
    Conv,
    ConvTranspose,
    AvgPool,
    L2Pool,
    MaxPool,
    LocalResponseNorm,
    SlidingWindows,
    Resize,
    ResizeBilinear,
    ResizeNearestNeighbor,
    UpsampleBilinear,
    UpsampleNearestNeighbor,
    BatchNorm,
    InstanceNorm,
    LayerNorm,
    L2Norm,
    SliceByIndex,
    SliceUpdate,
    Gather,
    GatherAlongAxis,
    GatherNd,
    Scatter,
    ScatterAlongAxis,
    ScatterNd,
    Topk,
    Cumsum,
    Crop,
    Stack,
    Reverse,
    ReverseSequence,
    BandPart,
    DepthToSpace,
    SpaceToDepth,
    PixelShuffle,
    PixelUnshuffle,
    SpaceToBatch,
    BatchToSpace,
    Flatten2d,
    ReshapeLike,
    Matmul,
    Concat,
];

/// Ops that are not differentiated for all arguments.
const PARTLY: [Opcode; 5] = [Einsum, Gather, GatherNd, Scatter, Topk];

type Tensors = HashMap<String, Tensor>;

/// Turns floating-point constants with axes into inputs, so that they have gradients too.
fn promote(f: &mut Function, given: &mut Tensors) {
    for i in 0..f.values.len() {
        let v = &mut f.values[i];
        let float = v.ty.as_tensor().is_some_and(|t| t.dtype == DType::Fp64 && t.rank() > 0);
        let Some(c) = v.constant.take_if(|_| float) else { continue };
        given.insert(v.name.clone(), Tensor::new(c.ty.shape.clone(), c.data().unwrap().to_f64().unwrap()));
        f.ops.retain(|op| op.results != [ValueId(i as u32)]);
        f.inputs.push(ValueId(i as u32));
    }
}

fn values(f: &Function, given: &Tensors, wanted: &[ValueId]) -> Vec<Tensor> {
    let values = interpret(f, given, &|_, _| None, Options::default()).unwrap();
    wanted.iter().map(|&v| values.get(v).unwrap().clone()).collect()
}

/// A number in −1..1 that depends on where it is.
fn seed(i: usize) -> f64 {
    ((i * 37 + 11) % 64) as f64 / 32.0 - 1.0
}

/// Checks the gradients of all floating-point inputs; false when the arguments are not differentiated.
fn check(name: &str, f: &Function, given: &Tensors) -> bool {
    let float = |v: &ValueId| f.tensor_type(*v).unwrap().dtype.is_float();
    let outputs: Vec<ValueId> = f.outputs.iter().copied().filter(float).collect();
    let mut wrt: Vec<ValueId> = f.inputs.iter().copied().filter(float).collect();
    let joint = loop {
        match differentiate(f, &wrt) {
            Ok(joint) => break joint,
            // References of `reshape_like` give their shapes only.
            Err(DiffError::Independent { value, .. }) => wrt.retain(|&v| f.name_of(v) != value),
            Err(DiffError::Unsupported { .. }) => return false,
            Err(e) => panic!("{name}: {e}"),
        }
    };
    assert_eq!(verify::check(&joint.function), [], "{name}");
    let mut seeded = given.clone();
    for &(output, input) in &joint.seeds {
        let mut i = 0;
        let shape = f.tensor_type(output).unwrap().shape.clone();
        let tensor = Tensor::from_fn(shape, |_| {
            i += 1;
            seed(i)
        });
        seeded.insert(joint.function.name_of(input).into(), tensor);
    }
    let weighed = |given: &Tensors| -> f64 {
        let outputs = values(f, given, &outputs);
        outputs.iter().flat_map(|t| t.data.iter().enumerate()).map(|(i, y)| y * seed(i + 1)).sum()
    };
    for &(v, gradient) in &joint.gradients {
        let analytic = &values(&joint.function, &seeded, &[gradient])[0];
        let value = f.name_of(v);
        let numeric: Vec<f64> = (0..given[value].data.len())
            .map(|i| {
                let at = |step: f64| {
                    let mut moved = given.clone();
                    moved.get_mut(value).unwrap().data[i] += step;
                    weighed(&moved)
                };
                (at(1e-5) - at(-1e-5)) / 2e-5
            })
            .collect();
        let error = op_cases::error(&analytic.data, &numeric);
        assert!(error < 1e-6, "{name}, gradient of {value}: {error:e}\n{:?}\n{numeric:?}", analytic.data);
    }
    true
}

#[test]
fn derivatives_agree_with_central_differences() {
    let mut checked = BTreeSet::new();
    for case in op_cases::all(DType::Fp64).into_iter().filter(|c| OPS.contains(&c.code)) {
        let f = case.function;
        let names = f.inputs.iter().map(|&v| f.name_of(v).to_owned());
        let given: Tensors = names.zip(case.inputs).collect();
        let (mut all, mut more) = (f.clone(), given.clone());
        promote(&mut all, &mut more);
        if check(&case.name, &all, &more) || check(&case.name, &f, &given) {
            checked.insert(case.code);
        } else {
            assert!(PARTLY.contains(&case.code), "{} has no derivative", case.name);
        }
    }
    let missing: Vec<&str> = OPS.iter().filter(|op| !checked.contains(op)).map(|op| op.name()).collect();
    assert!(missing.is_empty(), "not checked: {missing:?}");
}
