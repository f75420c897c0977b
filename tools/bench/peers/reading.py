"""How fast memory is read by all processors, with NumPy. usage: reading.py REPEATS; prints the best GB/s."""
import os, sys, threading, time

import numpy as np

THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
MEGABYTES = 256  # a thread: more than any cache

parts = [np.ones(MEGABYTES << 18, np.float32) for _ in range(THREADS)]
best = 0.0
for _ in range(int(sys.argv[1])):
    # The largest of an array: the quickest pass over it that NumPy has.
    threads = [threading.Thread(target=part.max) for part in parts]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    best = max(best, sum(part.nbytes for part in parts) / (time.perf_counter() - start) / 1e9)
print(best)
