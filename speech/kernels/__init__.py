"""Compiled kernels for inference on a CPU, each with a twin in plain torch; see docs/performance_kernels.md."""
