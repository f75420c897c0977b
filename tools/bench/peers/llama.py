"""What the peers written in Python share: the request they are started with, the numbers of the model, the timing of steps.

`peer/src/lib.rs` does the same for the peers written in Rust, to the same numbers.
"""
import dataclasses, json, sys, time

import numpy as np


@dataclasses.dataclass
class Request:
    """What to train and how long, as JSON on the command line."""
    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    batch: int
    seq: int
    steps: int      # that count
    warm: int       # before them
    seconds: float  # of steps that count, after which a run ends early

    @classmethod
    def from_arguments(cls):
        return cls(**json.loads(sys.argv[1]))

    @property
    def head_dim(self):
        return self.dim // self.heads

    def parameters(self):
        """Names and values, the same in every peer: ones for the norms, matrices `[outputs, inputs]`."""
        made = 0

        def matrix(rows, columns):
            nonlocal made
            seed = made * 0x9e3779b9 & 0xffffffff
            made += 1
            i = np.arange(rows * columns, dtype=np.uint32)
            # uniform, of a standard deviation of 0.02
            return ((mix(i ^ np.uint32(seed)) / 2**32 - 0.5) * 0.0693).astype(np.float32).reshape(rows, columns)

        kv_dim = self.kv_heads * self.head_dim
        ones = np.ones(self.dim, np.float32)
        yield "embedding", matrix(self.vocab, self.dim)
        for layer in range(self.layers):
            yield f"{layer}.attention_norm", ones
            yield f"{layer}.query", matrix(self.dim, self.dim)
            yield f"{layer}.key", matrix(kv_dim, self.dim)
            yield f"{layer}.value", matrix(kv_dim, self.dim)
            yield f"{layer}.output", matrix(self.dim, self.dim)
            yield f"{layer}.ffn_norm", ones
            yield f"{layer}.gate", matrix(self.hidden, self.dim)
            yield f"{layer}.up", matrix(self.hidden, self.dim)
            yield f"{layer}.down", matrix(self.dim, self.hidden)
        yield "norm", ones

    def tokens(self, step):
        """Tokens of a step, and those that follow them, `[batch, seq]`."""
        count = self.batch * (self.seq + 1)
        i = np.arange(step * count, (step + 1) * count, dtype=np.uint32)
        rows = (mix(i) % np.uint32(self.vocab)).astype(np.int64).reshape(self.batch, -1)
        return rows[:, :-1], rows[:, 1:]

    def rotation(self):
        """Cosine and sine of RoPE's angles, `[seq, head_dim / 2]`."""
        half = self.head_dim // 2
        angles = np.arange(self.seq)[:, None] * 10_000.0 ** (-np.arange(half) / half)
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def run(self, step):
        """Times `step`, which takes its number and returns its loss, and prints milliseconds and losses."""
        times, losses = [], []
        for i in range(self.warm + self.steps):
            if sum(times[self.warm:]) > 1e3 * self.seconds:
                break
            start = time.perf_counter()
            losses.append(float(step(i)))
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps({"ms": times, "loss": losses}))


def mix(x):
    """Scatters the bits of uint32 numbers."""
    x = x * np.uint32(0x9e3779b1)
    x = (x ^ x >> np.uint32(15)) * np.uint32(0x85ebca77)
    return x ^ x >> np.uint32(13)
