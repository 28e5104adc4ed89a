"""Export of a voice's models for inference without torch; `python -m hierspeech.export --help` (docs/export.md)."""
