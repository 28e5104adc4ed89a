"""The report under docs/benchmark/: small, whole, and working in a browser; its README names what there is."""

from pathlib import Path

import pytest
from headless import Page, find_browser

from hierspeech.benchmarking.protocols import shipped_protocols
from hierspeech.benchmarking.systems import SYSTEMS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmark"
IDS = "[...document.querySelectorAll('#items tr.item')].map(row => row.dataset.id + row.dataset.system)"


def test_it_is_small_and_says_what_it_stands_on():
    assert sum(path.stat().st_size for path in DOCS.iterdir()) < 3_000_000
    table = (DOCS / "offline.md").read_text(encoding="utf-8")
    for part in ("seed 0", "favours the hierarchical system", "python benchmark.py compare", "torch"):
        assert part in table


def test_the_readme_names_every_protocol_and_system():
    text = (DOCS / "README.md").read_text(encoding="utf-8")
    for name in shipped_protocols():
        assert f"| `{name}` |" in text
    lacking = [name for name in SYSTEMS if f"`{name}" not in text and name != "speechsr-official"]
    assert lacking == []


@pytest.mark.skipif(find_browser() is None, reason="no Chromium here")
def test_the_report_in_a_browser():
    with Page(DOCS / "offline.html") as page:
        players = page.run("document.querySelectorAll('#items audio').length")
        rows = page.run(IDS)
        assert players == len(rows) >= 2 * 12
        play = "new Promise(r => { const a = document.querySelector('#items audio'); a.muted = true; a.ontimeupdate = () => r(a.duration > 1); a.play(); })"
        assert page.run(play) is True
        for name in ("sim_resemblyzer", "wer_sphinx"):
            values = []
            for _ in range(2):
                page.run(f"document.querySelector('#items th[data-column={name}] button').click()")
                values.append(page.run(IDS))
            assert values[0] != values[1] and sorted(values[0]) == sorted(values[1]) == sorted(rows)
        assert "parameters" in page.run("document.querySelector('#facts').textContent")
        assert page.problems == []
