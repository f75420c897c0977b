"""How long a user waits: for the first token, for the first step."""
import json, shutil, time
from statistics import median

from ferrane import streamed
from generation import model_files
from processes import Failed, ended, start, tell
from shapes import MODELS, SEQ

MODEL = "stories15m"
TOKEN_BAR, STEP_BAR = 150, 1000


def measure(tables, ferrane, options):
    tables.title(f"Start, {MODEL}, from starting the program")
    _, folder = model_files(ferrane, MODEL)
    rows = []
    for what, bar, figure in [("ferrane generate: first token", TOKEN_BAR, lambda: first_token(ferrane, folder)),
                              ("ferrane train: first step done", STEP_BAR, lambda: first_step(ferrane))]:
        tell(what)
        try:
            # The first run reads files that no other has.
            times = [figure() for _ in range(1 + 2 * options.rounds)][1:]
        except Failed as failure:
            rows.append([what, None, None, f"fails: {failure}"])
            continue
        rows.append([what, median(times), max(times), None])
        tables.bar(f"{what}, ms", median(times), bar)
    tables.table(["", "ms", "slowest", ""], rows)
    tables.note("The program's start, weights, tokenizer and kernels are in it; the data of the step is there.")


def first_token(ferrane, folder):
    # A prompt is printed before its continuation comes: with an empty one, what comes first is the token.
    times, _ = streamed(ferrane.generate_command(folder, 8, prompt=("--prompt", "")))
    return 1e3 * times[0]


def first_step(ferrane):
    command, out = ferrane.train_command(MODEL, MODELS[MODEL].vocab, 1, 1, SEQ)
    begin = time.perf_counter()
    child, when = start([*command, "--json"]), None
    for line in child.stdout:
        if when is None and json.loads(line)["event"] == "step":
            when = 1e3 * (time.perf_counter() - begin)
    ended(child)
    shutil.rmtree(out)
    if when is None:
        raise Failed("no step was told of")
    return when
