"""The front door: short, its two commands real, its links alive, and CI running what it says."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def command(name: str) -> str:
    """The only line of the fenced block after `<!-- command: name -->`."""
    blocks = re.findall(rf"<!-- command: {name} -->\n```bash\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 1, f"README.md needs one block after <!-- command: {name} -->"
    assert blocks[0].count("\n") == 1, "one command is one line"
    return blocks[0].strip()


def shell_commands(text: str) -> list[list[str]]:
    """The words of each `.venv/bin/python script.py ...` in the fenced blocks of a document."""
    lines = [
        line
        for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)
        for line in block.splitlines()
    ]
    parts = [shlex.split(part, comments=True) for line in lines for part in line.split("&&")]
    return [
        part
        for part in parts
        if part and part[0].endswith("python") and part[1:2] and part[1].endswith(".py")
    ]


def test_the_readme_is_short():
    assert len(README.splitlines()) < 200


def test_both_commands_install_as_pip_does_with_the_constraint():
    for name, target in (("speak", "."), ("test", ".[test]")):
        parts = [shlex.split(part) for part in command(name).split("&&")]
        assert parts[0] == ["python3.11", "-m", "venv", ".venv"]
        assert parts[1][0] == ".venv/bin/pip" and {"-c", "constraints.txt", target} <= set(parts[1])
    assert re.search(r"^torch==2\.13\.0$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)


def test_the_test_command_runs_pytest():
    assert shlex.split(command("test").split("&&")[-1])[:3] == [".venv/bin/python", "-m", "pytest"]


def test_the_speak_command_names_a_voice_that_is_there():
    words = shlex.split(command("speak").split("&&")[-1])
    assert words[:2] == [".venv/bin/python", "infer.py"]
    reference = words[words.index("--ref") + 1]
    prompts = {path.stem for path in (ROOT / "hierspeech/voices").glob("*/prompts/*.safetensors")}
    assert (ROOT / reference).is_file() or reference in prompts


@pytest.mark.parametrize("words", shell_commands(README), ids=" ".join)
def test_scripts_and_options_in_the_readme_exist(words):
    script = ROOT / words[1]
    assert script.is_file()
    shared = [
        ROOT / "hierspeech/pipelines" / name
        for name in ("command_line.py", "stream_files.py", "spear_command.py")
    ]
    sources = "".join(path.read_text() for path in (script, *shared))
    for word in words:
        if word.startswith("--"):
            assert f'"{word}"' in sources, f"{words[1]} has no option {word}"
        if word.startswith("configs/"):
            assert (ROOT / word).is_file()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            assert (document.parent / target.split("#")[0]).exists(), f"{document.name}: {target}"


def test_ci_runs_the_test_command_word_for_word():
    script = ROOT / ".ci/run"
    extraction = re.search(r"^command=\"\$\((.*)\)\"$", script.read_text(), flags=re.MULTILINE)
    assert extraction and 'bash -euo pipefail -c "$command"' in script.read_text()
    extracted = subprocess.run(
        ["bash", "-c", extraction[1]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert extracted.stdout.strip() == command("test")
