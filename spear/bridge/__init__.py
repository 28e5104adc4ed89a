"""Semantic tokens -> the features and F0 that the hierarchical synthesizer speaks from."""

from spear.bridge.model import Bridge, BridgeConfig, BridgeOutput

__all__ = ["Bridge", "BridgeConfig", "BridgeOutput"]
