#!/usr/bin/env python3
"""Measure Ferrane on this machine, against the frameworks a person could use instead and against the machine's limits.

usage: compare.py [FERRANE] [--only PART ...] [--models M ...] [--batches B ...] [--rounds N] [--steps N] [--markdown] ...

FERRANE is the binary, by default target/release/ferrane of this repository. Parts, all of them unless --only chooses:

training    a step in fp32 with AdamW against PyTorch (eager and compiled), JAX, burn and candle; peak memory; the share of the
            best large-GEMM rate of the machine
generation  tokens a second against what memory can deliver, and against llama2.c's `run` if --llama2c names one
start       the first token, the first step
scaling     how a step's time grows with layers and positions
soak        memory over 1000 steps

Ratios are of runs in alternation on the same machine. Peers are taken from PyPI and crates.io: Python packages from the
interpreter named with --python, from the one that runs this, or from one made in the cache folder; burn and candle are built
there from `peers/`. A peer that cannot be had is a row that says why. Needs Python 3.9 or later.
"""
import argparse, pathlib, platform, sys, tempfile, time

import contenders, generation, scaling, soak, starting, training
from ferrane import Ferrane
from install import Python, RustPeers, cache_folder
from shapes import MODELS
from tables import Tables

BINARY = pathlib.Path(__file__).resolve().parents[2] / "target" / "release" / "ferrane"
PARTS = ["training", "generation", "start", "scaling", "soak"]


def count(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ferrane", nargs="?", default=BINARY, help="the binary to measure")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--batches", nargs="+", type=count, default=[1, 4], metavar="B", help="sequences a step")
    parser.add_argument("--rounds", type=count, default=3, metavar="N")
    parser.add_argument("--steps", type=count, default=12, metavar="N", help="timed steps of a run, after two of warm-up")
    parser.add_argument("--seconds", type=float, default=20, metavar="S",
                        help="after so much time of timed steps a peer's run ends early")
    parser.add_argument("--peers", nargs="*", choices=contenders.PEER_NAMES, default=contenders.PEER_NAMES, metavar="PEER",
                        help=", ".join(contenders.PEER_NAMES))
    parser.add_argument("--skip-rust-peers", action="store_true", help="without burn and candle, which take minutes to build")
    parser.add_argument("--llama2c", metavar="RUN", type=pathlib.Path, help="llama2.c's `run`, built by you")
    parser.add_argument("--python", metavar="PYTHON", help="an interpreter that has torch, jax and numpy")
    parser.add_argument("--cache", type=pathlib.Path, default=cache_folder(), help="where peers are installed [%(default)s]")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    if options.skip_rust_peers:
        options.peers = [name for name in options.peers if name not in contenders.RUST_PEERS]
    if options.llama2c and not options.llama2c.is_file():
        parser.error(f"--llama2c {options.llama2c}: there is no such file")
    return options


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="ferrane-bench-") as work:
        ferrane = Ferrane(options.ferrane, work)
        python, rust = Python(options.python, options.cache), RustPeers(options.cache)
        tables = Tables(options.markdown)
        tables.note(f"{platform.system()} {platform.machine()}, {processor()}, {time.strftime('%Y-%m-%d')}")
        parts = {
            "training": lambda: training.measure(tables, ferrane, python, rust, options),
            "generation": lambda: generation.measure(tables, ferrane, python, options),
            "start": lambda: starting.measure(tables, ferrane, options),
            "scaling": lambda: scaling.measure(tables, ferrane, options),
            "soak": lambda: soak.measure(tables, ferrane, options),
        }
        for name in PARTS:
            if name in options.only:
                parts[name]()
        tables.print_bars()


def processor():
    """Its name and how many cores, as far as the system tells."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
