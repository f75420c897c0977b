#!/usr/bin/env python3
"""Time training steps of Ferrane against PyTorch eager, in alternation on the same machine.

usage: compare.py FERRANE [--model stories15m] [--batch 1] [--steps 12] [--rounds 3]

Needs torch and transformers from PyPI. Both train a Llama of llama2.c's shape from random weights on random tokens: fp32,
AdamW, clip 1, batch x 256 tokens. A round is one run of each engine and one of PyTorch; what counts is the median step of
a run after two steps of warm-up, and the median of the rounds' ratios. Peak memory is that of the process.
"""
import argparse, json, os, pathlib, resource, statistics, subprocess, sys, tempfile, time

SHAPES = {  # dim, hidden, layers, heads, kv heads, vocab
    "stories260k": (64, 172, 5, 8, 4, 512),
    "stories15m": (288, 768, 6, 6, 6, 32000),
    "stories110m": (768, 2048, 12, 12, 12, 32000),
}
SEQ, WARM = 256, 2


def torch_steps(model, batch, steps):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    dim, hidden, layers, heads, kv, vocab = SHAPES[model]
    net = LlamaForCausalLM(LlamaConfig(
        vocab_size=vocab, hidden_size=dim, intermediate_size=hidden, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, max_position_embeddings=SEQ, tie_word_embeddings=True,
        attn_implementation="sdpa", use_cache=False)).float()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-4, weight_decay=0.1)
    tokens = torch.randint(0, vocab, (steps + WARM, batch, SEQ + 1))
    times = []
    for step in tokens:
        start = time.perf_counter()
        optimiser.zero_grad()
        logits = net(step[:, :-1]).logits
        torch.nn.functional.cross_entropy(logits.reshape(-1, vocab), step[:, 1:].reshape(-1)).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


def ferrane_steps(binary, engine, model, batch, steps, work):
    import numpy as np

    vocab = SHAPES[model][-1]
    data = work / f"{model}.bin"
    if not data.exists():
        np.random.default_rng(1).integers(0, vocab, 200_000).astype("<u2").tofile(data)
    out = work / f"run-{time.time_ns()}"
    subprocess.run(
        [binary, "train", "--model", model, "--data", data, "--steps", str(steps + WARM), "--seq", str(SEQ),
         "--batch-size", str(batch), "--engine", engine, "--out", out, "--quiet", "--checkpoint-every", "0"],
        check=True)
    return [json.loads(line)["step_ms"] for line in (out / "metrics.jsonl").read_text().splitlines()]


def measured(argv):
    """Runs this file in a process of its own; returns its step times and peak memory in GB."""
    run = subprocess.run([sys.executable, __file__, *argv], capture_output=True, text=True)
    if run.returncode:
        sys.exit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("ferrane")
parser.add_argument("--model", default="stories15m", choices=SHAPES)
parser.add_argument("--batch", type=int, default=1)
parser.add_argument("--steps", type=int, default=12)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--child")
parser.add_argument("--work", type=pathlib.Path)
args = parser.parse_args()

if args.child:
    if args.child == "torch":
        times = torch_steps(args.model, args.batch, args.steps)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    else:
        times = ferrane_steps(args.ferrane, args.child, args.model, args.batch, args.steps, args.work)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({"ms": statistics.median(times[WARM:]), "gb": memory / 2**20}))
    sys.exit()

work = pathlib.Path(tempfile.mkdtemp())
# Some machines set these for old OpenBLAS builds; they slow a current one.
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
rounds = []
for _ in range(args.rounds):
    common = [args.ferrane, "--model", args.model, "--batch", str(args.batch), "--steps", str(args.steps),
              "--work", str(work)]
    rounds.append({name: measured([*common, "--child", name]) for name in ("cpu", "torch", "sim")})
print(f"{args.model}, batch {args.batch} x {SEQ}, median of {args.rounds} rounds of {args.steps} steps")
print(f"{'':10} {'ms/step':>8} {'GB':>6}   {'to PyTorch':>10}")
for name in ("torch", "cpu", "sim"):
    ms = statistics.median(r[name]["ms"] for r in rounds)
    ratio = statistics.median(r[name]["ms"] / r["torch"]["ms"] for r in rounds)
    gb = max(r[name]["gb"] for r in rounds)
    print(f"{name:10} {ms:8.1f} {gb:6.2f}   {ratio:10.2f}")
