/* Compiles a program, evaluates it, reloads its weights, and shows what an error looks like.
 *
 *     cargo build --release -p ferrane-capi
 *     cc -Iinclude examples/capi/example.c -Ltarget/release -lferrane_capi -o example
 *     LD_LIBRARY_PATH=target/release ./example sim
 */
#include <stdio.h>
#include <stdlib.h>

#include "ferrane.h"

enum { CHANNELS = 4, WIDTH = 64, ELEMENTS = CHANNELS * WIDTH };

/* y = relu(W x) for a 1x1 convolution W. */
static const char *const PROGRAM =
    "program(1.3)\n"
    "{\n"
    "    func main<ios18>(tensor<fp16, [1, 4, 1, 64]> x) {\n"
    "        tensor<fp16, [4, 4, 1, 1]> w = const()[val = tensor<fp16, [4, 4, 1, 1]>(BLOBFILE(\n"
    "            path = string(\"@model_path/weights/w.bin\"), offset = uint64(64)))];\n"
    "        tensor<fp16, [1, 4, 1, 64]> wx = conv(weight = w, x = x);\n"
    "        tensor<fp16, [1, 4, 1, 64]> y = relu(x = wx);\n"
    "    } -> (y);\n"
    "}\n";

static void check(ferrane_status status) {
    if (status != FERRANE_OK) {
        fprintf(stderr, "error %d: %s\n", (int)status, ferrane_last_error());
        exit(1);
    }
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "auto";
    ferrane_engine *engine = NULL;
    ferrane_weights *weights = NULL;
    ferrane_kernel *kernel = NULL;
    ferrane_surface *x = NULL, *y = NULL;
    ferrane_port port;
    float w[CHANNELS * CHANNELS] = {0}, values[ELEMENTS];
    int i;

    check(ferrane_engine_open(name, NULL, &engine));

    /* Twice the first channel, minus the second, and the others as they are. */
    w[0] = 2;
    w[5] = -1;
    w[10] = w[15] = 1;
    check(ferrane_weights_new(&weights));
    check(ferrane_weights_add_fp16(weights, "@model_path/weights/w.bin", w, CHANNELS * CHANNELS));

    check(ferrane_kernel_compile(engine, PROGRAM, weights, &kernel));
    check(ferrane_kernel_port(kernel, FERRANE_INPUT, 0, &port));
    printf("%s takes %s of %zu x %zu, %zu bytes\n", name, port.name, port.channels, port.width, port.bytes);

    check(ferrane_surface_new(kernel, FERRANE_INPUT, 0, &x));
    check(ferrane_surface_new(kernel, FERRANE_OUTPUT, 0, &y));
    for (i = 0; i < ELEMENTS; i++) {
        values[i] = 1.0f + (float)(i / WIDTH);
    }
    check(ferrane_surface_write(x, values, ELEMENTS));
    check(ferrane_kernel_evaluate(kernel, &x, 1, &y, 1));
    check(ferrane_surface_read(y, values, ELEMENTS));
    printf("y = %g %g %g %g\n", values[0], values[WIDTH], values[2 * WIDTH], values[3 * WIDTH]);

    /* Other weights under the same program. Whether they count, only its results tell. */
    w[0] = 3;
    check(ferrane_weights_add_fp16(weights, "@model_path/weights/w.bin", w, CHANNELS * CHANNELS));
    check(ferrane_kernel_reload(kernel, weights));
    check(ferrane_kernel_evaluate(kernel, &x, 1, &y, 1));
    check(ferrane_surface_read(y, values, ELEMENTS));
    printf("reloaded: the engine computes with the %s weights\n", values[0] == 3 ? "new" : "old");

    /* What goes wrong is told, not crashed on: a program with a misspelt op, and a handle that was freed. */
    check(ferrane_kernel_free(kernel));
    if (ferrane_kernel_compile(engine, "program(1.3) { func main<ios18>(fp16 x) { fp16 y = rleu(x = x); } -> (y); }",
                               NULL, &kernel) == FERRANE_INVALID_PROGRAM) {
        printf("refused: %s\n", ferrane_last_error());
    }
    if (ferrane_kernel_evaluate(kernel, &x, 1, &y, 1) == FERRANE_INVALID_ARGUMENT) {
        printf("refused: %s\n", ferrane_last_error());
    }

    check(ferrane_surface_free(x));
    check(ferrane_surface_free(y));
    check(ferrane_weights_free(weights));
    check(ferrane_engine_free(engine));
    return 0;
}
