"""Settings for all tests."""

import os

# Tiny models gain nothing from threads, and OpenMP threads that wait for each other on a busy machine lose a
# hundredfold. Set before torch is first imported, so that child processes have it too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
