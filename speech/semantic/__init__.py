"""Semantic encoders: recordings to features that carry what is said."""
