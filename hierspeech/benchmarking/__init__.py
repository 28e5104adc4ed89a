"""How fast a voice speaks, part by part, measured in variants that take turns in one process (`python benchmark.py infer`)."""
