"""Makes the packages in crates/package/tests/fixtures with coremltools.

    python tools/mil/make_package_fixtures.py [OUT] [--all]

Needs coremltools 9, torch and numpy; any system will do. The networks are the usual ones in miniature, with random
weights: what matters is which ops the converter makes of them and how it writes them down.
"""

import argparse
import json
import pathlib
import shutil
import warnings

warnings.filterwarnings("ignore")

import coremltools as ct
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.models.utils import save_multifunction, MultiFunctionDescriptor

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "crates/package/tests/fixtures"


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(d) + 0.5)

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Llama(nn.Module):
    """Token ids to logits: embedding, one layer with RoPE, grouped queries and SwiGLU, norm, tied classifier."""

    def __init__(self, vocab=32, d=16, heads=4, kv=2, hidden=24, seq=8):
        super().__init__()
        self.heads, self.kv, self.hd, self.seq = heads, kv, d // heads, seq
        self.embed = nn.Embedding(vocab, d)
        self.norm1, self.norm2, self.norm = RMSNorm(d), RMSNorm(d), RMSNorm(d)
        self.q = nn.Linear(d, d, bias=False)
        self.k = nn.Linear(d, kv * self.hd, bias=False)
        self.v = nn.Linear(d, kv * self.hd, bias=False)
        self.o = nn.Linear(d, d, bias=False)
        self.gate = nn.Linear(d, hidden, bias=False)
        self.up = nn.Linear(d, hidden, bias=False)
        self.down = nn.Linear(hidden, d, bias=False)
        angle = torch.arange(seq)[:, None] / 10000 ** (torch.arange(self.hd // 2) / (self.hd // 2))
        self.register_buffer("cos", torch.cat([angle.cos()] * 2, -1))
        self.register_buffer("sin", torch.cat([angle.sin()] * 2, -1))
        self.register_buffer("mask", torch.triu(torch.full((seq, seq), -1e4), 1))

    def rope(self, x):
        a, b = x.chunk(2, -1)
        return x * self.cos + torch.cat([-b, a], -1) * self.sin

    def split(self, x, heads):
        return x.view(1, self.seq, heads, self.hd).transpose(1, 2)

    def forward(self, ids):
        x = self.embed(ids)
        h = self.norm1(x)
        q, k = self.rope(self.split(self.q(h), self.heads)), self.rope(self.split(self.k(h), self.kv))
        v = self.split(self.v(h), self.kv)
        k, v = (t.repeat_interleave(self.heads // self.kv, 1) for t in (k, v))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        x = x + self.o(a.transpose(1, 2).reshape(1, self.seq, -1))
        h = self.norm2(x)
        x = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return self.norm(x) @ self.embed.weight.T


class ResNet(nn.Module):
    """Stem, a block that halves the image and one that keeps it, classifier."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 4, 7, 2, 3, bias=False), nn.BatchNorm2d(4)
        self.a1, self.b1 = nn.Conv2d(4, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.a2, self.b2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.down = nn.Conv2d(4, 8, 1, 2, bias=False)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn(self.stem(x))), 3, 2, 1)
        y = self.b2(self.a2(F.relu(self.b1(self.a1(x)))))
        x = F.relu(y + self.down(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class MobileNet(nn.Module):
    """One inverted residual with squeeze-and-excitation, as in the second and third versions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 2, 1)
        self.expand, self.depth = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.project = nn.Conv2d(8, 4, 1)
        self.fc = nn.Linear(4, 10)

    def forward(self, x):
        x = F.hardswish(self.stem(x))
        y = F.relu6(self.depth(F.relu6(self.expand(x))))
        y = y * F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        x = x + self.project(y)
        return F.softmax(F.dropout(self.fc(x.mean([2, 3])), 0.2, False), -1)


class ViT(nn.Module):
    """Patches, class token, positions, one encoder layer with GELU, head."""

    def __init__(self, d=16, heads=2):
        super().__init__()
        self.heads = heads
        self.patch = nn.Conv2d(3, d, 8, 8)
        self.cls, self.pos = nn.Parameter(torch.rand(1, 1, d)), nn.Parameter(torch.rand(1, 5, d))
        self.n1, self.n2, self.n3 = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.fc1, self.fc2 = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)
        self.head = nn.Linear(d, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls, x], 1) + self.pos
        qkv = self.qkv(self.n1(x)).reshape(1, 5, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = x + self.proj(a.transpose(1, 2).reshape(1, 5, -1))
        x = x + self.fc2(F.gelu(self.fc1(self.n2(x))))
        return self.head(self.n3(x)[:, 0])


TARGETS = {"ios16": ct.target.iOS16, "ios17": ct.target.iOS17, "ios18": ct.target.iOS18}
PRECISIONS = {"fp16": ct.precision.FLOAT16, "fp32": ct.precision.FLOAT32}


# Networks that are committed; the others differ little.
COMMITTED = {
    "llama": ["ios16_fp32", "ios17_fp16", "ios18_fp16"],
    "resnet": ["ios16_fp32", "ios18_fp16"],
    "mobilenet": ["ios16_fp32", "ios17_fp16"],
    "vit": ["ios16_fp32", "ios18_fp16"],
}


def save(model, out, name):
    """Saves a model; `None` means it is there already."""
    path = out / f"{name}.mlpackage"
    if isinstance(model, ct.models.MLModel):
        shutil.rmtree(path, ignore_errors=True)
        model.save(str(path))
    # Identifiers in manifests are random; fixed ones keep fixtures from changing when nothing did.
    manifest = path / "Manifest.json"
    entries = json.loads(manifest.read_text())
    ids = {old: f"00000000-0000-0000-0000-00000000000{i}" for i, old in enumerate(
        sorted(entries["itemInfoEntries"], key=lambda k: entries["itemInfoEntries"][k]["path"]))}
    entries["itemInfoEntries"] = {ids[k]: v for k, v in entries["itemInfoEntries"].items()}
    entries["rootModelIdentifier"] = ids[entries["rootModelIdentifier"]]
    manifest.write_text(json.dumps(entries, indent=4, sort_keys=True))
    settle(path / "Data/com.apple.CoreML/model.mlmodel")
    return path


def settle(path):
    """Writes a model file again with its maps in order, which otherwise are in any."""
    spec = ct.proto.Model_pb2.Model.FromString(path.read_bytes())
    path.write_bytes(spec.SerializeToString(deterministic=True))


def networks(out, everything):
    image = lambda: torch.rand(1, 3, 16, 16)
    nets = {
        "llama": (Llama, lambda: torch.zeros(1, 8, dtype=torch.int32), np.int32),
        "resnet": (ResNet, lambda: torch.rand(1, 3, 32, 32), np.float32),
        "mobilenet": (MobileNet, image, np.float32),
        "vit": (ViT, image, np.float32),
    }
    for name, (make, example, dtype) in nets.items():
        for target in TARGETS:
            for precision in PRECISIONS:
                if not everything and f"{target}_{precision}" not in COMMITTED[name]:
                    continue
                torch.manual_seed(1)
                net, x = make().eval(), example()
                traced = torch.jit.trace(net, x)
                model = ct.convert(
                    traced,
                    inputs=[ct.TensorType(name="x", shape=x.shape, dtype=dtype)],
                    outputs=[ct.TensorType(name="y")],
                    minimum_deployment_target=TARGETS[target],
                    compute_precision=PRECISIONS[precision],
                    skip_model_load=True,
                )
                model.short_description = f"a {name} in miniature"
                model.author, model.version = "Ferrane", "1"
                model.user_defined_metadata["target"] = target
                save(model, out, f"{name}_{target}_{precision}")


def program(function, target, **kwargs):
    return ct.convert(
        function, minimum_deployment_target=target, skip_model_load=True, pass_pipeline=ct.PassPipeline.EMPTY, **kwargs
    )


def element_types(out):
    """Immediate and stored constants of every element type that coremltools makes."""

    @mb.program(input_specs=[mb.TensorSpec((2, 3))], opset_version=ct.target.iOS18)
    def main(x):
        small = np.arange(6).reshape(2, 3)
        for dtype in (np.float16, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.bool_):
            y = mb.cast(x=mb.const(val=small.astype(dtype), name=f"few_{np.dtype(dtype).name}"), dtype="fp32")
            x = mb.add(x=x, y=y)
        many = mb.const(val=np.arange(24, dtype=np.float32).reshape(4, 6), name="many_float32")
        x = mb.add(x=x, y=mb.slice_by_size(x=many, begin=[1, 2], size=[2, 3]))
        for dtype, low in ((np.int8, -12), (np.uint8, 0), (np.int16, -12), (np.uint16, 0), (np.int32, -12)):
            y = mb.const(val=np.arange(low, low + 12, dtype=dtype).reshape(4, 3), name=f"many_{np.dtype(dtype).name}")
            x = mb.add(x=x, y=mb.slice_by_size(x=mb.cast(x=y, dtype="fp32"), begin=[0, 0], size=[2, 3]))
        return x

    return save(program(main, ct.target.iOS18), out, "element_types")


def compressed(out):
    """Weights in every compressed form: before iOS 18 as attributes, since then as inputs."""
    small = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 8)).eval()
    from coremltools.optimize import coreml as cto

    def base(target):
        torch.manual_seed(2)
        for p in small.parameters():
            nn.init.normal_(p)
        x = torch.rand(1, 16)
        return ct.convert(
            torch.jit.trace(small, x),
            inputs=[ct.TensorType(name="x", shape=x.shape)],
            minimum_deployment_target=target,
            skip_model_load=True,
        )

    config = lambda c: cto.OptimizationConfig(global_config=c)
    lut = lambda **k: config(cto.OpPalettizerConfig(weight_threshold=0, **k))
    linear = lambda **k: config(cto.OpLinearQuantizerConfig(weight_threshold=0, **k))
    sparse = config(cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=0))
    old, new = ct.target.iOS16, ct.target.iOS18
    made = {
        "lut4_ios16": cto.palettize_weights(base(old), lut(mode="uniform", nbits=4)),
        "int8_ios16": cto.linear_quantize_weights(base(old), linear(mode="linear_symmetric")),
        "sparse_ios16": cto.prune_weights(base(old), sparse),
        "int4_ios18": cto.linear_quantize_weights(
            base(new), linear(mode="linear", dtype="uint4", granularity="per_block", block_size=8)),
        "sint4_ios18": cto.linear_quantize_weights(base(new), linear(mode="linear_symmetric", dtype="int4")),
        "sparse_ios18": cto.prune_weights(base(new), sparse),
    }
    for bits in (1, 2, 3, 4, 6, 8):
        made[f"lut{bits}_ios18"] = cto.palettize_weights(base(new), lut(mode="uniform", nbits=bits))
    for name, model in made.items():
        save(model, out, f"compressed_{name}")


def decompressed(out):
    """What the compressed packages compute, by coremltools' own decompression and numpy."""
    from coremltools.optimize import coreml as cto

    x = (np.arange(16, dtype=np.float64).reshape(1, 16) - 7) / 8
    results = {"x": x.ravel().tolist()}
    for package in sorted(out.glob("compressed_*.mlpackage")):
        model = cto.decompress_weights(ct.models.MLModel(str(package), skip_model_load=True))
        y = x
        for op in model._mil_program.functions["main"].operations:
            if op.op_type == "linear":
                y = y @ op.weight.val.astype(np.float64).T + op.bias.val.astype(np.float64)
            elif op.op_type == "relu":
                y = np.maximum(y, 0)
            elif op.op_type not in ("const", "cast"):
                raise ValueError(op.op_type)
        results[package.stem] = y.ravel().tolist()
    (out / "compressed.json").write_text(json.dumps(results, indent=1) + "\n")


def refused(out):
    """What cannot be imported, each for another reason."""
    target = ct.target.iOS18

    @mb.program(input_specs=[mb.TensorSpec((1, 4))], opset_version=target)
    def loop(x):
        count = mb.const(val=0)
        return mb.while_loop(
            _cond=lambda i, a: mb.less(x=i, y=3),
            _body=lambda i, a: (mb.add(x=i, y=1), mb.add(x=a, y=a)),
            loop_vars=(count, x),
        )[1]

    save(program(loop, target), out, "refused_while_loop")

    @mb.program(input_specs=[mb.TensorSpec((1, 4))], opset_version=target)
    def branch(x):
        some = mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=0.0)
        return mb.cond(pred=some, _true_fn=lambda: mb.add(x=x, y=1.0), _false_fn=lambda: mb.sub(x=x, y=1.0))

    save(program(branch, target), out, "refused_cond")

    @mb.program(input_specs=[mb.TensorSpec((1, 4)), mb.StateTensorSpec((1, 4), dtype=types.fp16)], opset_version=target)
    def state(x, s):
        y = mb.add(x=mb.cast(x=x, dtype="fp16"), y=mb.read_state(input=s))
        return mb.cast(x=mb.coreml_update_state(state=s, value=y), dtype="fp32")

    save(program(state, target), out, "refused_state")

    class Double(nn.Module):
        def forward(self, x):
            return x + x

    traced = torch.jit.trace(Double().eval(), torch.rand(1, 4))
    save(ct.convert(
        traced,
        inputs=[ct.TensorType(name="x", shape=(1, ct.RangeDim(2, 8)))],
        minimum_deployment_target=target,
        skip_model_load=True,
    ), out, "refused_range")
    network = ct.convert(
        traced, inputs=[ct.TensorType(name="x", shape=(1, 4))], convert_to="neuralnetwork", skip_model_load=True)
    network.save(str(out / "refused_neural_network.mlmodel"))
    settle(out / "refused_neural_network.mlmodel")


def interfaces(out):
    """A classifier with an image input, and a model of two functions."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(3, 2, 4, 4), nn.Flatten(), nn.Linear(8, 3), nn.Softmax(-1)).eval()
    x = torch.rand(1, 3, 8, 8)
    classifier = ct.convert(
        torch.jit.trace(net, x),
        inputs=[ct.ImageType(name="image", shape=x.shape, scale=1 / 255, color_layout=ct.colorlayout.BGR)],
        classifier_config=ct.ClassifierConfig(["cat", "dog", "näpärä"]),
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    save(classifier, out, "classifier")

    paths = []
    for scale in (1.0, 2.0):
        @mb.program(input_specs=[mb.TensorSpec((1, 4))], opset_version=ct.target.iOS18)
        def main(x):
            y = mb.linear(x=x, weight=np.arange(16, dtype=np.float32).reshape(4, 4))
            return mb.mul(x=y, y=np.float32(scale), name="y")

        paths.append(save(program(main, ct.target.iOS18), out, f"part{len(paths)}"))
    both = MultiFunctionDescriptor()
    both.add_function(str(paths[0]), "main", "once")
    both.add_function(str(paths[1]), "main", "twice")
    both.default_function_name = "twice"
    target = out / "two_functions.mlpackage"
    shutil.rmtree(target, ignore_errors=True)
    save_multifunction(both, str(target))
    save(None, out, "two_functions")
    for path in paths:
        shutil.rmtree(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=FIXTURES)
    parser.add_argument("--all", action="store_true", help="every network for every system and precision")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    networks(args.out, args.all)
    for make in (element_types, compressed, decompressed, refused, interfaces):
        make(args.out)


if __name__ == "__main__":
    main()
