"""Corpora are fetched, resumed and unpacked from a server on loopback; what is no such archive is refused."""

import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import prepare
from hierspeech.preparation.download import download


def archive(folder: str, outside: str = "") -> bytes:
    """A .tar.bz2 of one small file, a link, and enough noise that it has some length; and of a file called `outside`."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:bz2") as tar:
        for name, content in (
            ("metadata.csv", b"LJ001-0001|One.|One.\n"),
            ("wavs/noise", bytes(range(256)) * 40),
        ):
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo(f"{folder}/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        if outside:
            tar.addfile(tarfile.TarInfo(outside), io.BytesIO())
    return file.getvalue()


@pytest.fixture(scope="module")
def site():
    """(address, ranges that were asked for)."""
    whole = archive("LJSpeech-1.1")
    contents = {"/whole": whole, "/other": archive("Other"), "/noise": b"no archive at all", "/short": whole}
    contents |= {
        "/above": archive("LJSpeech-1.1", "../evil"),
        "/root": archive("LJSpeech-1.1", "/tmp/evil-of-an-archive"),
        "/slashes": archive("LJSpeech-1.1", "//tmp/evil-of-an-archive"),
    }
    ranges = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content, start = contents.get(self.path), 0
            asked = self.headers.get("Range")
            ranges.append(asked)
            if content is not None and asked:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 404 if content is None else 416 if start >= len(content) else 206 if asked else 200
            self.send_response(status)
            rest = (content or b"")[start:] if status < 400 else b""
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[:100] if self.path == "/short" and not asked else rest)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", ranges
    server.shutdown()


def test_a_corpus_is_fetched_once(site, tmp_path, capsys):
    address, ranges = site
    assert prepare.main(["download", "ljspeech", str(tmp_path), "--url", f"{address}/whole"]) == 0
    assert (tmp_path / "LJSpeech-1.1" / "metadata.csv").read_text().startswith("LJ001-0001")
    assert sorted(path.name for path in (tmp_path / "LJSpeech-1.1").iterdir()) == ["metadata.csv", "wavs"], (
        "no link"
    )
    assert "--layout ljspeech" in capsys.readouterr().out
    before = len(ranges)
    assert prepare.main(["download", "ljspeech", str(tmp_path), "--url", f"{address}/whole"]) == 0
    assert len(ranges) == before, "it is there"
    assert [path.name for path in tmp_path.iterdir()] == ["LJSpeech-1.1"], "nothing else is left"


def test_a_broken_download_goes_on(site, tmp_path):
    address, ranges = site
    with pytest.raises(ValueError, match="broke off|cannot be fetched"):
        download("ljspeech", tmp_path, f"{address}/short")
    assert not (tmp_path / "LJSpeech-1.1").exists()
    assert (download("ljspeech", tmp_path, f"{address}/short") / "metadata.csv").is_file()
    assert ranges[-1] == "bytes=100-"


def test_nothing_is_written_outside_of_the_folder(site, tmp_path):
    address, _ = site
    for path in ("above", "root", "slashes"):
        with pytest.raises(ValueError, match="damaged .*evil.* lies outside of the archive"):
            download("ljspeech", tmp_path / "corpora", f"{address}/{path}")
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/tmp/evil-of-an-archive").exists()


def test_what_is_no_such_corpus_is_refused(site, tmp_path, capsys):
    address, _ = site
    for path, why in (("nobody", "status 404"), ("noise", "is damaged"), ("other", "no folder LJSpeech-1.1")):
        assert prepare.main(["download", "ljspeech", str(tmp_path / path), "--url", f"{address}/{path}"]) == 2
        assert why in capsys.readouterr().err
        assert not (tmp_path / path / "LJSpeech-1.1").exists()
    assert prepare.main(["download", "ljspeech", str(tmp_path), "--url", "http://127.0.0.1:1/x"]) == 2
    with pytest.raises(ValueError, match="expected one of ljspeech"):
        download("everything", tmp_path)
