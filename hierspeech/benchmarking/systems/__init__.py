"""The systems that a comparison can run, by name. A new one is an `Entry` in one of these files.

Importing this loads no model and no heavy package: `worker.py` does so in the environments of other packages.
"""

from hierspeech.benchmarking.systems import by_transformers, ours, packages, plain
from hierspeech.benchmarking.systems.contract import Entry, Missing, Request, System, SystemCard

__all__ = ["GROUPS", "SYSTEMS", "Entry", "Missing", "Request", "System", "SystemCard"]

SYSTEMS: dict[str, Entry] = {
    entry.card.name: entry
    for entry in (*ours.ENTRIES, *by_transformers.ENTRIES, *packages.ENTRIES, *plain.ENTRIES)
}
GROUPS: dict[str, tuple[str, ...]] = {
    "spear": ("spear-ar", "spear-nar"),
    "ceilings": ("codec-compact", "codec-encodec", "recorded"),
    "all": tuple(SYSTEMS),
}
