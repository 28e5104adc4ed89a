"""The layer rule: a package imports packages of lower layers only, and siblings never import each other.

Also the house rules that a machine can check: no drawer files, no file above the size ceiling, a docstring in each.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODELS = {"ttv", "speechsr", "denoiser", "spear", "hierspeech.synthesizer"}
ALLOWED = {
    "speech": set(),
    **{model: {"speech"} for model in MODELS},
    "hierspeech.preparation": {"speech"},
    "hierspeech.evaluation": {"speech"},
    "hierspeech.pipelines": {"speech"} | MODELS,
    "hierspeech.official": {"speech", "hierspeech.pipelines"} | MODELS,  # it writes voice folders
    "hierspeech.export": {"speech", "hierspeech.pipelines"} | MODELS,
    "hierspeech.benchmarking": {"speech", "hierspeech.pipelines", "hierspeech.evaluation"} | MODELS,
    "hierspeech.web": {"speech", "hierspeech.pipelines"},
    "hierspeech": {"speech", "hierspeech.pipelines"},  # hierspeech/__init__.py: the public API
}
PACKAGES = ("speech", "ttv", "speechsr", "denoiser", "spear", "hierspeech")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
FORBIDDEN = {"utils.py", "common.py", "helpers.py", "misc.py", "base.py"}
MAX_LINES = 400


def package_of(module: str) -> str | None:
    """The longest known package that `module` lies in, or None for third-party modules."""
    parts = module.split(".")
    return next((p for n in range(len(parts), 0, -1) if (p := ".".join(parts[:n])) in ALLOWED), None)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of each absolute import, functions' own imports too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def violations(source: str, module: str) -> list[str]:
    """Imports in `source`, the text of `module`, that the table forbids."""
    own = package_of(module)
    found = [(line, package_of(name), name) for line, name in imported(ast.parse(source))]
    scripts = {path.stem for path in ROOT.glob("*.py")}
    return [
        f"line {line}: {own} may not import {name}"
        for line, other, name in found
        if (other and other != own and other not in ALLOWED[own]) or name.split(".")[0] in scripts
    ]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_keeps_the_rules(path):
    text = path.read_text(encoding="utf-8")
    assert violations(text, module_name(path)) == []
    assert path.name not in FORBIDDEN
    assert text.count("\n") <= MAX_LINES
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a file says what lives in it"


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("import ttv.model", "speech.audio"),
        ("from speechsr.model import SpeechSR", "ttv.model"),
        ("def f():\n    from hierspeech.synthesizer.model import HierSpeech", "ttv.recipe"),
        ("from hierspeech.pipelines.tts import TextToSpeech", "hierspeech.preparation.features"),
        ("import train", "speech.training"),
    ],
)
def test_the_rule_can_fail(source, module):
    assert violations(source, module)


def test_imports_on_the_way_to_speech_are_light():
    """What `infer.py` imports must not pull in training, evaluation or plotting packages."""
    code = "import sys, hierspeech, hierspeech.pipelines.tts; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    heavy = {
        "accelerate",
        "tensorboard",
        "transformers",
        "librosa",
        "numba",
        "scipy",
        "yaml",
        "ray",
        "matplotlib",
    }
    assert not heavy & set(run.stdout.split())
