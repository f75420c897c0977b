#!/usr/bin/env python3
"""Make the weight file fixture of ferrane-mil with coremltools, and check that coremltools reads what we write.

    pip install coremltools numpy
    python tools/mil/make_blob_fixtures.py write crates/mil/tests/fixtures/blob/coremltools.bin
    python tools/mil/make_blob_fixtures.py check crates/mil/tests/fixtures/blob/coremltools.bin

`write` makes the file with coremltools' own writer. The tests of ferrane-mil write the same chunks and compare bytes, so
that coremltools reads what we write; `check` reads any such file (ours or theirs) with coremltools' own reader.
"""

import sys
from pathlib import Path

import numpy as np
from coremltools.libmilstoragepython import _BlobStorageReader, _BlobStorageWriter

# One chunk for every type that coremltools' Python module offers, in this order. The tests repeat the values.
CHUNKS = [
    ("fp16", np.array([0x3C00, 0xB800, 0x7BFF, 0x0001, 0x8000], np.uint16)),
    ("float", np.array([1.0, -0.5, 3.4028234e38, 1e-45], np.float32)),
    ("uint8", np.arange(0, 70, dtype=np.uint8)),
    ("int8", np.array([-128, -1, 0, 127], np.int8)),
    ("int16", np.array([-32768, 0, 32767], np.int16)),
    ("uint16", np.array([0, 1, 65535], np.uint16)),
    ("int32", np.array([-2147483648, 0, 2147483647], np.int32)),
    ("uint32", np.array([0, 4294967295], np.uint32)),
    ("int4", np.array([-8, -1, 7], np.int8)),
    ("uint1", np.array([1, 0, 1, 1, 1, 0, 0, 0, 1], np.uint8)),
    ("uint2", np.array([0, 1, 2, 3, 3], np.uint8)),
    ("uint3", np.array([0, 1, 2, 3, 4, 5, 6, 7, 5, 3, 1], np.uint8)),
    ("uint4", np.array([15, 0, 9], np.uint8)),
    ("uint6", np.array([1, 63, 33, 5, 6], np.uint8)),
]


def write(path: Path) -> None:
    path.unlink(missing_ok=True)
    writer = _BlobStorageWriter(str(path))
    for name, values in CHUNKS:
        getattr(writer, f"write_{name}_data")(values)
    del writer


def check(path: Path) -> None:
    reader = _BlobStorageReader(str(path))
    data = path.read_bytes()
    offset = 64
    for name, values in CHUNKS:
        read = np.array(getattr(reader, f"read_{name}_data")(offset))
        assert np.array_equal(read, values), (name, offset, read, values)
        size = int.from_bytes(data[offset + 8 : offset + 16], "little")
        offset = -(-(offset + 64 + size) // 64) * 64
    print(f"{path}: coremltools reads all {len(CHUNKS)} chunks")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
