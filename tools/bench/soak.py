"""Whether memory stays flat over a long run."""
import json, subprocess

from processes import Failed, ended, start, tell
from shapes import MODELS

MODEL, STEPS, SEQ = "nano", 1000, 128
FIRST = 10
GROWTH_BAR = 1.02


def measure(tables, ferrane, options):
    tables.title(f"Memory over {STEPS} steps, {MODEL}, 1 x {SEQ} tokens")
    rows = []
    for engine in ("cpu", "sim"):
        tell(f"{STEPS} steps by {engine}")
        try:
            resident = resident_by_step(ferrane, engine)
        except Failed as failure:
            rows.append([engine, None, None, None, f"fails: {failure}"])
            continue
        last = max(resident)
        rows.append([engine, resident[FIRST], resident[last], max(resident.values()), None])
        tables.bar(f"{MODEL}, {engine}: memory at step {last}, to step {FIRST}", resident[last] / resident[FIRST], GROWTH_BAR)
    tables.table(["engine", f"MB at step {FIRST}", "MB at the end", "largest seen", ""], rows)


def resident_by_step(ferrane, engine):
    """Resident memory in MB after every tenth step."""
    command, _ = ferrane.train_command(MODEL, MODELS[MODEL].vocab, STEPS, 1, SEQ, engine)
    child, resident = start([*command, "--json"]), {}
    for line in child.stdout:
        event = json.loads(line)
        if event["event"] == "step" and event["step"] % FIRST == 0:
            megabytes = resident_megabytes(child.pid)
            if megabytes:
                resident[event["step"]] = megabytes
    ended(child)
    if FIRST not in resident or len(resident) < 2:
        raise Failed("its memory could not be read while it ran")
    return resident


def resident_megabytes(process):
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, text=True).stdout.strip()
    return int(shown) * 1024 / 1e6 if shown else None
