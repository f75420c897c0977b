/* Ferrane: compile and evaluate MIL programs on Apple's Neural Engine, its simulation, or the CPU.
 *
 * Made from crates/capi/src/abi.rs by its tests; docs/capi.md says how to use it.
 *
 * Handles are looked up, never followed: one that was freed, or is of another kind, gives FERRANE_INVALID_ARGUMENT. Every
 * function may be called from any thread at any time; evaluations of one kernel wait for each other. Whoever writes a
 * surface that another thread reads must say when, as with any memory.
 */
#ifndef FERRANE_H
#define FERRANE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a call ended. */
typedef enum {
    /* It did what it was asked. */
    FERRANE_OK = 0,
    /* A null pointer, a handle that was freed or is of another kind, a wrong size, or text that is not UTF-8. */
    FERRANE_INVALID_ARGUMENT = 1,
    /* There is no such engine or chip here. */
    FERRANE_NOT_AVAILABLE = 2,
    /* The text is not MIL, or not a valid program. */
    FERRANE_INVALID_PROGRAM = 3,
    /* A weight file is missing or damaged. */
    FERRANE_WEIGHTS = 4,
    /* The engine cannot compile the program. */
    FERRANE_COMPILE = 5,
    /* The engine cannot load the program. */
    FERRANE_LOAD = 6,
    /* The engine cannot evaluate the program. */
    FERRANE_EVALUATE = 7,
    /* Memory could not be had or used. */
    FERRANE_SURFACE = 8,
    /* A defect of Ferrane: please report it. */
    FERRANE_DEFECT = 9,
} ferrane_status;

/* A side of a kernel. */
typedef enum {
    /* Inputs. */
    FERRANE_INPUT = 0,
    /* Outputs. */
    FERRANE_OUTPUT = 1,
} ferrane_side;

/* An engine: something that compiles and evaluates programs. */
typedef struct ferrane_engine ferrane_engine;

/* Weight files. */
typedef struct ferrane_weights ferrane_weights;

/* A compiled program, loaded. */
typedef struct ferrane_kernel ferrane_kernel;

/* Memory of one input or output. */
typedef struct ferrane_surface ferrane_surface;

/* One input or output of a kernel, of shape [1, channels, 1, width]. */
typedef struct {
    /* Its name, for as long as the kernel is not freed. */
    const char *name;
    /* Channels. */
    size_t channels;
    /* Width. */
    size_t width;
    /* Its size on the engine, in bytes. */
    size_t bytes;
} ferrane_port;

/* The version of Ferrane, such as "0.1.0". */
const char *ferrane_version(void);

/* Why this thread's last call failed: what, where and what to do. Empty if it succeeded. Good until this
 * thread's next call. */
const char *ferrane_last_error(void);

/* The status code that the Neural Engine's framework gave in this thread's last call, such as 0x1d. 0 if it
 * gave none. */
uint32_t ferrane_last_code(void);

/* Opens an engine. name is "cpu", "sim", "sim:faithful" (the chip's own arithmetic), "ane" or "auto" (ane
 * where there is one, else sim). chip names the chip that is simulated or present, such as "m4"; null is the
 * default. Free the engine with ferrane_engine_free. name and chip are C strings or null, and engine points
 * to memory for a handle. */
ferrane_status ferrane_engine_open(const char *name, const char *chip, ferrane_engine **engine);

/* Frees an engine. Its kernels and surfaces stay good. Null is no error. */
ferrane_status ferrane_engine_free(ferrane_engine *engine);

/* Makes a set of weight files, which is empty. Free it with ferrane_weights_free. weights points to memory
 * for a handle. */
ferrane_status ferrane_weights_new(ferrane_weights **weights);

/* Adds a whole weight file, version 2 of the blob format. path is what the program calls it, such as
 * "@model_path/weights/w.bin". The bytes are copied. path is a C string, and bytes points to length bytes. */
ferrane_status ferrane_weights_add_file(ferrane_weights *weights, const char *path, const uint8_t *bytes, size_t length);

/* Adds a weight file of one fp16 weight, which is at offset 64: numbers are rounded to nearest. path is a C
 * string, and values points to count numbers. */
ferrane_status ferrane_weights_add_fp16(ferrane_weights *weights, const char *path, const float *values, size_t count);

/* Frees weight files. Kernels compiled with them keep what they need. Null is no error. */
ferrane_status ferrane_weights_free(ferrane_weights *weights);

/* Compiles and loads MIL text. weights holds the files that the program names; null if it names none. Free
 * the kernel with ferrane_kernel_free, which frees its slot on the engine. mil is a C string, and kernel
 * points to memory for a handle. */
ferrane_status ferrane_kernel_compile(ferrane_engine *engine, const char *mil, ferrane_weights *weights, ferrane_kernel **kernel);

/* The number of inputs or outputs of a kernel; 0 if it is none. */
size_t ferrane_kernel_ports(ferrane_kernel *kernel, uint32_t side);

/* Describes an input or output of a kernel. port points to memory for the description. */
ferrane_status ferrane_kernel_port(ferrane_kernel *kernel, uint32_t side, size_t index, ferrane_port *port);

/* Makes memory for an input or output of a kernel, all zero. It claims as many bytes as the largest port of
 * its side, as some engines want. Free it with ferrane_surface_free. It stays good when the kernel is freed.
 * surface points to memory for a handle. */
ferrane_status ferrane_surface_new(ferrane_kernel *kernel, uint32_t side, size_t index, ferrane_surface **surface);

/* Writes all elements of a surface, row by row: element (c, w) is number c * width + w. They are rounded to
 * the surface's type. values points to count numbers. */
ferrane_status ferrane_surface_write(ferrane_surface *surface, const float *values, size_t count);

/* Reads all elements of a surface, in the order of ferrane_surface_write. values points to memory for count
 * numbers. */
ferrane_status ferrane_surface_read(ferrane_surface *surface, float *values, size_t count);

/* Frees a surface. Null is no error. */
ferrane_status ferrane_surface_free(ferrane_surface *surface);

/* Evaluates a kernel once and waits for it. Surfaces are given in the order of the ports. inputs and outputs
 * point to as many handles as their counts say. */
ferrane_status ferrane_kernel_evaluate(ferrane_kernel *kernel, ferrane_surface *const *inputs, size_t input_count, ferrane_surface *const *outputs, size_t output_count);

/* Puts other weight files under a kernel and loads it again, without compiling it. weights holds every file
 * that the program names, of the same sizes as before. Success does not say that the kernel computes with
 * them: cpu does, while no Neural Engine is known to, nor does its simulation. Compare what it computes. */
ferrane_status ferrane_kernel_reload(ferrane_kernel *kernel, ferrane_weights *weights);

/* Frees a kernel and its slot on the engine. Null is no error. */
ferrane_status ferrane_kernel_free(ferrane_kernel *kernel);

#ifdef __cplusplus
}
#endif

#endif
