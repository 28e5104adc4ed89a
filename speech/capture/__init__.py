"""Models' parts as CUDA graphs: recorded once for a few lengths, started with one call each; see docs/performance_gpu.md."""
