"""Whoever is measured: the engines of Ferrane and the peers, each a step timer by the same name for the same thing."""
import dataclasses, json, math
from typing import Callable

from install import PEERS
from processes import Failed, run
from shapes import MODELS

WARM = 2


@dataclasses.dataclass
class Steps:
    """What a run of a contender gave: a median step in milliseconds, and peak memory in GB."""
    ms: float
    gb: float


@dataclasses.dataclass
class Contender:
    name: str
    is_peer: bool
    # (model, batch, seq, steps, seconds) -> step times in milliseconds, and GB
    times: Callable

    def run(self, model, batch, seq, steps, seconds):
        times, gb = self.times(model, batch, seq, steps, seconds)
        counted = sorted(times[WARM:])
        if not counted:
            raise Failed("no step was timed")
        return Steps(counted[len(counted) // 2], gb)


def engines(ferrane, names):
    def of(engine):
        def times(model, batch, seq, steps, seconds):
            return ferrane.step_times(model, MODELS[model].vocab, WARM + steps, batch, seq, engine)
        return Contender(f"ferrane {engine}", False, times)
    return [of(name) for name in names]


def peers(names, python, rust):
    """The peers of these names; one that cannot be had says so when it is run."""
    script = lambda package, *args: lambda: [python.having("numpy", package), *args]
    program = lambda name: lambda: [rust.program(name)]
    known = {
        "pytorch": ("PyTorch eager", script("torch", PEERS / "pytorch.py"), ["eager"]),
        "pytorch-compile": ("PyTorch compile", script("torch", PEERS / "pytorch.py"), ["compile"]),
        "jax": ("JAX jit", script("jax", PEERS / "jax_llama.py"), []),
        "burn": ("burn", program("peer-burn"), []),
        "candle": ("candle", program("peer-candle"), []),
    }
    return [Contender(title, True, peer_times(command, rest))
            for title, command, rest in (known[name] for name in names)]


PEER_NAMES = ["pytorch", "pytorch-compile", "jax", "burn", "candle"]
RUST_PEERS = ["burn", "candle"]


def peer_times(command, rest):
    def times(model, batch, seq, steps, seconds):
        request = {**dataclasses.asdict(MODELS[model]), "batch": batch, "seq": seq, "steps": steps, "warm": WARM,
                   "seconds": seconds}
        done = run([*command(), json.dumps(request), *rest])
        reply = json.loads(done.out.splitlines()[-1])
        check_first_loss(reply["loss"][0], MODELS[model])
        return reply["ms"], done.gb
    return times


def check_first_loss(loss, shape):
    """A peer that computes something else is no peer: all begin with the same small weights."""
    # Logits of random weights vary with the square root of the width, which adds up to 0.2 to the logarithm.
    if abs(loss - math.log(shape.vocab)) > 0.3:
        raise Failed(f"its first loss is {loss:.3f} where {math.log(shape.vocab):.3f} was due")
