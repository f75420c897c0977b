// examples/capi/example.c in Swift.
//
//     cargo build --release -p ferrane-capi
//     swiftc -I examples/capi examples/capi/example.swift -L target/release -o example
//     LD_LIBRARY_PATH=target/release ./example sim          (DYLD_LIBRARY_PATH on a Mac)

import Ferrane

#if canImport(Darwin)
    import Darwin
#else
    import Glibc
#endif

let channels = 4, width = 64

/// y = relu(W x) for a 1x1 convolution W.
let program = """
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

struct Failed: Error {
    let words = String(cString: ferrane_last_error())
}

func check(_ status: ferrane_status) throws {
    guard status == FERRANE_OK else { throw Failed() }
}

func run(_ name: String) throws {
    var engine: OpaquePointer?
    try check(ferrane_engine_open(name, nil, &engine))
    defer { ferrane_engine_free(engine) }

    // Twice the first channel, minus the second, and the others as they are.
    var w: [Float] = [2, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    let path = "@model_path/weights/w.bin"
    var weights: OpaquePointer?
    try check(ferrane_weights_new(&weights))
    defer { ferrane_weights_free(weights) }
    try check(ferrane_weights_add_fp16(weights, path, w, w.count))

    var kernel: OpaquePointer?
    try check(ferrane_kernel_compile(engine, program, weights, &kernel))
    var port = ferrane_port()
    try check(ferrane_kernel_port(kernel, FERRANE_INPUT.rawValue, 0, &port))
    print("\(name) takes \(String(cString: port.name)) of \(port.channels) x \(port.width), \(port.bytes) bytes")

    var x: OpaquePointer?, y: OpaquePointer?
    try check(ferrane_surface_new(kernel, FERRANE_INPUT.rawValue, 0, &x))
    try check(ferrane_surface_new(kernel, FERRANE_OUTPUT.rawValue, 0, &y))
    defer {
        ferrane_surface_free(x)
        ferrane_surface_free(y)
    }
    var values = (0..<channels * width).map { Float(1 + $0 / width) }
    try check(ferrane_surface_write(x, values, values.count))
    try check(ferrane_kernel_evaluate(kernel, &x, 1, &y, 1))
    try check(ferrane_surface_read(y, &values, values.count))
    print("y =", (0..<channels).map { String(Int(values[$0 * width])) }.joined(separator: " "))

    // Other weights under the same program. Whether they count, only its results tell.
    w[0] = 3
    try check(ferrane_weights_add_fp16(weights, path, w, w.count))
    try check(ferrane_kernel_reload(kernel, weights))
    try check(ferrane_kernel_evaluate(kernel, &x, 1, &y, 1))
    try check(ferrane_surface_read(y, &values, values.count))
    print("reloaded: the engine computes with the \(values[0] == 3 ? "new" : "old") weights")

    // What goes wrong is told, not crashed on: a program with a misspelt op, and a handle that was freed.
    try check(ferrane_kernel_free(kernel))
    let bad = "program(1.3) { func main<ios18>(fp16 x) { fp16 y = rleu(x = x); } -> (y); }"
    var other: OpaquePointer?
    if ferrane_kernel_compile(engine, bad, nil, &other) == FERRANE_INVALID_PROGRAM {
        print("refused:", Failed().words)
    }
    if ferrane_kernel_evaluate(kernel, &x, 1, &y, 1) == FERRANE_INVALID_ARGUMENT {
        print("refused:", Failed().words)
    }
}

do {
    try run(CommandLine.arguments.dropFirst().first ?? "auto")
} catch let failed as Failed {
    print(failed.words)
    exit(1)
}
