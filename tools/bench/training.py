"""Training steps, in rounds of one run of every contender, so that a machine that slows down does so for all."""
from statistics import median

import contenders
from processes import Failed, run, tell
from install import PEERS
from shapes import MODELS, SEQ

# What the step of the engine `cpu` may take of the fastest peer's, and `sim` of `cpu`'s.
STEP_BARS = {"stories260k": 0.35, "nano": 0.35, "stories15m": 0.65, "stories110m": 0.78}
SIM_BAR = 1.10
# For the models whose memory is that of their parameters.
LARGE = ("stories15m", "stories110m")
GEMM_BAR = 0.80
BYTES_A_PARAMETER_BAR = 16 * 1.15
# A peer that takes this many times the fastest one's time in the first round is not run again.
HOPELESS = 1.7
GEMM_SIZE, GEMM_REPEATS = 2048, 6


def measure(tables, ferrane, python, rust, options):
    everyone = [*contenders.engines(ferrane, ["cpu", "sim"]), *contenders.peers(options.peers, python, rust)]
    tables.title(f"Training step, fp32, AdamW, clip 1, batch x {SEQ} tokens")
    rows, notes = [], []
    for model in options.models:
        for batch in options.batches:
            cell = Cell(model, batch)
            for number in range(options.rounds):
                tell(f"{model}, batch {batch}, round {number + 1} of {options.rounds}")
                cell.round(everyone, number, options)
                cell.probe(ferrane, python, options.peers)
            rows += cell.rows(everyone)
            notes.append(cell.gemm_note())
            cell.add_bars(tables)
    tables.table(["model", "batch", "", "ms/step", "to the fastest peer", "peak GB", "GFLOP/s", "of GEMM", ""], rows)
    tables.note("Medians of rounds in alternation; ratios are medians of the rounds' ratios. `sim` rounds to fp16.")
    for note in notes:
        tables.note(note)


class Cell:
    """One model at one batch size."""

    def __init__(self, model, batch):
        self.model, self.batch = model, batch
        self.shape = MODELS[model]
        self.flops = self.shape.step_flops(batch, SEQ)
        self.rounds = {}  # name -> Steps of each round
        self.failed = {}  # name -> why
        self.gemm = {}  # who multiplied -> GFLOP/s of each round

    def round(self, everyone, number, options):
        # Every other round backwards: nobody is always the one that follows a hot machine.
        for contender in everyone if number % 2 == 0 else everyone[::-1]:
            if contender.name in self.failed or (number and contender.is_peer and self.is_hopeless(contender, everyone)):
                continue
            tell(f"  {contender.name}")
            try:
                steps = contender.run(self.model, self.batch, SEQ, options.steps, options.seconds)
                self.rounds.setdefault(contender.name, []).append(steps)
            except Failed as failed:
                self.failed[contender.name] = str(failed)
                tell(f"    {failed}")

    def is_hopeless(self, contender, everyone):
        first = {c.name: self.rounds[c.name][0].ms for c in everyone if c.is_peer and c.name in self.rounds}
        return first[contender.name] > HOPELESS * min(first.values())

    def probe(self, ferrane, python, peers):
        """Rates of a large product by everybody who may be the best at it and is there: nothing is installed for this alone."""
        def by_library(name):
            interpreter = python.having("numpy", name)
            return float(run([interpreter, PEERS / "products.py", name, GEMM_SIZE, GEMM_REPEATS]).out)
        pytorch, jax = {"pytorch", "pytorch-compile"}, {"jax"}
        libraries = [library for library, users in (("torch", pytorch), ("jax", jax), ("numpy", pytorch | jax))
                     if users & set(peers)]
        probes = {name: lambda name=name: by_library(name) for name in libraries}
        probes["ferrane"] = lambda: ferrane.product_rate(GEMM_SIZE, GEMM_REPEATS)
        for name, probe in probes.items():
            try:
                self.gemm.setdefault(name, []).append(probe())
            except Failed as failed:
                tell(f"  no GEMM rate of {name}: {failed}")

    def best_gemm(self):
        rates = {name: median(rates) for name, rates in self.gemm.items() if rates}
        return max(rates.items(), key=lambda rate: rate[1], default=(None, None))

    def ms(self, name):
        return median(steps.ms for steps in self.rounds[name])

    def gb(self, name):
        return max(steps.gb for steps in self.rounds[name])

    def ratio(self, name, other):
        """Of neighbours in time: the rounds that both ran."""
        return median(a.ms / b.ms for a, b in zip(self.rounds[name], self.rounds[other]))

    def peers(self):
        return [name for name in self.rounds if not name.startswith("ferrane")]

    def fastest_peer(self):
        return min(self.peers(), key=self.ms, default=None)

    def rate(self, name):
        return self.flops / 1e6 / self.ms(name)

    def rows(self, everyone):
        return [self.row(contender.name) for contender in everyone]

    def row(self, name):
        here = [self.model, self.batch, name]
        if name in self.failed:
            return [*here, *[None] * 5, "fails: " + self.failed[name]]
        _, gemm = self.best_gemm()
        fastest = self.fastest_peer()
        return [*here, self.ms(name), self.ratio(name, fastest) if fastest else None, self.gb(name), self.rate(name),
                f"{100 * self.rate(name) / gemm:.0f} %" if gemm else None, None]

    def gemm_note(self):
        best, _ = self.best_gemm()
        all_of_them = ", ".join(f"{name} {median(rates):.0f}" for name, rates in self.gemm.items() if rates)
        return (f"{self.model}, batch {self.batch}: {self.flops / 1e9:.2f} GFLOP a step; products of {GEMM_SIZE} x {GEMM_SIZE}, "
                f"GFLOP/s: {all_of_them or 'none'}; the best, {best}'s, is what `of GEMM` refers to.")

    def add_bars(self, tables):
        where = f"{self.model}, batch {self.batch}: "
        cpu, sim, fastest = "ferrane cpu", "ferrane sim", self.fastest_peer()
        if cpu not in self.rounds:
            return
        if fastest:
            tables.bar(f"{where}step of cpu, to {fastest}", self.ratio(cpu, fastest), STEP_BARS[self.model])
        if sim in self.rounds:
            tables.bar(f"{where}step of sim, to cpu", self.ratio(sim, cpu), SIM_BAR)
        if self.model in LARGE:
            _, gemm = self.best_gemm()
            if gemm:
                tables.bar(f"{where}rate of cpu, to the best GEMM", self.rate(cpu) / gemm, GEMM_BAR, at_most=False)
            if self.batch == 1:
                tables.bar(f"{where}peak bytes a parameter", 1e9 * self.gb(cpu) / self.shape.parameters(),
                           BYTES_A_PARAMETER_BAR)
        if self.peers():
            least = min(self.peers(), key=self.gb)
            tables.bar(f"{where}peak memory, to {least}", self.gb(cpu) / self.gb(least), 1.0)
