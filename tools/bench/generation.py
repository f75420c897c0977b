"""Tokens one after the other, batch 1, against llama2.c and against what memory can deliver."""
import re
from statistics import median

import checkpoints
from ferrane import streamed
from install import PEERS
from processes import Failed, run, tell
from shapes import MODELS

MODELS_MEASURED = ("stories15m", "stories110m")
POSITIONS = 256
TOKENS = POSITIONS - 2
LLAMA2C_BAR, BANDWIDTH_BAR = 1.2, 0.85


def measure(tables, ferrane, python, options):
    tables.title(f"Generation, batch 1, fp32, {TOKENS} tokens after the first")
    rows, notes = [], []
    for model in [model for model in MODELS_MEASURED if model in options.models]:
        shape, rates = MODELS[model], {}
        checkpoint, folder = model_files(ferrane, model)
        contenders = {"ferrane cpu": lambda: ferrane_rate(ferrane, folder)}
        if options.llama2c:
            contenders["llama2.c"] = lambda: llama2c_rate(options.llama2c, checkpoint, vocabulary(ferrane, shape.vocab))
        failed, reading = {}, []
        for number in range(options.rounds):
            tell(f"generation with {model}, round {number + 1} of {options.rounds}")
            for name, rate in contenders.items():
                try:
                    rates.setdefault(name, []).append(rate())
                except Failed as failure:
                    failed[name] = f"fails: {failure}"
            try:
                reading.append(float(run([python.having("numpy"), PEERS / "reading.py", 5]).out))
            except Failed as failure:
                tell(f"  no bandwidth: {failure}")
        bound = 1e9 * median(reading) / shape.bytes_a_token(TOKENS // 2) if reading else None
        for name in contenders:
            rows.append(row(model, name, rates.get(name), bound, failed.get(name)))
        if bound:
            notes.append(f"{model}: memory is read at {median(reading):.1f} GB/s, which would do for {bound:.0f} tokens/s.")
        add_bars(tables, model, rates, bound)
    tables.table(["model", "", "tokens/s", "of the bound", ""], rows)
    for note in notes:
        tables.note(note)
    if not options.llama2c:
        tables.note("llama2.c was not measured: build its `run` with `-Ofast -march=native -fopenmp` and give it with --llama2c.")


def row(model, name, rates, bound, failure):
    if failure:
        return [model, name, None, None, failure]
    return [model, name, median(rates), f"{100 * median(rates) / bound:.0f} %" if bound else None, None]


def add_bars(tables, model, rates, bound):
    if not rates.get("ferrane cpu"):
        return
    if rates.get("llama2.c"):
        ratio = median(a / b for a, b in zip(rates["ferrane cpu"], rates["llama2.c"]))
        tables.bar(f"{model}: tokens/s of cpu, to llama2.c", ratio, LLAMA2C_BAR, at_most=False)
    if bound:
        tables.bar(f"{model}: tokens/s of cpu, to the bound of memory", median(rates["ferrane cpu"]) / bound, BANDWIDTH_BAR,
                   at_most=False)


def vocabulary(ferrane, size):
    path = ferrane.work / f"tokenizer-{size}.bin"
    if not path.exists():
        checkpoints.write_vocabulary(path, size)
    return path


def model_files(ferrane, model):
    """The same model as llama2.c and as Ferrane reads it, with a tokenizer: made with one step that changes next to nothing."""
    shape = MODELS[model]
    checkpoint, folder = ferrane.work / f"{model}.bin", ferrane.work / f"{model}-run"
    if not folder.exists():
        tell(f"writing {model} ...")
        checkpoints.write_weights(checkpoint, shape, POSITIONS)
        text, tokens = ferrane.work / "text.txt", ferrane.work / f"{model}-tokens"
        text.write_text("one day a little duck went to the pond\n" * 200)
        run([ferrane.binary, "data", "prepare", text, "--tokenizer", vocabulary(ferrane, shape.vocab), "--out", tokens])
        run([ferrane.binary, "train", "--init", checkpoint, "--data", tokens, "--steps", 1, "--lr", 1e-9, "--seq", 64,
             "--engine", "cpu", "--out", folder, "--checkpoint-every", 0, "--quiet"])
    return checkpoint, folder


def ferrane_rate(ferrane, folder):
    times, out = streamed(ferrane.generate_command(folder, TOKENS + 1))
    count = out.count(",")
    if count < TOKENS // 2:
        raise Failed(f"the text ended after {count} tokens")
    return count / (times[-1] - times[0])


def llama2c_rate(binary, checkpoint, tokenizer):
    """It counts from its second token on too, and tells the rate beside the text."""
    errors = run([binary, checkpoint, "-t", "0", "-n", POSITIONS, "-z", tokenizer]).errors
    rate = re.search(r"achieved tok/s: ([\d.]+)", errors)
    if not rate:
        raise Failed(f"{binary} did not tell its rate, as llama2.c's `run` does")
    return float(rate[1])
