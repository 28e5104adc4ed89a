"""Strict configuration: YAML -> nested dataclasses, with dotted `key=value` overrides.

Defaults live in the dataclasses and nowhere else; an unknown key, a missing key or a value of the wrong kind
is a `ValueError` of one sentence that names the place (`model.audio.n_mels`) and what was expected.
"""

import types
import typing
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")


def build(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """Build the dataclass `cls` from nested plain values.

    Args:
        cls: a dataclass; fields may be dataclasses, `X | None`, lists, tuples, dicts, `Literal`s and plain
            types.
        values: mapping of field name to value, as read from YAML or JSON (lists stand for tuples too).
        where: dotted path of `values` in the whole configuration, for error messages.
    Raises:
        ValueError: unknown or missing key, or a value of the wrong kind.
    """
    place = where or cls.__name__
    if not isinstance(values, dict):
        raise ValueError(f"{place}: expected a mapping of keys, got {values!r}")
    known = {field.name: field for field in fields(cls) if field.init}
    unknown = [key for key in values if key not in known]
    if unknown:
        raise ValueError(f"{place}: unknown keys {unknown}; known keys: {sorted(known)}")
    missing = [
        name
        for name, field in known.items()
        if name not in values and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise ValueError(f"{place}: missing keys {missing}")
    hints = typing.get_type_hints(cls)
    try:
        return cls(**{key: _convert(hints[key], value, _join(where, key)) for key, value in values.items()})
    except ValueError as error:
        # a __post_init__ check knows the value but not where in the file it stood
        if where and not str(error).startswith(where):
            raise ValueError(f"{where}: {error}") from error
        raise


def override(values: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Apply `a.b=1` assignments to nested `values` in place and return them.

    The right-hand side is read as YAML (`train.lr=1e-4`, `model.audio=null`, `data.languages=[en, de]`). Keys
    that the file leaves at their default may be set too; `build` refuses the ones that no dataclass knows.
    """
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        *parents, leaf = path.strip().split(".")
        if not separator or not leaf or not all(parents):
            raise ValueError(f"override {assignment!r}: expected key=value, for example train.batch_size=8")
        node = values
        for depth, parent in enumerate(parents):
            if node.get(parent) is None:
                node[parent] = {}
            node = node[parent]
            if not isinstance(node, dict):
                place = ".".join(parents[: depth + 1])
                raise ValueError(f"override {assignment!r}: {place} is {node!r}, which has no keys")
        node[leaf] = _parse_yaml(text, f"override {assignment!r}")
    return values


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the configuration {path}: {error}") from error
    values = _parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise ValueError(
            f"{path}: expected sections (recipe, model, data, losses, train), got {values!r:.80}"
        )
    return values


def _parse_yaml(text: str, where: str) -> Any:
    import yaml  # only training reads YAML; published models carry JSON

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where}: not valid YAML ({' '.join(str(error).split())})") from error


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against `hint` and convert it (lists to tuples, mappings to dataclasses)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where}: expected one of {list(arguments)}, got {value!r}")
        return value
    if origin in (list, tuple) or hint in (list, tuple):
        return _convert_sequence(origin or hint, arguments, value, where)
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected a mapping of keys, got {value!r}")
        kind = arguments[1] if arguments else Any
        return {key: _convert(kind, item, f"{where}.{key}") for key, item in value.items()}
    return _convert_plain(hint, value, where)


def _convert_union(kinds: tuple, value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = [kind for kind in kinds if kind is not type(None)]
    if len(kinds) == 1:  # keeps the inner error message, which knows the known keys
        return _convert(kinds[0], value, where)
    for kind in kinds:
        if isinstance(kind, type) and type(value) is kind:
            return value
    for kind in kinds:
        try:
            return _convert(kind, value, where)
        except ValueError:
            continue
    raise ValueError(f"{where}: expected one of {[str(kind) for kind in kinds]}, got {value!r}")


def _convert_sequence(kind: type, arguments: tuple, value: Any, where: str) -> list | tuple:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where}: expected a list, got {value!r}")
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(value) != len(arguments):
            raise ValueError(f"{where}: expected {len(arguments)} values, got {value!r}")
        kinds = arguments
    else:
        kinds = [arguments[0] if arguments else Any] * len(value)
    return kind(
        _convert(item, v, f"{where}[{i}]") for i, (item, v) in enumerate(zip(kinds, value, strict=True))
    )


def _convert_plain(hint: Any, value: Any, where: str) -> Any:
    if hint is float and not isinstance(value, bool):
        if isinstance(value, str):  # YAML 1.1 reads 1e-4 (no dot) as a string
            try:
                return float(value)
            except ValueError as error:
                raise ValueError(f"{where}: expected a number, got {value!r}") from error
        if isinstance(value, (int, float)):
            return float(value)
    elif hint is int and isinstance(value, bool):
        pass  # bool is an int in Python, never in a configuration
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise ValueError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")
