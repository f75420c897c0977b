//! Rows of ops that are parsed only: recurrence, randomness, lists, states and control flow.

use super::{
    ArgKind::*, ArgSpec, Default as D, EngineStatus::*, OpSpec, X, arg, maybe, parsed, required, tensor,
};
use crate::{
    Opcode::*,
    Opset::{Ios15, Ios18},
};

const DIRECTION: ArgSpec = arg("direction", Str, D::Str("forward"));
const OUTPUT_SEQUENCE: ArgSpec = arg("output_sequence", Bool, D::Bool(false));
const SEED: ArgSpec = arg("seed", Int, D::Int(-1));
const LIST: ArgSpec = required("ls", Tensors);

pub(super) const ROWS: &[OpSpec] = &[
    parsed(
        Gru,
        Ios15,
        NotOnEngine,
        &[
            X,
            tensor("initial_h"),
            tensor("weight_ih"),
            tensor("weight_hh"),
            maybe("bias"),
            maybe("input_bias"),
            DIRECTION,
            OUTPUT_SEQUENCE,
            arg("recurrent_activation", Str, D::Str("sigmoid")),
            arg("activation", Str, D::Str("tanh")),
            arg("reset_after", Bool, D::Bool(false)),
        ],
        "A layer of gated recurrent units.",
    ),
    parsed(
        Lstm,
        Ios15,
        NotOnEngine,
        &[
            X,
            tensor("initial_h"),
            tensor("initial_c"),
            tensor("weight_ih"),
            tensor("weight_hh"),
            maybe("bias"),
            maybe("peephole"),
            maybe("weight_ih_back"),
            maybe("weight_hh_back"),
            maybe("bias_back"),
            maybe("peephole_back"),
            DIRECTION,
            OUTPUT_SEQUENCE,
            arg("recurrent_activation", Str, D::Str("sigmoid")),
            arg("cell_activation", Str, D::Str("tanh")),
            arg("activation", Str, D::Str("tanh")),
            arg("clip", Float, D::None),
        ],
        "A layer of long short-term memory.",
    ),
    parsed(
        Rnn,
        Ios15,
        NotOnEngine,
        &[
            X,
            tensor("initial_h"),
            tensor("weight_ih"),
            tensor("weight_hh"),
            maybe("bias"),
            DIRECTION,
            OUTPUT_SEQUENCE,
            arg("activation", Str, D::Str("tanh")),
        ],
        "A plain recurrent layer.",
    ),
    parsed(
        RandomBernoulli,
        Ios15,
        NotOnEngine,
        &[required("shape", Ints), arg("prob", Float, D::Float(0.5)), SEED],
        "Random zeros and ones.",
    ),
    parsed(
        RandomCategorical,
        Ios15,
        NotOnEngine,
        &[X, arg("mode", Str, D::Str("logits")), arg("size", Int, D::Int(1)), SEED],
        "Random indices drawn by weight.",
    ),
    parsed(
        RandomNormal,
        Ios15,
        NotOnEngine,
        &[
            required("shape", Ints),
            arg("mean", Float, D::Float(0.0)),
            arg("stddev", Float, D::Float(1.0)),
            SEED,
        ],
        "Random numbers, normally distributed.",
    ),
    parsed(
        RandomUniform,
        Ios15,
        NotOnEngine,
        &[required("shape", Ints), arg("low", Float, D::Float(0.0)), arg("high", Float, D::Float(1.0)), SEED],
        "Random numbers, evenly distributed.",
    ),
    parsed(ListGather, Ios15, DoesNotCompile, &[LIST, tensor("indices")], "Elements of a list, stacked."),
    parsed(ListLength, Ios15, DoesNotCompile, &[LIST], "The length of a list."),
    parsed(ListRead, Ios15, DoesNotCompile, &[LIST, tensor("index")], "An element of a list."),
    parsed(
        ListScatter,
        Ios15,
        DoesNotCompile,
        &[LIST, tensor("indices"), tensor("value")],
        "A list with elements replaced.",
    ),
    parsed(
        ListWrite,
        Ios15,
        DoesNotCompile,
        &[LIST, tensor("index"), tensor("value")],
        "A list with an element replaced.",
    ),
    parsed(
        MakeList,
        Ios15,
        DoesNotCompile,
        &[
            arg("init_length", Int, D::Int(1)),
            arg("dynamic_length", Bool, D::Bool(true)),
            required("elem_shape", Tensors),
            arg("dtype", Str, D::Str("fp32")),
        ],
        "An empty list.",
    ),
    parsed(ReadState, Ios18, DoesNotCompile, &[required("input", Tensor)], "The tensor a state holds."),
    parsed(
        WriteState,
        Ios18,
        Unknown,
        &[required("input", Tensor), tensor("data")],
        "Puts a tensor into a state.",
    ),
    parsed(
        CoremlUpdateState,
        Ios18,
        Unknown,
        &[required("state", Tensor), tensor("value")],
        "Puts a tensor into a state and returns it.",
    ),
    parsed(
        Classify,
        Ios15,
        DoesNotCompile,
        &[tensor("probabilities"), tensor("classes")],
        "The most probable class and the probability of each.",
    ),
    parsed(Cond, Ios15, DoesNotCompile, &[tensor("pred")], "One of two blocks, by a truth value."),
    parsed(WhileLoop, Ios15, DoesNotCompile, &[required("loop_vars", Tensors)], "A block again and again."),
];
