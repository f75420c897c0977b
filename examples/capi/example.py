"""examples/capi/example.c in Python.

    cargo build --release -p ferrane-capi
    python3 examples/capi/example.py target/release/libferrane_capi.so sim
"""

import ctypes
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_size_t, c_uint32, c_void_p

INPUT, OUTPUT = 0, 1
CHANNELS, WIDTH = 4, 64

# y = relu(W x) for a 1x1 convolution W.
PROGRAM = b"""
program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 4, 1, 64]> x) {
        tensor<fp16, [4, 4, 1, 1]> w = const()[val = tensor<fp16, [4, 4, 1, 1]>(BLOBFILE(
            path = string("@model_path/weights/w.bin"), offset = uint64(64)))];
        tensor<fp16, [1, 4, 1, 64]> wx = conv(weight = w, x = x);
        tensor<fp16, [1, 4, 1, 64]> y = relu(x = wx);
    } -> (y);
}
"""


class Port(Structure):
    _fields_ = [("name", c_char_p), ("channels", c_size_t), ("width", c_size_t), ("bytes", c_size_t)]


class Failed(Exception):
    """A call that failed, with Ferrane's words."""


class Ferrane:
    """The library, its calls raising what fails."""

    SIGNATURES = {
        "engine_open": [c_char_p, c_char_p, POINTER(c_void_p)],
        "engine_free": [c_void_p],
        "weights_new": [POINTER(c_void_p)],
        "weights_add_fp16": [c_void_p, c_char_p, POINTER(c_float), c_size_t],
        "weights_free": [c_void_p],
        "kernel_compile": [c_void_p, c_char_p, c_void_p, POINTER(c_void_p)],
        "kernel_port": [c_void_p, c_uint32, c_size_t, POINTER(Port)],
        "kernel_evaluate": [c_void_p, POINTER(c_void_p), c_size_t, POINTER(c_void_p), c_size_t],
        "kernel_reload": [c_void_p, c_void_p],
        "kernel_free": [c_void_p],
        "surface_new": [c_void_p, c_uint32, c_size_t, POINTER(c_void_p)],
        "surface_write": [c_void_p, POINTER(c_float), c_size_t],
        "surface_read": [c_void_p, POINTER(c_float), c_size_t],
        "surface_free": [c_void_p],
    }

    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.ferrane_last_error.restype = c_char_p
        for name, arguments in self.SIGNATURES.items():
            getattr(self.library, "ferrane_" + name).argtypes = arguments

    def call(self, name, *arguments):
        status = getattr(self.library, "ferrane_" + name)(*arguments)
        if status != 0:
            raise Failed(f"error {status}: {self.library.ferrane_last_error().decode()}")

    def new(self, name, *arguments):
        handle = c_void_p()
        self.call(name, *arguments, byref(handle))
        return handle


def floats(values):
    return (c_float * len(values))(*values)


def main(path, name):
    ferrane = Ferrane(path)
    engine = ferrane.new("engine_open", name.encode(), None)

    # Twice the first channel, minus the second, and the others as they are.
    weights = ferrane.new("weights_new")
    w = floats([2, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    ferrane.call("weights_add_fp16", weights, b"@model_path/weights/w.bin", w, len(w))

    kernel = ferrane.new("kernel_compile", engine, PROGRAM, weights)
    port = Port()
    ferrane.call("kernel_port", kernel, INPUT, 0, byref(port))
    print(f"{name} takes {port.name.decode()} of {port.channels} x {port.width}, {port.bytes} bytes")

    x, y = ferrane.new("surface_new", kernel, INPUT, 0), ferrane.new("surface_new", kernel, OUTPUT, 0)
    values = floats([1 + i // WIDTH for i in range(CHANNELS * WIDTH)])
    ferrane.call("surface_write", x, values, len(values))
    ferrane.call("kernel_evaluate", kernel, byref(x), 1, byref(y), 1)
    ferrane.call("surface_read", y, values, len(values))
    print("y =", *(f"{values[channel * WIDTH]:g}" for channel in range(CHANNELS)))

    # Other weights under the same program. Whether they count, only its results tell.
    w[0] = 3
    ferrane.call("weights_add_fp16", weights, b"@model_path/weights/w.bin", w, len(w))
    ferrane.call("kernel_reload", kernel, weights)
    ferrane.call("kernel_evaluate", kernel, byref(x), 1, byref(y), 1)
    ferrane.call("surface_read", y, values, len(values))
    print("reloaded: the engine computes with the", "new" if values[0] == 3 else "old", "weights")

    # What goes wrong is told, not crashed on: a program with a misspelt op, and a handle that was freed.
    ferrane.call("kernel_free", kernel)
    bad = b"program(1.3) { func main<ios18>(fp16 x) { fp16 y = rleu(x = x); } -> (y); }"
    for attempt in [
        lambda: ferrane.new("kernel_compile", engine, bad, None),
        lambda: ferrane.call("kernel_evaluate", kernel, byref(x), 1, byref(y), 1),
    ]:
        try:
            attempt()
        except Failed as error:
            print("refused:", str(error).split(": ", 1)[1])

    for kind, handle in [("surface", x), ("surface", y), ("weights", weights), ("engine", engine)]:
        ferrane.call(kind + "_free", handle)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: example.py LIBRARY [ENGINE]")
    try:
        main(sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "auto")
    except Failed as error:
        sys.exit(str(error))
