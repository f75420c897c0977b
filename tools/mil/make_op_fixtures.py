#!/usr/bin/env python3
"""Makes crates/mil/tests/fixtures/ops.json: random cases of every op, with results by NumPy, SciPy's formulas or PyTorch.

Run from the root of the repository with NumPy and PyTorch installed:

    python3 tools/mil/make_op_fixtures.py

Floating-point inputs are multiples of 1/64 that binary16 holds exactly. An argument is one of
    {"input": shape, "data": …}            a function input of floating-point type
    {"index": shape, "data": …}            a function input of int32
    {"bool": shape, "data": …}             a function input of bool
    {"const": dtype, "shape": …, "data": …} a constant; dtype "float" is the floating-point type of the inputs
    [argument, …]                           a tuple
A result is {"shape": …, "data": …}.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

rng = np.random.default_rng(3)
cases = []


def x(*shape, low=-2.0, high=2.0):
    return np.floor(rng.uniform(low, high, shape) * 64) / 64


def t(a):
    return torch.from_numpy(np.asarray(a, dtype=np.float64))


def plain(a):
    a = np.asarray(a.detach().numpy() if isinstance(a, torch.Tensor) else a)
    data = a.astype(np.float64).reshape(-1)
    return {"shape": list(a.shape), "data": [int(v) if v == int(v) else float(v) for v in data]}


def inp(a):
    p = plain(a)
    return {"input": p["shape"], "data": p["data"]}


def index(a):
    p = plain(a)
    return {"index": p["shape"], "data": p["data"]}


def boolean(a):
    p = plain(a)
    return {"bool": p["shape"], "data": p["data"]}


def const(a, dtype="float"):
    if isinstance(a, str):
        return {"const": "string", "shape": [], "data": [a]}
    a = np.asarray(a)
    if dtype == "float" and a.dtype == bool:
        dtype = "bool"
    elif dtype == "float" and a.dtype.kind == "i":
        dtype = "int32"
    p = plain(a)
    return {"const": dtype, "shape": p["shape"], "data": p["data"]}


def case(op, args, *results):
    def arg(a):
        if isinstance(a, (dict, list)):
            return [arg(e) for e in a] if isinstance(a, list) else a
        return const(a)

    named = {name: arg(a) for name, a in args.items()}
    cases.append({"op": op, "args": named, "results": [plain(r) for r in results]})


def ints(*v):
    return np.array(v, dtype=np.int32)


# Elementwise.
a = x(2, 3, 4)
pos = x(2, 3, 4, low=0.125, high=3.0)
unit = x(2, 3, 4, low=-0.9, high=0.9)
for op, f, v in [
    ("abs", np.abs, a), ("acos", np.arccos, unit), ("asin", np.arcsin, unit), ("atan", np.arctan, a),
    ("atanh", np.arctanh, unit), ("ceil", np.ceil, a), ("cos", np.cos, a), ("cosh", np.cosh, a),
    ("erf", lambda v: torch.erf(t(v)), a), ("exp", np.exp, a), ("exp2", np.exp2, a), ("floor", np.floor, a),
    ("identity", lambda v: v, a), ("round", np.round, x(4, 5) * 2), ("sign", np.sign, np.round(a)),
    ("sin", np.sin, a), ("sinh", np.sinh, a), ("sqrt", np.sqrt, pos), ("square", np.square, a),
    ("tan", np.tan, unit), ("tanh", np.tanh, a), ("relu", lambda v: F.relu(t(v)), a),
    ("relu6", lambda v: F.relu6(t(v)), 5 * a), ("sigmoid", lambda v: torch.sigmoid(t(v)), a),
    ("silu", lambda v: F.silu(t(v)), a), ("softplus", lambda v: F.softplus(t(v)), a),
    ("softsign", lambda v: F.softsign(t(v)), a),
]:
    case(op, {"x": inp(v)}, f(v))
case("inverse", {"x": inp(pos), "epsilon": const(0.25)}, 1 / (pos + 0.25))
case("log", {"x": inp(pos), "epsilon": const(0.25)}, np.log(pos + 0.25))
case("rsqrt", {"x": inp(pos), "epsilon": const(0.25)}, 1 / np.sqrt(pos + 0.25))
case("clip", {"x": inp(a), "alpha": const(-0.5), "beta": const(1.0)}, np.clip(a, -0.5, 1.0))
case("threshold", {"x": inp(a), "alpha": const(0.5)}, np.maximum(a, 0.5))
case("elu", {"x": inp(a), "alpha": const(0.75)}, F.elu(t(a), 0.75))
case("leaky_relu", {"x": inp(a), "alpha": const(0.25)}, F.leaky_relu(t(a), 0.25))
case("linear_activation", {"x": inp(a), "alpha": const(0.5), "beta": const(0.25)}, 0.5 * a + 0.25)
case("scaled_tanh", {"x": inp(a), "alpha": const(1.5), "beta": const(0.5)}, 1.5 * np.tanh(0.5 * a))
case("sigmoid_hard", {"x": inp(a), "alpha": const(0.25), "beta": const(0.5)}, np.clip(0.25 * a + 0.5, 0, 1))
case("clamped_relu", {"x": inp(a), "alpha": const(0.25), "beta": const(1.0)}, np.minimum(np.where(a < 0, 0.25 * a, a), 1))
case("thresholded_relu", {"x": inp(a), "alpha": const(0.5)}, np.where(a < 0.5, 0, a))
for mode, approximate in [("EXACT", "none"), ("TANH_APPROXIMATION", "tanh")]:
    case("gelu", {"x": inp(a), "mode": mode}, F.gelu(t(a), approximate=approximate))
slope = np.array([0.25, 0.5, -0.5])
case("prelu", {"x": inp(a), "alpha": const(slope)}, F.prelu(t(a), t(slope)))
case("softplus_parametric", {"x": inp(a), "alpha": const(slope), "beta": const(2 * slope)},
     slope[:, None] * np.log1p(np.exp(2 * slope[:, None] * a)))
case("softmax", {"x": inp(a), "axis": 1}, torch.softmax(t(a), 1))
p, q = x(2, 3, 4), x(3, 1, low=0.25)
for op, f in [
    ("add", np.add), ("sub", np.subtract), ("mul", np.multiply), ("real_div", np.divide),
    ("floor_div", np.floor_divide), ("mod", np.mod), ("maximum", np.maximum), ("minimum", np.minimum),
]:
    case(op, {"x": inp(p), "y": inp(q)}, f(p, q))
case("pow", {"x": inp(pos), "y": inp(q)}, np.power(pos, q))
r = np.round(p)
s = np.round(x(3, 1))
for op, f in [
    ("equal", np.equal), ("not_equal", np.not_equal), ("greater", np.greater), ("less", np.less),
    ("greater_equal", np.greater_equal), ("less_equal", np.less_equal),
]:
    case(op, {"x": inp(r), "y": inp(s)}, f(r, s))
m, n = p > 0, s > 0
for op, f in [("logical_and", np.logical_and), ("logical_or", np.logical_or), ("logical_xor", np.logical_xor)]:
    case(op, {"x": boolean(m), "y": boolean(n)}, f(m, n))
case("logical_not", {"x": boolean(m)}, np.logical_not(m))
case("select", {"cond": boolean(m), "a": inp(p), "b": inp(q)}, np.where(m, p, q))
case("cast", {"x": inp(3 * p), "dtype": "int32"}, np.trunc(3 * p))

# Convolutions and products.
for stride, pad, dilation, groups in [((1, 1), (0, 0), (1, 1), 1), ((2, 1), (1, 2), (1, 2), 2), ((2, 2), (1, 1), (1, 1), 4)]:
    i, o = 4, 8
    v, w, b = x(2, i, 7, 6), x(o, i // groups, 3, 2), x(o)
    args = {
        "x": inp(v), "weight": const(w), "bias": const(b), "strides": ints(*stride), "dilations": ints(*dilation),
        "groups": groups, "pad_type": "custom", "pad": ints(pad[0], pad[0], pad[1], pad[1]),
    }
    case("conv", args, F.conv2d(t(v), t(w), t(b), stride, pad, dilation, groups))
    wt = x(i, o // groups, 3, 2)
    args = args | {"weight": const(wt)}
    case("conv_transpose", args, F.conv_transpose2d(t(v), t(wt), t(b), stride, pad, 0, groups, dilation))
v, w = x(1, 3, 9), x(5, 3, 4)
case("conv", {"x": inp(v), "weight": const(w), "pad_type": "same", "strides": ints(1), "groups": 1},
     F.conv1d(t(v), t(w), padding="same"))
v, w = x(1, 2, 4, 3, 5), x(3, 2, 2, 3, 2)
case("conv", {"x": inp(v), "weight": const(w), "pad_type": "valid"}, F.conv3d(t(v), t(w)))
v, w = x(1, 3, 5), x(3, 2, 3)
case("conv_transpose", {"x": inp(v), "weight": const(w), "strides": ints(2), "pad_type": "custom", "pad": ints(1, 1),
                        "output_shape": ints(1, 2, 10)},
     F.conv_transpose1d(t(v), t(w), stride=2, padding=1, output_padding=1))
case("conv_transpose", {"x": inp(v), "weight": const(w)}, F.conv_transpose1d(t(v), t(w)))
v, w, b = x(2, 3, 5), x(4, 5), x(4)
case("linear", {"x": inp(v), "weight": const(w), "bias": const(b)}, F.linear(t(v), t(w), t(b)))
case("linear", {"x": inp(v[0, 0]), "weight": const(w)}, w @ v[0, 0])
u, v = x(2, 1, 3, 4), x(5, 3, 2)
case("matmul", {"x": inp(u), "y": inp(v), "transpose_x": True}, np.swapaxes(u, -1, -2) @ v)
u, v = x(2, 3, 2, 4), x(2, 4, 2, 5)
case("einsum", {"values": [inp(u), inp(v)], "equation": "nchw,nwhu->nchu"}, np.einsum("nchw,nwhu->nchu", u, v))
u, v = x(3, 1, 4), x(4, 2, 5)
case("einsum", {"values": [inp(u), inp(v)], "equation": "chw,whr->chr"},
     np.einsum("chw,whr->chr", np.broadcast_to(u, (3, 2, 4)), v))
u, v = x(2, 3, 4), x(2, 5, 4)
case("einsum", {"values": [inp(u), inp(v)], "equation": "bid, bjd -> bij"}, np.einsum("bid,bjd->bij", u, v))
q_, k_, v_ = x(2, 2, 3, 4), x(2, 2, 5, 4), x(2, 2, 5, 6)
mask, truth = x(3, 5), np.tril(np.ones((3, 5), bool), 2)
case("scaled_dot_product_attention", {"query": inp(q_), "key": inp(k_), "value": inp(v_)},
     F.scaled_dot_product_attention(t(q_), t(k_), t(v_)))
case("scaled_dot_product_attention", {"query": inp(q_), "key": inp(k_), "value": inp(v_), "attn_mask": inp(mask)},
     F.scaled_dot_product_attention(t(q_), t(k_), t(v_), t(mask)))
case("scaled_dot_product_attention", {"query": inp(q_), "key": inp(k_), "value": inp(v_), "attn_mask": boolean(truth)},
     F.scaled_dot_product_attention(t(q_), t(k_), t(v_), torch.from_numpy(truth)))

# Normalisations.
v, g, b, mean, var = x(2, 3, 4, 5), x(3), x(3), x(3), x(3, low=0.25)
case("batch_norm", {"x": inp(v), "mean": const(mean), "variance": const(var), "gamma": const(g), "beta": const(b),
                    "epsilon": const(0.0625)}, F.batch_norm(t(v), t(mean), t(var), t(g), t(b), eps=0.0625))
case("batch_norm", {"x": inp(v), "mean": const(mean), "variance": const(var), "epsilon": const(0.0625)},
     F.batch_norm(t(v), t(mean), t(var), eps=0.0625))
case("instance_norm", {"x": inp(v), "gamma": const(g), "beta": const(b), "epsilon": const(0.0625)},
     F.instance_norm(t(v), weight=t(g), bias=t(b), eps=0.0625))
g, b = x(4, 5), x(4, 5)
case("layer_norm", {"x": inp(v), "axes": ints(2, -1), "gamma": const(g), "beta": const(b), "epsilon": const(0.0625)},
     F.layer_norm(t(v), (4, 5), t(g), t(b), 0.0625))
centred = v - v.mean(1, keepdims=True)
case("layer_norm", {"x": inp(v), "axes": ints(1), "epsilon": const(0.0625)},
     centred / np.sqrt((centred**2).mean(1, keepdims=True) + 0.0625))
case("l2_norm", {"x": inp(v), "epsilon": const(0.0625)},
     v / np.sqrt((v**2).sum((1, 2, 3), keepdims=True) + 0.0625))
v = x(2, 7, 3, 2)
case("local_response_norm", {"x": inp(v), "size": 3, "alpha": const(0.5), "beta": const(0.75), "k": const(1.5)},
     F.local_response_norm(t(v), 3, 0.5, 0.75, 1.5))
case("local_response_norm", {"x": inp(v), "size": 4, "alpha": const(0.5), "beta": const(0.75), "k": const(1.5)},
     F.local_response_norm(t(v), 4, 0.5, 0.75, 1.5))

# Pools.
v = x(2, 3, 7, 6)
for ceil in [False, True]:
    common = {"x": inp(v), "kernel_sizes": ints(3, 2), "strides": ints(2, 2), "pad_type": "custom",
              "pad": ints(1, 1, 1, 1), "ceil_mode": ceil}
    case("max_pool", common, F.max_pool2d(t(v), (3, 2), 2, 1, ceil_mode=ceil))
    for exclude in [False, True]:
        case("avg_pool", common | {"exclude_padding_from_average": exclude},
             F.avg_pool2d(t(v), (3, 2), 2, 1, ceil_mode=ceil, count_include_pad=not exclude))
case("l2_pool", {"x": inp(v), "kernel_sizes": ints(2, 2), "strides": ints(2, 1), "pad_type": "valid"},
     torch.sqrt(F.avg_pool2d(t(v) ** 2, 2, (2, 1), divisor_override=1)))
case("max_pool", {"x": inp(v), "kernel_sizes": ints(3, 3), "pad_type": "same"}, F.max_pool2d(t(v), 3, 1, 1))
v = x(1, 2, 8)
case("avg_pool", {"x": inp(v), "kernel_sizes": ints(3), "pad_type": "valid"}, F.avg_pool1d(t(v), 3, 1))

# Shape and movement.
v = x(2, 3, 4)
case("reshape", {"x": inp(v), "shape": ints(4, -1)}, v.reshape(4, -1))
case("transpose", {"x": inp(v), "perm": ints(2, 0, 1)}, v.transpose(2, 0, 1))
case("expand_dims", {"x": inp(v), "axes": ints(0, -1)}, v[None, ..., None])
case("squeeze", {"x": inp(v[:, :1]), "axes": ints(1)}, v[:, 0])
w = x(2, 2, 4)
case("concat", {"values": [inp(v), inp(w)], "axis": 1}, np.concatenate([v, w], 1))
case("concat", {"values": [inp(w), inp(v[:, :2])], "axis": 1, "interleave": True},
     np.stack([w, v[:, :2]], 2).reshape(2, 4, 4))
for axis in [0, 1, -1]:
    case("stack", {"values": [inp(w), inp(v[:, :2])], "axis": axis}, np.stack([w, v[:, :2]], axis))
case("split", {"x": inp(v), "axis": 2, "split_sizes": ints(1, 3)}, v[..., :1], v[..., 1:])
case("tile", {"x": inp(v), "reps": ints(2, 1, 3)}, np.tile(v, (2, 1, 3)))
case("pad", {"x": inp(v), "pad": ints(1, 2, 0, 1), "mode": "constant", "constant_val": const(0.5)},
     np.pad(v, ((0, 0), (1, 2), (0, 1)), constant_values=0.5))
case("pad", {"x": inp(v), "pad": ints(1, 2), "mode": "reflect"}, np.pad(v, ((0, 0), (0, 0), (1, 2)), "reflect"))
case("pad", {"x": inp(v), "pad": ints(1, 2), "mode": "replicate"}, np.pad(v, ((0, 0), (0, 0), (1, 2)), "edge"))
case("slice_by_size", {"x": inp(v), "begin": ints(0, 1, 1), "size": ints(2, 2, 3)}, v[:, 1:3, 1:4])
case("slice_by_index", {"x": inp(v), "begin": ints(0, 1, 3), "end": ints(2, 3, 0), "stride": ints(1, 1, -2)},
     v[0:2, 1:3, 3:0:-2])
case("slice_by_index", {"x": inp(v), "begin": ints(1, -2, 0), "end": ints(0, 9, -1), "begin_mask": np.array([False, False, True]),
                        "end_mask": np.array([False, True, False]), "squeeze_mask": np.array([True, False, False])},
     v[1, -2:, :-1])
case("slice_by_index", {"x": inp(v), "begin": ints(0, 0, 1), "end": ints(2, 3, 4), "stride": ints(1, 2, 2)}, v[:, ::2, 1::2])
new = x(2, 2, 2)
updated = v.copy()
updated[:, 1:, ::2] = new
case("slice_update", {"x": inp(v), "update": inp(new), "begin": ints(0, 1, 0), "end": ints(2, 3, 4), "stride": ints(1, 1, 2)}, updated)
case("flatten2d", {"x": inp(v), "axis": 2}, v.reshape(6, 4))
case("flatten2d", {"x": inp(v[0, 0]), "axis": 1}, v[0, 0].reshape(4, 1))
case("reshape_like", {"x": inp(v), "ref_tensors": [inp(x(3, 2, 1)), inp(x(5, 4))], "begins": [const(0), const(1)],
                      "ends": [const(2), const(0)], "end_masks": [const(False), const(True)]}, v.reshape(3, 2, 4))
case("reverse", {"x": inp(v), "axes": ints(0, -1)}, v[::-1, :, ::-1])
case("reverse", {"x": inp(v)}, v[::-1, ::-1, ::-1])
lengths = np.array([2, 0, 4])
rev = v.copy()
for i, length in enumerate(lengths):
    rev[:, i, :length] = v[:, i, :length][:, ::-1]
case("reverse_sequence", {"x": inp(v), "lengths": index(lengths), "seq_axis": 2, "batch_axis": 1}, rev)
case("shape", {"x": inp(v)}, np.array(v.shape))
case("band_part", {"x": inp(v), "lower": 1, "upper": 0}, np.tril(np.triu(v, -1), 0))
case("band_part", {"x": inp(v), "lower": -1, "upper": 1}, np.tril(v, 1))
case("fill", {"shape": ints(2, 3), "value": const(1.5)}, np.full((2, 3), 1.5))
case("fill_like", {"ref_tensor": inp(v), "value": const(-0.5)}, np.full(v.shape, -0.5))
case("range_1d", {"start": const(0.5), "end": const(3.0), "step": const(0.75)}, np.arange(0.5, 3.0, 0.75))
case("range_1d", {"start": 5, "end": -2, "step": -3}, np.arange(5, -2, -3))
case("sliding_windows", {"x": inp(v), "axis": 2, "size": 2, "stride": 2},
     np.lib.stride_tricks.sliding_window_view(v, 2, 2)[:, :, ::2])
windows = np.lib.stride_tricks.sliding_window_view(v, 2, 1)
case("sliding_windows", {"x": inp(v), "axis": 1, "size": 2}, np.moveaxis(windows, -1, 2))
v = x(2, 8, 3, 2)
case("pixel_shuffle", {"x": inp(v), "upscale_factor": 2}, F.pixel_shuffle(t(v), 2))
dcr = v.reshape(2, 2, 2, 2, 3, 2).transpose(0, 3, 4, 1, 5, 2).reshape(2, 2, 6, 4)
case("depth_to_space", {"x": inp(v), "block_size": 2}, dcr)
case("space_to_depth", {"x": inp(dcr), "block_size": 2}, v)
shuffled = F.pixel_shuffle(t(v), 2).numpy()
case("pixel_unshuffle", {"x": inp(shuffled), "downscale_factor": const(2, "uint32")}, F.pixel_unshuffle(t(shuffled), 2))
v = x(2, 1, 3, 4)
padded = np.pad(v, ((0, 0), (0, 0), (1, 0), (1, 1)))
batches = padded.reshape(2, 1, 2, 2, 2, 3).transpose(3, 5, 0, 1, 2, 4).reshape(12, 1, 2, 2)
case("space_to_batch", {"x": inp(v), "block_shape": ints(2, 3), "paddings": np.array([[1, 0], [1, 1]], dtype=np.int32)}, batches)
case("batch_to_space", {"x": inp(batches), "block_shape": ints(2, 3), "crops": np.array([[1, 0], [1, 1]], dtype=np.int32)}, v)
case("crop", {"x": inp(v), "crop_height": ints(1, 0), "crop_width": ints(1, 2)}, v[:, :, 1:, 1:2])

# Gather and scatter.
v = x(3, 4, 2)
where = np.array([[2, 0], [1, 3]])
case("gather", {"x": inp(v), "indices": index(where), "axis": 1}, np.take(v, where, 1))
case("gather", {"x": inp(v), "indices": index(np.array(-1)), "axis": 0}, v[-1])
where = np.array([[3, 1], [0, 0], [2, 3]])
case("gather", {"x": inp(v), "indices": index(where), "axis": 1, "batch_dims": 1},
     np.stack([v[i, where[i]] for i in range(3)]))
where = rng.integers(0, 4, (3, 5, 2))
case("gather_along_axis", {"x": inp(v), "indices": index(where), "axis": 1}, np.take_along_axis(v, where, 1))
where = np.array([[0, 1], [2, -1], [1, 2]])
case("gather_nd", {"x": inp(v), "indices": index(where)}, v[where[:, 0], where[:, 1]])
case("gather_nd", {"x": inp(v), "indices": index(where % 2), "batch_dims": 1},
     np.stack([v[i, where[i, 0] % 2, where[i, 1] % 2] for i in range(3)]))
reduce_names = {"update": None, "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide,
                "max": np.maximum, "min": np.minimum}
where = np.array([2, 0])
for mode, f in reduce_names.items():
    new = x(3, 2, 2, low=0.25)
    out = v.copy()
    out[:, where] = new if f is None else f(out[:, where], new)
    case("scatter", {"data": inp(v), "indices": index(where), "updates": inp(new), "axis": 1, "mode": mode}, out)
twice = np.array([1, 1])
new = x(3, 2, 2)
out = v.copy()
np.add.at(out, (slice(None), twice), new)
case("scatter", {"data": inp(v), "indices": index(twice), "updates": inp(new), "axis": 1, "mode": "add"}, out)
where = rng.integers(0, 4, (3, 2, 2))
new = x(3, 2, 2)
case("scatter_along_axis", {"data": inp(v), "indices": index(where), "updates": inp(new), "axis": 1, "mode": "add"},
     t(v).scatter_add(1, torch.from_numpy(where), t(new)))
where = np.array([[0, 1], [2, 3], [0, 1]])
new = x(3, 2)
out = v.copy()
np.add.at(out, (where[:, 0], where[:, 1]), new)
case("scatter_nd", {"data": inp(v), "indices": index(where), "updates": inp(new), "mode": "add"}, out)
where = np.array([[0, 2], [1, 5]])
case("one_hot", {"indices": index(where), "one_hot_vector_size": 3},
     np.concatenate([np.eye(3), np.zeros((3, 3))])[where])
case("one_hot", {"indices": index(where), "one_hot_vector_size": 6, "axis": 1, "on_value": const(0.75), "off_value": const(-0.25)},
     np.moveaxis(np.eye(6)[where] - 0.25, -1, 1))

# Reductions and order.
v = x(2, 3, 5)
e = np.exp(v)
for op, f, u in [
    ("reduce_l1_norm", lambda u, a, k: np.abs(u).sum(a, keepdims=k), v),
    ("reduce_l2_norm", lambda u, a, k: np.sqrt((u**2).sum(a, keepdims=k)), v),
    ("reduce_log_sum", lambda u, a, k: np.log(u.sum(a, keepdims=k)), np.abs(v) + 0.25),
    ("reduce_log_sum_exp", lambda u, a, k: np.log(np.exp(u).sum(a, keepdims=k)), v),
    ("reduce_max", lambda u, a, k: u.max(a, keepdims=k), v), ("reduce_min", lambda u, a, k: u.min(a, keepdims=k), v),
    ("reduce_mean", lambda u, a, k: u.mean(a, keepdims=k), v), ("reduce_prod", lambda u, a, k: u.prod(a, keepdims=k), v),
    ("reduce_sum", lambda u, a, k: u.sum(a, keepdims=k), v),
    ("reduce_sum_square", lambda u, a, k: (u**2).sum(a, keepdims=k), v),
]:
    case(op, {"x": inp(u), "axes": ints(0, 2), "keep_dims": True}, f(u, (0, 2), True))
    case(op, {"x": inp(u), "axes": ints(-1)}, f(u, -1, False))
    case(op, {"x": inp(u)}, f(u, None, False))
distinct = rng.permutation(30).reshape(2, 3, 5) / 8
case("reduce_argmax", {"x": inp(distinct), "axis": 1}, distinct.argmax(1))
case("reduce_argmin", {"x": inp(distinct), "axis": -1, "keep_dims": True}, distinct.argmin(-1)[..., None])
case("argsort", {"x": inp(distinct), "axis": 1, "ascending": True}, distinct.argsort(1))
case("argsort", {"x": inp(distinct)}, (-distinct).argsort(-1))
values, indices = torch.topk(t(distinct), 3, 2)
case("topk", {"x": inp(distinct), "k": 3}, values, indices)
values, _ = torch.topk(t(distinct), 2, 1, largest=False)
case("topk", {"x": inp(distinct), "k": 2, "axis": 1, "ascending": True, "return_indices": False}, values)
case("cumsum", {"x": inp(v), "axis": 1}, v.cumsum(1))
case("cumsum", {"x": inp(v), "axis": 2, "reverse": True}, v[..., ::-1].cumsum(2)[..., ::-1])
case("cumsum", {"x": inp(v), "axis": 0, "exclusive": True}, v.cumsum(0) - v)

# Images.
v = x(1, 2, 3, 4)
case("upsample_nearest_neighbor", {"x": inp(v), "scale_factor_height": 2, "scale_factor_width": 3},
     F.interpolate(t(v), scale_factor=(2, 3)))
case("resize_nearest_neighbor", {"x": inp(v), "target_size_height": 5, "target_size_width": 3}, F.interpolate(t(v), (5, 3)))
case("upsample_bilinear", {"x": inp(v), "scale_factor_height": 2, "scale_factor_width": 3},
     F.interpolate(t(v), scale_factor=(2, 3), mode="bilinear", align_corners=True))
case("upsample_bilinear", {"x": inp(v), "scale_factor_height": 2, "scale_factor_width": 3, "align_corners": False},
     F.interpolate(t(v), scale_factor=(2, 3), mode="bilinear", align_corners=False))
for mode, corners in [("STRICT_ALIGN_CORNERS", True), ("UNALIGN_CORNERS", False)]:
    size = {"target_size_height": 5, "target_size_width": 7}
    expected = F.interpolate(t(v), (5, 7), mode="bilinear", align_corners=corners)
    case("resize_bilinear", {"x": inp(v), "sampling_mode": mode} | size, expected)
    case("resize", {"x": inp(v), "shape": ints(1, 5, 7), "resized_dims": const(2, "uint32"), "sampling_mode": mode}, expected)


def at(v, axis, grid):
    left = np.floor(grid).astype(int)
    right = np.minimum(left + 1, v.shape[axis] - 1)
    part = (grid - left).reshape([-1 if i == axis else 1 for i in range(v.ndim)])
    return np.take(v, left, axis) * (1 - part) + np.take(v, right, axis) * part


# The grids that Apple's documentation gives for the other modes.
case("resize_bilinear", {"x": inp(v), "target_size_height": 3, "target_size_width": 5},
     at(v, 3, np.minimum(np.arange(5) * (4 - 4 / 5) / 4, 3)))
case("resize_bilinear", {"x": inp(v), "target_size_height": 3, "target_size_width": 5, "sampling_mode": "OFFSET_CORNERS"},
     at(at(v, 2, 1 / 3 + np.arange(3) * 2 / 3), 3, 0.3 + np.arange(5) * 3 / 5))
case("resize", {"x": inp(v), "shape": ints(5, 3), "resized_dims": const(2, "uint32"), "interpolation_mode": "NEAREST_NEIGHBOR"},
     F.interpolate(t(v), (5, 3)))
case("resize", {"x": inp(v), "shape": ints(0, 6), "resized_dims": const(2, "uint32"), "interpolation_mode": "NEAREST_NEIGHBOR",
                "sampling_mode": "UNALIGN_CORNERS"}, F.interpolate(t(v), (3, 6), mode="nearest-exact"))

# Quantisation and compressed weights.
v = x(2, 3, 4)
scale, zero = np.array([0.0625, 0.125, 0.03125]), np.array([3, -5, 0])
whole = np.clip(np.round(v / scale[:, None]) + zero[:, None], -128, 127)
case("quantize", {"input": inp(v), "scale": const(scale), "zero_point": const(zero, "int8"), "axis": 1, "output_dtype": "int8"}, whole)
case("quantize", {"input": inp(8 * v), "scale": const(0.0625), "output_dtype": "uint8"}, np.clip(np.round(v * 128), 0, 255))
case("dequantize", {"input": const(whole, "int8"), "scale": const(scale), "zero_point": const(zero, "int8"), "axis": 1},
     scale[:, None] * (whole - zero[:, None]))
case("constexpr_affine_dequantize", {"quantized_data": const(whole, "int8"), "scale": const(scale), "zero_point": const(zero, "int8"),
                                     "axis": 1}, scale[:, None] * (whole - zero[:, None]))
case("constexpr_affine_dequantize", {"quantized_data": const(whole, "int8"), "scale": const(0.25), "zero_point": const(3, "int8"),
                                     "axis": 0}, 0.25 * (whole - 3))
data, scales, offsets = rng.integers(0, 16, (4, 6)), x(2, 3, low=0.25), rng.integers(0, 16, (2, 3))
big = lambda a: np.kron(a, np.ones((2, 2)))
case("constexpr_blockwise_shift_scale", {"data": const(data, "uint4"), "scale": const(scales), "offset": const(offsets, "uint4")},
     big(scales) * (data - big(offsets)))
case("constexpr_blockwise_shift_scale", {"data": const(data, "uint4"), "scale": const(scales)}, big(scales) * data)
case("constexpr_cast", {"source_val": const(v, "fp16"), "output_dtype": "fp32"}, v)


def pack(values, bits):
    """Bit fields from the lowest bit of the first byte up, as the documentation draws them."""
    stream = [(int(value) >> k) & 1 for value in values for k in range(bits)]
    stream += [0] * (-len(stream) % 8)
    return np.array([sum(b << k for k, b in enumerate(stream[i : i + 8])) for i in range(0, len(stream), 8)])


for bits in [1, 2, 4, 6, 8]:
    lut, entries = x(2**bits), rng.integers(0, 2**bits, (3, 5))
    case("constexpr_lut_to_dense", {"indices": const(pack(entries.reshape(-1), bits), "uint8"), "lut": const(lut),
                                    "shape": const(np.array([3, 5]), "uint32")}, lut[entries])
# The two cases of Apple's documentation, and one with groups and vectors.
entries = np.array([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3]).reshape(6, 2)
lut = np.array([1.0, 5.0, 9.0, 13.0, 2.0, 10.0, 18.0, 26.0]).reshape(2, 1, 4, 1)
case("constexpr_lut_to_dense", {"indices": const(entries, "uint2"), "lut": const(lut)},
     np.array([9, 13, 13, 1, 5, 1, 26, 2, 18, 10, 2, 26.0]).reshape(6, 2))
entries, lut = rng.integers(0, 4, (4, 2)), x(2, 1, 4, 3)
dense = np.zeros((12, 2))
for i in range(4):
    for j in range(2):
        dense[3 * i : 3 * i + 3, j] = lut[i // 2, 0, entries[i, j]]
case("constexpr_lut_to_dense", {"indices": const(entries, "uint2"), "lut": const(lut), "vector_axis": 0}, dense)
sparse = rng.integers(0, 2, (3, 5))
few = x(int(sparse.sum()))
dense = np.zeros((3, 5))
dense[sparse == 1] = few
case("constexpr_sparse_to_dense", {"nonzero_data": const(few), "mask": const(sparse, "uint1")}, dense)
case("constexpr_sparse_to_dense", {"nonzero_data": const(few), "mask": const(pack(sparse.reshape(-1), 1), "uint8"),
                                   "shape": const(np.array([3, 5]), "uint32")}, dense)
mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]])
few, scales, offsets = np.array([10, 11, 3, 4, 5, 6, 7, 8, 9]), np.array([[0.5, 0.25, 0.75, 1.5]]), np.array([[1, 2, 3, 4]])
dense = np.zeros((4, 4))
dense[mask == 1] = few
case("constexpr_sparse_blockwise_shift_scale", {"data_mask": const(mask, "uint1"), "nonzero_data": const(few, "int8"),
                                                "scale": const(scales), "offset": const(offsets, "int8")},
     mask, (scales * (dense - offsets))[mask == 1])
entries, lut = rng.integers(0, 4, int(mask.sum())), x(1, 1, 4, 2)
dense = np.zeros((4, 4), int)
dense[mask == 1] = entries
wide = np.repeat(mask, 2, 1)
looked_up = lut[0, 0, dense].reshape(4, 8)
case("constexpr_lut_to_sparse", {"indices_mask": const(mask, "uint1"), "indices_nonzero_data": const(entries, "uint2"),
                                 "lut": const(lut), "vector_axis": 1}, wide, looked_up[wide == 1])

# Images under a linear map.
v = x(2, 3, 4, 5)
for corners, theta in [(True, x(2, 6, low=-1, high=1)), (False, x(1, 6, low=-1.5, high=1.5))]:
    maps = t(theta).reshape(-1, 2, 3).expand(2, 2, 3)
    grid = F.affine_grid(maps, (2, 3, 3, 6), align_corners=corners)
    case("affine", {"x": inp(v), "transform_matrix": inp(theta), "output_height": 3, "output_width": 6, "sampling_mode": "bilinear",
                    "padding_mode": "constant", "padding_value": const(0.0), "align_corners": corners,
                    "coordinates_mode": "normalized_minus_one_to_one"}, F.grid_sample(t(v), grid, align_corners=corners))


def suppressed(boxes, scores, limit, least, most, per_class):
    """Kept boxes [B, 4] of one image, from all pairs at once."""
    low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
    shared = np.maximum(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0).prod(-1)
    area = boxes[:, 2:].prod(-1)
    conflict = shared / (area[:, None] + area - shared) > limit
    if per_class:
        conflict &= scores.argmax(1)[:, None] == scores.argmax(1)
    alive, kept = scores.max(1) >= least, []
    while alive.any() and len(kept) < most:
        kept.append(int(np.where(alive, scores.max(1), -np.inf).argmax()))
        alive &= ~conflict[kept[-1]]
        alive[kept[-1]] = False
    return kept


boxes = np.concatenate([x(2, 9, 2, low=0, high=2), x(2, 9, 2, low=0.5, high=2)], 2)
scores = rng.permutation(2 * 9 * 3).reshape(2, 9, 3) / 64
for least, most, per_class in [(0.5, 6, False), (0.0, 3, True), (None, 6, True)]:
    kept = [suppressed(boxes[i], scores[i], 0.25, least or 0.0, most, per_class) for i in range(2)]
    few_boxes, few_scores, indices = np.zeros((2, most, 4)), np.zeros((2, most, 3)), np.full((2, most), -1)
    for i, of_image in enumerate(kept):
        n = len(of_image)
        few_boxes[i, :n], few_scores[i, :n], indices[i, :n] = boxes[i, of_image], scores[i, of_image], of_image
    args = {"iou_threshold": const(0.25), "max_boxes": most, "per_class_suppression": per_class}
    if least is None:
        turned = {"boxes": inp(boxes.transpose(0, 2, 1)), "scores": inp(scores.transpose(0, 2, 1))}
        case("non_maximum_suppression", turned | args, few_boxes.transpose(0, 2, 1), few_scores.transpose(0, 2, 1), indices)
    else:
        case("non_maximum_suppression", {"boxes": inp(boxes), "scores": inp(scores), "score_threshold": const(least)} | args,
             few_boxes, few_scores, indices, np.array([len(k) for k in kept]))

# Windows that do not meet, and leave elements out.
v = x(2, 3, 7, 8)
case("max_pool", {"x": inp(v), "kernel_sizes": ints(2, 3), "strides": ints(3, 3), "pad_type": "custom", "pad": ints(0, 0, 1, 1)},
     F.max_pool2d(t(v), (2, 3), 3, (0, 1)))
case("max_pool", {"x": inp(v), "kernel_sizes": ints(2, 2), "strides": ints(2, 2), "pad_type": "valid"}, F.max_pool2d(t(v), 2))

path = pathlib.Path(__file__).resolve().parents[2] / "crates/mil/tests/fixtures/ops.json"
path.parent.mkdir(exist_ok=True)
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(f"{path}: {len(cases)} cases of {len({c['op'] for c in cases})} ops, {path.stat().st_size} bytes")
