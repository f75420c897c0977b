"""Makes the networks in crates/cli/tests/fixtures/networks: Core ML packages, an input of each, and what torch computes.

    python tools/mil/make_network_fixtures.py [OUT]

Needs coremltools 9, torch, transformers and numpy; any system will do. The networks are whole ones of the usual families
with few channels and random weights. Each is converted twice, in fp32 for iOS 16 and in fp16 for iOS 18; NAME.x.npy is the
input and NAME.y.npy the output of torch in fp32.
"""

import pathlib
import sys
import warnings

warnings.filterwarnings("ignore")

import coremltools as ct
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
from transformers import LlamaConfig, LlamaForCausalLM

from make_package_fixtures import save

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "crates/cli/tests/fixtures/networks"
PRECISIONS = {
    "fp32": (ct.target.iOS16, ct.precision.FLOAT32),
    "fp16": (ct.target.iOS18, ct.precision.FLOAT16),
}


@register_torch_op(torch_alias=["int"], override=True)
def _int(context, node):
    """coremltools 9 hands arrays of one element to `int`, which NumPy 2 refuses."""
    x = context[node.inputs[0]]
    one = x.val is not None and np.asarray(x.val).size == 1
    context.add(mb.const(val=np.int32(x.val.item()), name=node.name) if one else mb.cast(x=x, dtype="int32"), node.name)



class Llama(nn.Module):
    """The model of transformers, from token ids to logits, with two layers and grouped queries."""

    def __init__(self):
        super().__init__()
        self.model = LlamaForCausalLM(LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=16, tie_word_embeddings=False,
            attn_implementation="sdpa",
        ))

    def forward(self, ids):
        # The mask is given, for transformers asks the traced shape for it otherwise.
        n = ids.shape[1]
        mask = torch.full((1, 1, n, n), -1e4).triu(1)
        return self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits


class BasicBlock(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.down = None
        if stride != 1 or channels != out:
            self.down = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.blocks = nn.Sequential(BasicBlock(8, 8, 1), BasicBlock(8, 16, 2), nn.AvgPool2d(2))
        self.head = nn.Linear(16 * 2 * 2, 10)

    def forward(self, x):
        return self.head(torch.flatten(self.blocks(self.stem(x)), 1))


class InvertedResidual(nn.Module):
    def __init__(self, channels, out, stride, expand):
        super().__init__()
        hidden = channels * expand
        conv = lambda i, o, k, s, g: [nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
        self.layers = nn.Sequential(
            *conv(channels, hidden, 1, 1, 1), nn.ReLU6(), *conv(hidden, hidden, 3, stride, hidden), nn.ReLU6(),
            *conv(hidden, out, 1, 1, 1))
        self.residual = stride == 1 and channels == out

    def forward(self, x):
        y = self.layers(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
            InvertedResidual(8, 8, 1, 4), InvertedResidual(8, 12, 2, 4), InvertedResidual(12, 12, 1, 4),
            nn.Conv2d(12, 32, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.layers(x).mean([2, 3]))


class Encoder(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x):
        n, s, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(n, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, s, d)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    def __init__(self, d=32, heads=4):
        super().__init__()
        self.patch = nn.Conv2d(3, d, 8, 8)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, d)), nn.Parameter(torch.randn(1, 17, d))
        self.layers = nn.Sequential(Encoder(d, heads), Encoder(d, heads))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.layers(x))[:, 0])


def randomize(net):
    """Weights and statistics away from their initial values, so that every one of them matters."""
    for name, p in net.named_parameters():
        if p.dim() == 1:
            nn.init.uniform_(p, 0.5, 1.5) if name.endswith("weight") else nn.init.normal_(p, 0, 0.2)
        elif "embed" not in name and p.dim() != 3:
            nn.init.kaiming_normal_(p)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, 0, 0.2)
            nn.init.uniform_(m.running_var, 0.5, 1.5)


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FIXTURES
    out.mkdir(parents=True, exist_ok=True)
    image = lambda: torch.randn(1, 3, 32, 32)
    networks = {
        "llama": (Llama, lambda: torch.randint(0, 64, (1, 12), dtype=torch.int32)),
        "resnet": (ResNet, image),
        "mobilenet": (MobileNetV2, image),
        "vit": (ViT, image),
    }
    for name, (make, example) in networks.items():
        torch.manual_seed(7)
        net = make().eval()
        randomize(net)
        x = example()
        with torch.no_grad():
            y = net(x)
            traced = torch.jit.trace(net, x, check_trace=False)
        np.save(out / f"{name}.x.npy", x.numpy())
        np.save(out / f"{name}.y.npy", y.numpy())
        for precision, (target, compute) in PRECISIONS.items():
            model = ct.convert(
                traced,
                inputs=[ct.TensorType(name="x", shape=x.shape, dtype=x.numpy().dtype.type)],
                outputs=[ct.TensorType(name="y")],
                minimum_deployment_target=target,
                compute_precision=compute,
                skip_model_load=True,
            )
            save(model, out, f"{name}_{precision}")
        print(name, "largest output", float(y.abs().max()))


if __name__ == "__main__":
    main()
