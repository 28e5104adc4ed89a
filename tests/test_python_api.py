"""The examples of docs/python_api.md and the cells of docs/quickstart.ipynb run, with the shipped voice."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_voice import recording

pytestmark = pytest.mark.filterwarnings("ignore:the voice was trained on")

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs/python_api.md").read_text(encoding="utf-8")
NOTEBOOK = json.loads((ROOT / "docs/quickstart.ipynb").read_text(encoding="utf-8"))


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("someone.wav", recording(2.0, 120.0), 16000)
    soundfile.write("another.wav", recording(2.0, 210.0), 16000)
    return tmp_path


def test_the_examples_of_the_page_run(workplace, capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, "docs/python_api.md", "exec"), names)
    assert len(blocks) >= 10
    said = capsys.readouterr().out
    assert "pitch shift 40: expected a number from -12 to 12." in said and "Dr (character 14)" in said
    for name in ("good_morning.wav", "good_morning.srt", "chapter.wav", "chapter.srt", "wide.wav"):
        assert (workplace / name).stat().st_size > 30
    assert soundfile.info("wide.wav").samplerate == 48000
    assert np.isfinite(names["speech"].audio).all() and names["speech"].sample_rate == 24000


def test_the_table_of_marks_is_whole():
    from speech.text.marks import LIMITS, read_marks

    rows = {
        tag.split("=")[0].strip("<"): (tag, row)
        for tag, row in re.findall(r"^\| `(<\w+=[^`]*)` \| (.*)$", PAGE, re.M)
    }
    assert rows.keys() == LIMITS.keys()
    for name, (tag, row) in rows.items():
        assert read_marks(tag).marks[0].name == name
        lowest, highest = LIMITS[name]
        assert f"{lowest:g} to {highest:g}" in row


def test_the_notebook_runs_and_is_stripped(workplace):
    names: dict = {}
    cells = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert NOTEBOOK["nbformat"] == 4 and len(cells) >= 4
    for cell in cells:
        assert cell["outputs"] == [] and cell["execution_count"] is None
        source = "".join(cell["source"])
        exec(compile(source, "docs/quickstart.ipynb", "exec"), names)
    assert "<audio" in names["speech"]._repr_html_()
