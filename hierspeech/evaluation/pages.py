"""One self-contained HTML file of a page's template, style, script and data."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def fill_page(folder: Path, title: str, data: Mapping[str, Any]) -> str:
    """The text of `folder`/page.html with page.css, page.js, a title and data (JSON) in their places."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    page = (folder / "page.html").read_text(encoding="utf-8")
    parts = {
        "{{title}}": html.escape(title),
        "{{style}}": (folder / "page.css").read_text(encoding="utf-8"),
        "{{script}}": (folder / "page.js").read_text(encoding="utf-8"),
        "{{data}}": text.replace("<", "\\u003c"),  # no text of an item can end the script
    }
    for mark, part in parts.items():
        before, _, after = page.partition(mark)
        page = before + part + after
    return page
