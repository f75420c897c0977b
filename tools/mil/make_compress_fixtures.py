"""Makes crates/mil/tests/fixtures/compress.json: weights as coremltools compresses and decompresses them.

    python tools/mil/make_compress_fixtures.py

Needs coremltools 9, numpy and scikit-learn. A case has the weights, how they were compressed, the operands that
coremltools made and the weights it makes of them again.
"""

import json
import logging
import pathlib

logging.disable(logging.CRITICAL)

import numpy as np
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.defs.iOS16 import constexpr_ops as ios16
from coremltools.converters.mil.mil.ops.defs.iOS18 import compression as ios18
from coremltools.optimize import _utils as ct
from sklearn.cluster import KMeans

OUT = pathlib.Path(__file__).resolve().parents[2] / "crates/mil/tests/fixtures/compress.json"
rng = np.random.default_rng(11)
cases = []


def weights(*shape):
    """Normally distributed, each a number of binary16."""
    return rng.normal(0, 0.5, shape).astype(np.float16).astype(np.float32)


def constant(dtype, a):
    a = np.asarray(a)
    data = [float(x) if dtype == "fp32" else int(x) for x in a.reshape(-1)]
    return {"const": dtype, "shape": list(a.shape), "data": data}


def case(op, opset, w, scheme, args, decoded):
    cases.append({
        "op": op, "opset": opset, "shape": list(w.shape), "values": [float(x) for x in w.reshape(-1)],
        "scheme": scheme, "args": args, "decoded": [float(x) for x in np.asarray(decoded).reshape(-1)],
    })


def affine(w, dtype, axis, symmetric):
    mode = "LINEAR_SYMMETRIC" if symmetric else "LINEAR"
    sizes = [1 if i == axis else 0 for i in range(w.ndim)]
    q, scale, zero = ct.compute_qparams_by_dtype(w, types.string_to_builtin(dtype), mode, sizes)
    zero = np.zeros_like(scale, dtype=q.dtype) if zero is None else zero
    scale, zero = (a.reshape(-1) if axis is not None else a.reshape(()) for a in (scale.astype(np.float32), zero))
    decoded = ios16.constexpr_affine_dequantize.decompress(q, zero, scale, axis or 0)
    args = {"quantized_data": constant(dtype, q), "zero_point": constant(dtype, zero),
            "scale": constant("fp32", scale), "axis": constant("int32", axis or 0)}
    scheme = {"kind": "affine", "dtype": dtype, "axis": axis, "symmetric": symmetric}
    case("constexpr_affine_dequantize", "ios16", w, scheme, args, decoded)


def blockwise(w, dtype, blocks, symmetric):
    mode = "LINEAR_SYMMETRIC" if symmetric else "LINEAR"
    sizes = [d // n if n > 1 else 0 for d, n in zip(w.shape, blocks)]
    q, scale, zero = ct.compute_qparams_by_dtype(w, types.string_to_builtin(dtype), mode, sizes)
    scale = scale.astype(np.float32)
    decoded = ct.dequantize_by_scale_and_zp(q, scale, zero)
    args = {"data": constant(dtype, q), "scale": constant("fp32", scale)}
    if zero is not None:
        args["offset"] = constant(dtype, zero)
    scheme = {"kind": "blockwise", "dtype": dtype, "blocks": blocks, "symmetric": symmetric}
    case("constexpr_blockwise_shift_scale", "ios18", w, scheme, args, decoded)


def palette(w, bits, groups=None, vector=None, opset="ios18"):
    size, axis = vector or (1, None)
    groups = groups or [1] * w.ndim
    vectors = ct.reshape_weight_for_vector_lut(w, size, axis) if vector else w[..., None]
    lut = np.zeros((*groups, 2**bits, size), np.float32)
    for group in np.ndindex(*groups):
        part = vectors[tuple(slice(i * d // n, (i + 1) * d // n) for i, d, n in zip(group, vectors.shape, groups))]
        part = part.reshape(-1, size)
        known = np.unique(part, axis=0)
        if len(known) > 2**bits:
            known = KMeans(2**bits, n_init=1, random_state=0).fit(part).cluster_centers_
        lut[group] = np.concatenate([known, np.repeat(known[-1:], 2**bits - len(known), 0)])
    indices = ct.find_indices_for_lut(w, lut, axis)
    if opset == "ios16":
        table, packed = lut.reshape(-1), ct.pack_elements_into_bits(indices.reshape(-1), bits)
        decoded = ios16.constexpr_lut_to_dense.decompress(table, packed, w.shape)
        args = {"indices": constant("uint8", packed), "lut": constant("fp32", table),
                "shape": constant("uint32", w.shape)}
    else:
        decoded = ct.lut_to_dense(indices, lut, axis)
        args = {"indices": constant(f"uint{bits}", indices), "lut": constant("fp32", lut)}
        if vector:
            args["vector_axis"] = constant("int32", axis)
    scheme = {"kind": "palette", "bits": bits, "groups": groups, "vector": vector}
    case("constexpr_lut_to_dense", opset, w, scheme, args, decoded)


def sparse(w, opset):
    mask, data = (w != 0).astype(np.uint8), w[w != 0]
    if opset == "ios16":
        packed = np.packbits(mask, bitorder="little")
        decoded = ios16.constexpr_sparse_to_dense.decompress(data, packed, w.shape)
        args = {"nonzero_data": constant("fp32", data), "mask": constant("uint8", packed),
                "shape": constant("uint32", w.shape)}
    else:
        decoded = ct.sparse_to_dense(data, mask)
        args = {"nonzero_data": constant("fp32", data), "mask": constant("uint1", mask)}
    case("constexpr_sparse_to_dense", opset, w, {"kind": "sparse"}, args, decoded)


def joint(w, form):
    """The two forms in which what is not zero is compressed again."""
    mask = (w != 0).astype(np.uint8)
    if form["kind"] == "blockwise":
        sizes = [d // n if n > 1 else 0 for d, n in zip(w.shape, form["blocks"])]
        mode = "LINEAR_SYMMETRIC" if form["symmetric"] else "LINEAR"
        q, scale, zero = ct.compute_qparams_by_dtype(w, types.string_to_builtin(form["dtype"]), mode, sizes)
        scale = scale.astype(np.float32)
        sparse_mask, nonzero = ios18.constexpr_sparse_blockwise_shift_scale.decompress(mask, q[w != 0], scale, zero)
        args = {"data_mask": constant("uint1", mask), "nonzero_data": constant(form["dtype"], q[w != 0]),
                "scale": constant("fp32", scale)}
        if zero is not None:
            args["offset"] = constant(form["dtype"], zero)
        op = "constexpr_sparse_blockwise_shift_scale"
    else:
        lut = np.unique(w[w != 0])
        lut = np.concatenate([lut, np.repeat(lut[-1:], 2 ** form["bits"] - len(lut))]).astype(np.float32)
        indices = np.searchsorted(lut, w[w != 0]).astype(np.uint8)
        table = lut.reshape([1] * w.ndim + [-1, 1])
        sparse_mask, nonzero = ios18.constexpr_lut_to_sparse.decompress(mask, indices, table, None)
        args = {"indices_mask": constant("uint1", mask), "lut": constant("fp32", table),
                "indices_nonzero_data": constant(f"uint{form['bits']}", indices)}
        op = "constexpr_lut_to_sparse"
    decoded = ct.sparse_to_dense(nonzero, sparse_mask)
    case(op, "ios18", w, {"kind": "sparse", "form": form}, args, decoded)


for dtype in ("int8", "uint8"):
    for symmetric in (True, False):
        affine(weights(4, 6), dtype, None, symmetric)
        affine(weights(4, 3, 2, 2) + 0.5, dtype, 0, symmetric)
        affine(weights(3, 5), dtype, 1, symmetric)
for dtype in ("int4", "uint4", "int8", "uint8"):
    for symmetric in (True, False):
        blockwise(weights(4, 8), dtype, [4, 1], symmetric)
        blockwise(weights(4, 8), dtype, [4, 2], symmetric)
for bits in (1, 2, 3, 4, 6, 8):
    palette(weights(8, 24), bits)
    if bits != 3:
        palette(weights(8, 24), bits, opset="ios16")
palette(np.float32([-1, 0.25, 3])[rng.integers(0, 3, (4, 6))], 2)
palette(weights(8, 12), 2, groups=[4, 1])
palette(weights(6, 12, 1, 1), 3, groups=[1, 2, 1, 1])
palette(weights(8, 12), 3, vector=(2, 0))
palette(weights(8, 12), 4, vector=(4, 1))
palette(weights(8, 12), 2, groups=[2, 1], vector=(2, 0))
for opset in ("ios16", "ios18"):
    w = weights(4, 8)
    w[rng.uniform(size=w.shape) < 0.6] = 0
    sparse(w, opset)
for symmetric in (True, False):
    w = weights(4, 8)
    w[rng.uniform(size=w.shape) < 0.6] = 0
    joint(w, {"kind": "blockwise", "dtype": "int8", "blocks": [4, 1], "symmetric": symmetric})
w = np.float32([-1, 0.25, 3, 0, 0, 0])[rng.integers(0, 6, (4, 6))]
joint(w, {"kind": "palette", "bits": 2, "groups": [1, 1], "vector": None})

OUT.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(len(cases), "cases,", OUT.stat().st_size, "bytes")
