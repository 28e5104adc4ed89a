"""Strict configuration: what is accepted, and the sentence for what is not."""

from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from speech.config import build, load_yaml, override


@dataclass
class Inner:
    rate: int = 16000
    kind: Literal["a", "b"] = "a"


@dataclass
class Outer:
    size: int
    inner: Inner = field(default_factory=Inner)
    part: Inner | None = None
    scales: tuple[int, ...] = (1, 2)
    pair: tuple[float, float] = (0.8, 0.99)
    names: list[str] = field(default_factory=list)
    parts: list[Inner] = field(default_factory=list)
    losses: dict[str, dict[str, float]] = field(default_factory=dict)
    free: dict[str, Any] = field(default_factory=dict)
    limit: float | None = None
    text: str | int = "x"

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"size must be positive, got {self.size}")


@dataclass
class Top:
    outer: Outer


def test_nested_values_are_built_and_converted():
    values = {
        "size": 3,
        "inner": {"rate": 8000},
        "part": {"kind": "b"},
        "scales": [3, 4, 5],
        "pair": [1, "1e-4"],
        "parts": [{"rate": 1}],
        "losses": {"generator": {"mel": 45}},
        "limit": 2,
        "text": 7,
    }
    config = build(Outer, values)
    assert config.inner == Inner(8000) and config.part == Inner(kind="b") and config.parts == [Inner(1)]
    assert config.scales == (3, 4, 5) and config.pair == (1.0, 1e-4)
    assert config.losses == {"generator": {"mel": 45.0}} and type(config.losses["generator"]["mel"]) is float
    assert config.limit == 2.0 and config.text == 7 and build(Outer, {"size": 1, "part": None}).part is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 1, "sise": 2}, r"Outer: unknown keys \['sise'\].*size"),
        ({"size": 1, "inner": {"rat": 2}}, r"inner: unknown keys \['rat'\].*rate"),
        ({"size": 1, "part": {"rat": 2}}, r"part: unknown keys \['rat'\]"),
        ({}, r"missing keys \['size'\]"),
        ({"size": "3"}, "size: expected int, got '3'"),
        ({"size": True}, "size: expected int, got True"),
        ({"size": 1.5}, "size: expected int, got 1.5"),
        ({"size": 0}, "size must be positive, got 0"),
        ({"size": 1, "inner": None}, "inner: expected a mapping"),
        ({"size": 1, "inner": {"kind": "c"}}, r"inner.kind: expected one of \['a', 'b'\], got 'c'"),
        ({"size": 1, "pair": [1]}, "pair: expected 2 values"),
        ({"size": 1, "names": "abc"}, "names: expected a list"),
        ({"size": 1, "limit": "much"}, "limit: expected a number, got 'much'"),
        ({"size": 1, "losses": {"g": {"mel": "x"}}}, "losses.g.mel: expected a number"),
        ([1], "Outer: expected a mapping"),
    ],
)
def test_wrong_values_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        build(Outer, values)


def test_a_check_of_the_dataclass_names_its_place():
    with pytest.raises(ValueError, match="^outer: size must be positive, got 0$"):
        build(Top, {"outer": {"size": 0}})


def test_overrides():
    values = override({"a": {"b": 1}, "c": None}, ["a.b=2", "a.new=[1, 2]", "c.d=null", "e=text=more"])
    assert values == {"a": {"b": 2, "new": [1, 2]}, "c": {"d": None}, "e": "text=more"}
    for bad in ("a", "=3", "a..b=1", "a.b.c=1", "a.b=[1"):
        with pytest.raises(ValueError, match="override"):
            override({"a": {"b": 1}}, [bad])


def test_unreadable_files_are_refused(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "broken.yaml").write_text("a: [1\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("list.yaml", "broken.yaml", "binary.yaml", "missing.yaml"):
        with pytest.raises(ValueError, match=name):
            load_yaml(tmp_path / name)
