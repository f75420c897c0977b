"""Steps of a Llama in PyTorch. usage: pytorch.py REQUEST eager|compile"""
import sys

import torch
from torch.nn import functional as F

from llama import Request


class Llama(torch.nn.Module):
    def __init__(self, request):
        super().__init__()
        self.r = request
        for name, value in request.parameters():
            self.register_parameter(name.replace(".", "_"), torch.nn.Parameter(torch.tensor(value)))
        cos, sin = request.rotation()
        self.cos, self.sin = torch.from_numpy(cos), torch.from_numpy(sin)

    def forward(self, inputs, targets):
        r = self.r
        x = F.embedding(inputs, self.embedding)
        for layer in range(r.layers):
            w = lambda name: getattr(self, f"{layer}_{name}")
            x = x + self.attention(w, self.normed(x, w("attention_norm")))
            n = self.normed(x, w("ffn_norm"))
            x = x + F.linear(F.silu(F.linear(n, w("gate"))) * F.linear(n, w("up")), w("down"))
        logits = F.linear(self.normed(x, self.norm), self.embedding)
        return F.cross_entropy(logits.view(-1, r.vocab), targets.reshape(-1))

    def attention(self, w, x):
        r = self.r
        heads = lambda name, count: F.linear(x, w(name)).view(r.batch, r.seq, count, r.head_dim).transpose(1, 2)
        q, k = self.rotated(heads("query", r.heads)), self.rotated(heads("key", r.kv_heads))
        v = heads("value", r.kv_heads)
        if r.heads != r.kv_heads:
            k, v = (x.repeat_interleave(r.heads // r.kv_heads, dim=1) for x in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(mixed.transpose(1, 2).reshape(r.batch, r.seq, r.dim), w("output"))

    def normed(self, x, gamma):
        return F.rms_norm(x, (self.r.dim,), gamma, 1e-5)

    def rotated(self, x):
        low, high = x.chunk(2, dim=-1)
        return torch.cat((low * self.cos - high * self.sin, high * self.cos + low * self.sin), dim=-1)


request = Request.from_arguments()
llama = Llama(request)
loss_of = torch.compile(llama) if sys.argv[2] == "compile" else llama
optimiser = torch.optim.AdamW(llama.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)


def step(i):
    optimiser.zero_grad()
    loss = loss_of(*map(torch.from_numpy, request.tokens(i)))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(llama.parameters(), 1.0)
    optimiser.step()
    return loss.item()


request.run(step)
