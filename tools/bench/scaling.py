"""How the time of a step grows with layers and with positions."""
import contenders
from ferrane import Ferrane
from processes import Failed, tell
from shapes import MODELS, SEQ
from statistics import median

MODEL = "stories15m"
LAYERS, POSITIONS = (1, 2, 4, 8), (128, 256, 512, 1024)


def measure(tables, ferrane, options):
    tables.title(f"Growth of a step, {MODEL}'s widths, engine cpu, batch 1")
    cases = [(layers, SEQ) for layers in LAYERS] + [(MODELS[MODEL].layers, positions) for positions in POSITIONS]
    times = {case: [] for case in cases}
    try:
        for number in range(options.rounds):
            tell(f"growth, round {number + 1} of {options.rounds}")
            for case in cases:
                times[case].append(step_ms(ferrane, *case, options.steps))
    except Failed as failure:
        tables.note(f"fails: {failure}")
        return
    ms = {case: median(of_case) for case, of_case in times.items()}
    by_layers(tables, {layers: ms[layers, SEQ] for layers in LAYERS})
    by_positions(tables, {positions: ms[MODELS[MODEL].layers, positions] for positions in POSITIONS})


def step_ms(ferrane: Ferrane, layers, positions, steps):
    shape = [("layers", layers), ("max-seq", max(POSITIONS))]
    times, _ = ferrane.step_times(MODEL, MODELS[MODEL].vocab, contenders.WARM + steps, 1, positions, shape=shape)
    return median(times[contenders.WARM:])


def by_layers(tables, ms):
    constant, each = fitted([[1, layers] for layers in ms], list(ms.values()))
    predicted = {layers: constant + each * layers for layers in ms}
    tables.table(["layers", "ms/step", "fitted", "off"],
                 [[n, ms[n], predicted[n], off(ms[n], predicted[n])] for n in ms])
    tables.note(f"fitted at {SEQ} positions: {constant:.1f} ms and {each:.1f} ms a layer\n")


def by_positions(tables, ms):
    """The part that grows with the square is held against attention's part of the operations."""
    shape = MODELS[MODEL]
    constant, each, square = fitted([[1, n, n * n] for n in ms], list(ms.values()))
    predicted = {n: constant + each * n + square * n * n for n in ms}
    rows = []
    for n in ms:
        attention = 1 - 6 * shape.parameters() * n / shape.step_flops(1, n)
        rows.append([n, ms[n], predicted[n], off(ms[n], predicted[n]), f"{100 * square * n * n / predicted[n]:.0f} %",
                     f"{100 * attention:.0f} %"])
    tables.table(["positions", "ms/step", "fitted", "off", "quadratic part", "attention's part of the operations"], rows)
    tables.note(f"fitted at {shape.layers} layers: {constant:.1f} ms, {each:.3f} ms a position and "
                f"{1e6 * square:.1f} ns a pair of positions")


def off(measured, predicted):
    return f"{100 * abs(measured / predicted - 1):.1f} %"


def fitted(terms, values):
    """Least squares of relative errors: the factors of the terms, by elimination on the normal equations."""
    rows = [([term / value for term in row], 1.0) for row, value in zip(terms, values)]
    count = len(terms[0])
    matrix = [[sum(row[i] * row[j] for row, _ in rows) for j in range(count)] + [sum(row[i] * one for row, one in rows)]
              for i in range(count)]
    for i in range(count):
        matrix[i] = [x / matrix[i][i] for x in matrix[i]]
        for j in range(count):
            if j != i:
                matrix[j] = [x - matrix[j][i] * y for x, y in zip(matrix[j], matrix[i])]
    return [row[-1] for row in matrix]
