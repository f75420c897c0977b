"""Runs the `ferrane` binary: steps, generated tokens, products."""
import array, itertools, json, pathlib, random, re, shutil, struct, time

from processes import Failed, ended, run, start


class Ferrane:
    def __init__(self, binary, work):
        self.binary = pathlib.Path(binary).resolve()
        if not self.binary.is_file():
            raise SystemExit(f"there is no {binary}; build it with `cargo build --release` or give its path")
        self.work = pathlib.Path(work)
        self.made = itertools.count()

    def new(self, name):
        return self.work / f"{name}-{next(self.made)}"

    def data(self, vocab):
        """Random tokens of a vocabulary, as a file."""
        path = self.work / f"tokens-{vocab}.bin"
        if not path.exists():
            chosen = random.Random(1)
            array.array("H", (chosen.randrange(vocab) for _ in range(200_000))).tofile(path.open("wb"))
        return path

    def train_command(self, model, vocab, steps, batch, seq, engine="cpu", shape=()):
        """A run from random weights, and its folder. `shape` changes the model's."""
        out = self.new("run")
        settings = self.new("settings").with_suffix(".toml")
        # The model is in the file too: a file's shape is of the file's model. The plan is that of cpu, for sim as well.
        settings.write_text("".join([f'model = "{model}"\nplan = "five"\n[shape]\n', *(f"{key} = {value}\n" for key, value in shape)]))
        return [self.binary, "train", settings, "--data", self.data(vocab), "--steps", steps,
                "--seq", seq, "--batch-size", batch, "--engine", engine, "--out", out, "--checkpoint-every", 0], out

    def step_times(self, *args, **kwargs):
        """Milliseconds of each step of a run, and peak memory in GB."""
        command, out = self.train_command(*args, **kwargs)
        gb = run([*command, "--quiet"]).gb
        lines = (out / "metrics.jsonl").read_text().splitlines()
        shutil.rmtree(out)  # a large model's checkpoint takes gigabytes
        return [json.loads(line)["step_ms"] for line in lines], gb

    def generate_command(self, folder, tokens, engine="cpu", prompt=("--prompt-tokens", 1)):
        return [self.binary, "generate", "--model", folder, *prompt, "--max-tokens", tokens, "--temperature", 0,
                "--engine", engine]

    def product_rate(self, size, repeats):
        """GFLOP/s of a product of square matrices by the engine `cpu`, the fastest of some."""
        folder = self.new("product")
        folder.mkdir()
        square = f"tensor<fp32, [{size}, {size}]>"
        flag = "{0} = const()[name = string(\"{0}\"), val = bool(false)];"
        (folder / "model.mil").write_text(
            f"program(1.3)\n{{\n    func main<ios18>({square} x, {square} y) {{\n"
            f"        bool {flag.format('tx')}\n        bool {flag.format('ty')}\n"
            f"        {square} z = matmul(transpose_x = tx, transpose_y = ty, x = x, y = y)[name = string(\"z\")];\n"
            f"    }} -> (z);\n}}\n")
        values = folder / "values.npy"
        values.write_bytes(array_bytes(size))
        told = run([self.binary, "mil", "run", folder, "--input", f"x={values}", "--input", f"y={values}", "--out",
                      folder, "--repeat", repeats]).out
        return 2 * size**3 / 1e6 / float(re.search(r"runs ([\d.]+) ms", told)[1])


def array_bytes(size):
    """A square matrix as NumPy stores it."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({size}, {size}), }}"
    row = array.array("f", (i % 97 / 97 - 0.5 for i in range(size)))
    header = f"{header:<117}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + row.tobytes() * size


def streamed(command):
    """Runs a command; returns seconds from its start at which pieces of output came, and the output."""
    begin = time.perf_counter()
    child = start(command)
    times, out = [], b""
    while piece := child.stdout.read1(1 << 16):
        times.append(time.perf_counter() - begin)
        out += piece
    ended(child)
    if not times:
        raise Failed(f"{child.args[0]} printed nothing")
    return times, out.decode()
