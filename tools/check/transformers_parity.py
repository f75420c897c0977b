#!/usr/bin/env python3
"""Hold Ferrane to PyTorch: the logits of a saved model, and the losses of twelve steps.

usage: transformers_parity.py FERRANE [--work DIR]

Needs torch, transformers, safetensors and numpy from PyPI; not part of CI. For a Llama with grouped queries and a head
size of its own, with tied and untied classifier and with Llama 3's RoPE scaling, and for a Qwen3 (normed query and key
heads):

1. makes a model folder with transformers, in fp32;
2. trains it twelve steps with FERRANE on the `cpu` engine (AdamW, clip, cosine schedule, sequential order) and with
   PyTorch, and compares the losses (bar 2e-4) and the final weights (bar 2e-3, relative);
3. does the same on the simulated engine in fp16 (bar on losses 2e-2);
4. loads what FERRANE saved in transformers and compares the logits that both give for the next token (bar 1e-4).

Prints a line a check and exits with 1 if one fails.
"""
import argparse, json, math, pathlib, subprocess, sys, tempfile

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

STEPS, SEQ, BATCH, MICRO, VOCAB = 12, 64, 2, 2, 300
LR, WARMUP, MIN_RATIO, BETAS, EPS, DECAY, CLIP = 1e-3, 3, 0.1, (0.9, 0.95), 1e-8, 0.1, 1.0

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("ferrane")
parser.add_argument("--work", type=pathlib.Path)
args = parser.parse_args()
work = args.work or pathlib.Path(tempfile.mkdtemp())
failed = False


def report(what, value, bar):
    global failed
    ok = value <= bar
    failed |= not ok
    print(f"{'ok  ' if ok else 'FAIL'}  {what}: {value:.3g} (bar {bar:g})")


LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=SEQ // 2)
CASES = {
    "tied": (LlamaConfig, dict(tie_word_embeddings=True)),
    "untied": (LlamaConfig, dict(tie_word_embeddings=False)),
    "llama3 rope": (LlamaConfig, dict(tie_word_embeddings=True, rope_parameters=LLAMA3_ROPE)),
    "qwen3": (Qwen3Config, dict(tie_word_embeddings=True, num_key_value_heads=3,
                                rope_parameters=dict(rope_type="default", rope_theta=1e6))),
}


def make_model(config_class, changes):
    torch.manual_seed(3)
    shape = dict(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=112, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=SEQ, rms_norm_eps=1e-5,
        attention_bias=False, initializer_range=0.08,
    )
    model = AutoModelForCausalLM.from_config(config_class(**(shape | changes))).float()
    with torch.no_grad():  # norms that are not 1, so that a wrong norm derivative shows
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.uniform_(0.6, 1.4)
    return model


def learning_rate(step):
    if step < WARMUP:
        return LR * (step + 1) / WARMUP
    t = (step - WARMUP) / (STEPS - WARMUP)
    return LR * (MIN_RATIO + (1 - MIN_RATIO) * 0.5 * (1 + math.cos(math.pi * t)))


def train_torch(model, tokens, lrs):
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)
    losses, window = [], 0
    windows = (len(tokens) - 1) // SEQ
    for step in range(STEPS):
        optimiser.zero_grad()
        total = 0.0
        for _ in range(MICRO):
            starts = [((window + b) % windows) * SEQ for b in range(BATCH)]
            window += BATCH
            x = torch.stack([torch.tensor(tokens[s:s + SEQ]) for s in starts])
            y = torch.stack([torch.tensor(tokens[s + 1:s + SEQ + 1]) for s in starts])
            logits = model(x).logits
            loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), y.reshape(-1)) / MICRO
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        for group in optimiser.param_groups:
            group["lr"] = lrs[step]
        optimiser.step()
        losses.append(total)
    return losses


def train_ferrane(start, data, out, engine):
    command = [
        args.ferrane, "train", "--init", start, "--data", data, "--order", "sequential", "--steps", STEPS, "--seq", SEQ,
        "--batch-size", BATCH, "--micro-batches", MICRO, "--lr", LR, "--schedule", "cosine", "--warmup", WARMUP,
        "--min-lr-ratio", MIN_RATIO, "--betas", f"{BETAS[0]},{BETAS[1]}", "--eps", EPS, "--weight-decay", DECAY,
        "--clip", CLIP, "--engine", engine, "--out", out, "--quiet",
    ]
    subprocess.run([str(c) for c in command], check=True)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def check(label, config_class, changes):
    folder = work / label.replace(" ", "-")
    folder.mkdir(parents=True)
    model = make_model(config_class, changes)
    model.save_pretrained(folder / "start")
    rng = np.random.default_rng(5)
    tokens = np.cumsum(rng.integers(0, 7, 40 * SEQ)) % VOCAB
    tokens.astype("<u2").tofile(folder / "tokens.bin")

    ours = train_ferrane(folder / "start", folder / "tokens.bin", folder / "cpu", "cpu")
    lrs = [line["lr"] for line in ours]
    report(f"{label}: learning rates", max(abs(a - learning_rate(i)) for i, a in enumerate(lrs)), 1e-9)
    losses = train_torch(model, tokens.tolist(), lrs)
    report(f"{label}: losses of {STEPS} steps", max(abs(a["loss"] - b) for a, b in zip(ours, losses)), 2e-4)

    # The last tokens are the held-out part of a token file in some settings; windows must be the same ones.
    saved = load_file(folder / "cpu" / "model" / "model.safetensors")
    state = model.state_dict()
    worst = max(((saved[n] - state[n]).norm() / state[n].norm()).item() for n in saved)
    report(f"{label}: final weights, relative", worst, 2e-3)

    simulated = train_ferrane(folder / "start", folder / "tokens.bin", folder / "sim", "sim")
    report(f"{label}: losses on sim (fp16)", max(abs(a["loss"] - b) for a, b in zip(simulated, losses)), 2e-2)

    loaded = AutoModelForCausalLM.from_pretrained(folder / "cpu" / "model").float().eval()
    prompt = tokens[:SEQ // 2].tolist()
    out = subprocess.run(
        [args.ferrane, "generate", "--model", folder / "cpu", "--engine", "cpu", "--logits", "--prompt-tokens",
         ",".join(map(str, prompt))],
        check=True, capture_output=True, text=True)
    logits = torch.tensor(json.loads(out.stdout))
    with torch.no_grad():
        expected = loaded(torch.tensor([prompt])).logits[0, -1]
    report(f"{label}: logits of the saved model in transformers", (logits - expected).abs().max().item(), 1e-4)


for label, (config_class, changes) in CASES.items():
    check(label, config_class, changes)
sys.exit(1 if failed else 0)
