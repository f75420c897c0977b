"""The cost model on the programs of points.csv, in closed form.

The model itself is crates/engine/src/cost; this is the part of it that the published points need, so that they can be
fitted. A test of the crate (tests/cost.rs) holds both to the same values.
"""

import math
import pathlib
import tomllib

PROFILES = pathlib.Path(__file__).resolve().parents[2] / "crates/engine/profiles"

# Keys of the profile the model reads.
KEYS = {
    "dispatch": "speed.dispatch_us",
    "surfaces": "speed.activations_gbs",
    "weights": "speed.weights_gbs",
    "room": "speed.working_set_mb",
    "int8": "speed.int8_speedup",
    "mac": "cost.mac_tflops",
    "half": "cost.half_width",
    "conv3": "cost.conv3_speedup",
    "map": "cost.elementwise_gps",
    "reduce": "cost.reduction_gps",
}


def profile(name):
    """The figures of a profile by dotted key, with those of what it extends."""
    path = PROFILES / f"{name}.toml"
    table = tomllib.loads((path if path.exists() else PROFILES / f"families/{name}.toml").read_text())
    base = profile(table["extends"]) if "extends" in table else {}

    def figures(table, prefix):
        for key, value in table.items():
            if isinstance(value, dict):
                if "value" in value:
                    yield prefix + key, value["value"]
                else:
                    yield from figures(value, prefix + key + ".")

    return {**base, **dict(figures(table, ""))}


def rates(name):
    """The model's parameters for a chip; a speed-up that nobody published is 1."""
    figures = profile(name)
    return {short: figures.get(key, 1.0) for short, key in KEYS.items()}


def microseconds(p, program, dims):
    """Modelled time of one evaluation. Rates are in bytes, FLOP and elements a microsecond."""
    surfaces, weights, room = p["surfaces"] * 1e3, p["weights"] * 1e3, p["room"] * 1e6
    mac = lambda columns: p["mac"] * 1e6 * columns / (columns + p["half"])
    if program in ("chain", "chain8"):
        c, h, w, depth, k, io = dims.split("/")
        c, columns, depth, k = int(c), int(h) * int(w), int(depth), int(k)
        int8 = program == "chain8"
        rate = mac(columns) * (p["conv3"] if k == 3 else 1)
        flops = 2 * c * c * k * k * columns
        matrix = c * c * k * k * (1 if int8 else 2)
        value = c * columns
        total = p["dispatch"] + 2 * value * (4 if io == "fp32" else 2) / surfaces
        for layer in range(depth):
            read = matrix if layer == 0 or matrix > room else 0
            for at_port in (layer == 0, layer == depth - 1):
                size = value * (1 if int8 else 2)
                if (not at_port or io == "fp32") and size > room:
                    read += size
            total += max(flops / (rate * (p["int8"] if int8 and layer > 0 else 1)), read / weights)
        if io == "fp32":
            # The two casts.
            total += 2 * max(value / (p["map"] * 1e3), (value * 2 if value * 2 > room else 0) / weights)
        return total
    if program == "matmul":
        m, k, n = map(int, dims.split("/"))
        x, y = 2 * m * k, 2 * k * n
        again = min(x * (math.ceil(y / room) - 1), y * (math.ceil(x / room) - 1)) if min(x, y) > room else 0
        product = max(2 * m * k * n / mac(m), y / weights)
        return p["dispatch"] + (x + 2 * m * n) / surfaces + product + again / surfaces
    if program == "packed":
        m, c = map(int, dims.split("/"))
        # Slices of an input are places in it.
        ports = 2 * (c * (m + c) + c * m) / surfaces
        return p["dispatch"] + ports + 2 * m * c * c / mac(max(m, c))
    if program in ("map", "reduce"):
        c, w = map(int, dims.split("/"))
        return p["dispatch"] + 4 * c * w / surfaces + c * w / (p[program] * 1e3)
    if program == "stories110m":
        layers, dim, hidden, seq, heads = 12, 768, 2048, 256, 12
        flops = (8 * dim * dim + 6 * dim * hidden) * seq + 4 * dim * seq * seq
        values = 7 * dim + (3 * dim + 3 * hidden)
        return layers * (
            2 * p["dispatch"]
            + 2 * seq * values / surfaces
            + flops / mac(seq)
            + (heads * seq * seq + 2 * dim * seq) / (p["reduce"] * 1e3)
            + (22 * dim + 3 * hidden) * seq / (p["map"] * 1e3)
        )
    raise ValueError(f"no program `{program}`")
