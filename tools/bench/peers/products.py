"""Large products of matrices by a library. usage: products.py torch|numpy|jax SIZE REPEATS; prints the best GFLOP/s."""
import importlib, sys, time

import numpy as np

library, size, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
x, y = np.random.default_rng(1).random((2, size, size), np.float32)
if library == "torch":
    torch = importlib.import_module("torch")
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    product = lambda: x @ y
elif library == "jax":
    jax = importlib.import_module("jax")
    x, y = jax.numpy.array(x), jax.numpy.array(y)
    product = lambda: (x @ y).block_until_ready()
else:
    product = lambda: x @ y

best = float("inf")
for _ in range(repeats + 1):
    start = time.perf_counter()
    product()
    best = min(best, time.perf_counter() - start)
print(2 * size**3 / best / 1e9)
