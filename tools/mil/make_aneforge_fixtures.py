"""Makes the programs in crates/cli/tests/fixtures/aneforge with ANEForge 0.4.0 (MIT), whose lowering runs on any system.

    pip install aneforge==0.4.0
    python tools/mil/make_aneforge_fixtures.py [OUT]

Each graph gives a folder as ANEForge writes it, model.mil and weights.bin, with INPUT.npy for every input and
expected/OUTPUT.npy beside them, computed by torch in fp64 from the same weights, rounded to fp16 as the folder has them.
"""

import pathlib
import sys

import aneforge as af
import numpy as np
import torch
import torch.nn.functional as F
from aneforge._compile import _lower_fused_to_dir

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "crates/cli/tests/fixtures/aneforge"
random = np.random.default_rng(5)


def half(*shape, scale=0.4, shift=0.0):
    return (random.standard_normal(shape) * scale + shift).astype(np.float16)


def positive(*shape):
    return random.uniform(0.5, 1.5, shape).astype(np.float16)


def t(x):
    return torch.tensor(np.asarray(x, np.float64))


def mlp():
    x, w1, b1, w2, b2 = half(4, 16), half(32, 16), half(32), half(8, 32), half(8)
    y = af.input(x.shape).linear(w1, b1).gelu().linear(w2, b2).softmax()
    return y, [x], F.softmax(F.linear(F.gelu(F.linear(t(x), t(w1), t(b1))), t(w2), t(b2)), -1)


def attention():
    x = half(8, 16)
    ws, bs = [half(16, 16) for _ in range(4)], [half(16) for _ in range(4)]
    y = af.mha(af.input(x.shape), *[a for pair in zip(ws, bs) for a in pair], 4)
    q, k, v = (F.linear(t(x), t(w), t(b)).reshape(8, 4, 4).transpose(0, 1) for w, b in zip(ws[:3], bs[:3]))
    a = F.scaled_dot_product_attention(q, k, v).transpose(0, 1).reshape(8, 16)
    return y, [x], F.linear(a, t(ws[3]), t(bs[3]))


def convnet():
    x, w1, w2, w3 = half(1, 3, 16, 16), half(8, 3, 3, 3), half(8, 1, 3, 3), half(8, 4, 3, 3)
    gamma, beta, mean, var = positive(8), half(8), half(8), positive(8)
    y = af.conv(af.input(x.shape), w1, stride=2, pad=1)
    y = af.batch_norm(y, gamma, beta, mean, var).relu6()
    y = af.conv(y, w2, pad=1, groups=8).leaky_relu(0.1)
    y = af.conv(y, w3, pad=2, dilation=2, groups=2).max_pool(2).mean((2, 3))
    z = F.conv2d(t(x), t(w1), stride=2, padding=1)
    z = F.relu6(F.batch_norm(z, t(mean), t(var), t(gamma), t(beta)))
    z = F.leaky_relu(F.conv2d(z, t(w2), padding=1, groups=8), 0.1)
    z = F.max_pool2d(F.conv2d(z, t(w3), padding=2, dilation=2, groups=2), 2).mean((2, 3), keepdim=True)
    return y, [x], z


def decoder():
    """Transposed convolution, upsampling, instance and group normalisation, average pooling."""
    x, w, g1, b1, g2, b2 = half(1, 4, 5, 5), half(4, 6, 2, 2), positive(6), half(6), positive(6), half(6)
    y = af.conv_transpose(af.input(x.shape), w, stride=2)
    y = af.instance_norm(y, g1, b1).silu().upsample(2).group_norm(g2, b2, 3).avg_pool(3, 2, 1)
    z = F.conv_transpose2d(t(x), t(w), stride=2)
    z = F.silu(F.instance_norm(z, weight=t(g1), bias=t(b1)))
    z = F.group_norm(F.interpolate(z, scale_factor=2), 3, t(g2), t(b2))
    return y, [x], F.avg_pool2d(z, 3, 2, 1)


def norms():
    x, g1, b1, g2 = half(6, 24), positive(24), half(24), positive(24)
    y = af.input(x.shape).layer_norm(g1, b1).tanh().rms_norm(g2).l2_norm(-1)
    z = torch.tanh(F.layer_norm(t(x), (24,), t(g1), t(b1), 1e-5))
    z = z * torch.rsqrt(z.square().mean(-1, keepdim=True) + 1e-5) * t(g2)
    return y, [x], F.normalize(z, dim=-1)


def llama_block():
    """RMSNorm, attention, RMSNorm, SwiGLU, with residuals."""
    x, g1, g2 = half(8, 16), positive(16), positive(16)
    ws, gate, up, down = [half(16, 16) for _ in range(4)], half(24, 16), half(24, 16), half(16, 24)
    zero = np.zeros(16, np.float16)
    v = af.input(x.shape)
    h = v + af.mha(v.rms_norm(g1), ws[0], zero, ws[1], zero, ws[2], zero, ws[3], zero, 2)
    n = h.rms_norm(g2)
    y = h + (n.linear(gate).silu() * n.linear(up)).linear(down)
    rms = lambda a, g: a * torch.rsqrt(a.square().mean(-1, keepdim=True) + 1e-5) * t(g)
    n = rms(t(x), g1)
    q, k, u = (F.linear(n, t(w)).reshape(8, 2, 8).transpose(0, 1) for w in ws[:3])
    a = F.scaled_dot_product_attention(q, k, u).transpose(0, 1).reshape(8, 16)
    z = t(x) + F.linear(a, t(ws[3]))
    n = rms(z, g2)
    return y, [x], z + F.linear(F.silu(F.linear(n, t(gate))) * F.linear(n, t(up)), t(down))


def arithmetic():
    """Elementwise ops of two inputs, comparisons, choice."""
    a, b = half(2, 3, 4, 5), positive(2, 3, 4, 5)
    x, y = af.input(a.shape), af.input(b.shape)
    picked = af.select(x.greater(y), x, y * 0.5)
    out = af.maximum(picked.exp() / y, x.square().sqrt()) + af.minimum(x.erf(), y.log()) - x.abs().pow(y)
    p, q = t(a), t(b)
    picked = torch.where(p > q, p, q * 0.5)
    z = torch.maximum(picked.exp() / q, p.abs()) + torch.minimum(torch.erf(p), q.log()) - p.abs() ** q
    return out, [a, b], z


def shapes():
    """Concatenation, slices, transposes, tiling, reversal, space and depth, reductions."""
    a, b = half(1, 4, 4, 6), half(1, 4, 4, 6)
    x, y = af.input(a.shape), af.input(b.shape)
    joined = af.concat([x, y], 1).slice_by_size([0, 2, 0, 1], [1, 4, 4, 4])
    moved = af.depth_to_space(af.space_to_depth(joined, 2).reverse((1,)), 2).transpose((0, 1, 3, 2))
    out = moved.tile((1, 2, 1, 1)).amax((2,)) - moved.tile((1, 2, 1, 1)).sum_square((2,))
    p = torch.cat([t(a), t(b)], 1)[:, 2:6, :, 1:5]
    # MIL's depth is block row, block column, channel.
    d = p.reshape(1, 4, 2, 2, 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(1, 16, 2, 2).flip(1)
    d = d.reshape(1, 2, 2, 4, 2, 2).permute(0, 3, 4, 1, 5, 2).reshape(1, 4, 4, 4).transpose(2, 3)
    d = d.repeat(1, 2, 1, 1)
    return out, [a, b], d.amax(2, keepdim=True) - d.square().sum(2, keepdim=True)


def int8_mlp():
    """Weights compressed to int8 with a scale a row."""
    x, w1, w2 = half(4, 64), half(64, 64), half(16, 64)
    y = af.input(x.shape).linear(w1).relu().linear(w2)
    return y, [x], F.linear(F.relu(F.linear(t(x), t(w1))), t(w2))


GRAPHS = [mlp, attention, convnet, decoder, norms, llama_block, arithmetic, shapes, int8_mlp]


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES
    for graph in GRAPHS:
        y, inputs, expected = graph()
        folder = out / graph.__name__
        (folder / "expected").mkdir(parents=True, exist_ok=True)
        _lower_fused_to_dir(y, folder, int8=graph.__name__.startswith("int8"))
        # ANEForge names the ports when it lowers.
        ports = []
        pending = [y]
        while pending:
            node = pending.pop()
            pending.extend(node.srcs)
            if node.op == "input" and node not in ports:
                ports.append(node)
        ports.sort(key=lambda p: p.attrs["idx"])
        for port, array in zip(ports, inputs, strict=True):
            np.save(folder / f"{port._name}.npy", array)
        np.save(folder / "expected" / f"{y._name}.npy", expected.numpy().reshape(y.shape).astype(np.float32))
        print(folder.name, tuple(y.shape), "largest", float(expected.abs().max()))


if __name__ == "__main__":
    main()
