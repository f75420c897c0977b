#!/usr/bin/env python3
"""Fits the parameters that nobody published to points that somebody did, and lists what is left.

    python3 tools/cost-model/fit.py             print the fitted parameters beside those in the profiles
    python3 tools/cost-model/fit.py --residuals  write residuals.csv from the profiles as they are

Every row names who published it. Each parameter is fitted alone or with those of its line, by least squares of the logarithm of modelled over published time,
on the rows of points.csv with role `fit` that the line names; everything else comes from the profiles.
"""

import argparse
import csv
import math
import pathlib

from model import KEYS, microseconds, rates

HERE = pathlib.Path(__file__).resolve().parent

# chip whose profile gets the parameters, parameters, rows that they are fitted to
FITS = [
    ("m5-pro", ["weights", "conv3", "reduce"], ["m5-pro-"]),
    ("m4", ["mac", "weights"], ["m4-64x64-", "m4-mini-conv-"]),
    ("m4", ["half"], ["m4-pro-peak", "m4-max-peak"]),
    ("m4-pro", ["half"], ["m4-pro-peak"]),
    ("m4-max", ["half"], ["m4-max-peak"]),
    ("m5-max", ["mac"], ["m5-max-64x64-"]),
    ("m5", ["half"], ["m5-peak-a"]),
    ("m3-pro", ["mac"], ["m3-pro-wide"]),
    ("m3-ultra", ["dispatch"], ["m3-ultra-"]),
    ("m1", ["surfaces"], ["m1-ramp-"]),
    ("m1-max", ["surfaces"], ["train-m1-pro"]),
]


def points():
    lines = (line for line in (HERE / "points.csv").read_text().splitlines() if not line.startswith("#"))
    return list(csv.DictReader(lines))


def loss(p, rows):
    return sum(math.log(microseconds(p, r["program"], r["dims"]) / float(r["us"])) ** 2 for r in rows)


def fit(p, names, rows):
    """Coordinate descent on the logarithms, with steps that shrink."""
    p, step = dict(p), 0.5
    best = loss(p, rows)
    while step > 1e-5:
        moved = False
        for name in names:
            for factor in (math.exp(step), math.exp(-step)):
                trial = {**p, name: p[name] * factor}
                if (value := loss(trial, rows)) < best:
                    p, best, moved = trial, value, True
        if not moved:
            step /= 2
    return p


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--residuals", action="store_true", help="write residuals.csv")
    args = parser.parse_args()
    rows = points()
    if args.residuals:
        with open(HERE / "residuals.csv", "w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["id", "role", "published_us", "modelled_us", "error_percent"])
            for r in rows:
                us, published = microseconds(rates(r["chip"]), r["program"], r["dims"]), float(r["us"])
                out.writerow([r["id"], r["role"], r["us"], f"{us:.1f}", f"{100 * (us / published - 1):.1f}"])
        return
    for chip, names, prefixes in FITS:
        used = [r for r in rows if r["role"] == "fit" and any(r["id"].startswith(p) for p in prefixes)]
        before = rates(chip)
        after = fit(before, names, used)
        for name in names:
            print(f"{chip:9} {KEYS[name]:22} {after[name]:8.2f}   in the profile {before[name]:8.2f}   from {len(used)} rows")


if __name__ == "__main__":
    main()
