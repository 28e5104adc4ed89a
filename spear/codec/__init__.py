"""Codecs: waveforms to acoustic tokens and back."""
