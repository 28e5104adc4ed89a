"""Statistics of semantic tokens: figures whose values are known beforehand, and the page that shows them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from make_pack import make_pack

import prepare
from spear.token_report import LONGEST_RUN, statistics, write_report
from speech.packs import Pack
from speech.semantic.encoder import SemanticSpec
from speech.semantic.quantizer import TokenSpec

SPEC = TokenSpec(SemanticSpec("phonetic", 1, 8, 50), 8, 25)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return Pack(make_pack(tmp_path_factory.mktemp("report") / "pack", n_utterances=6, seconds=0.9))


def test_figures_of_a_known_stream(pack):
    figures = statistics(pack, SPEC, [0], lambda index: np.array([0, 0, 1, 2, 2, 2, 3, 3]))
    assert figures["counts"] == [2, 1, 3, 2, 0, 0, 0, 0] and figures["used"] == 4
    assert figures["runs"] == [1, 2, 1] + [0] * (LONGEST_RUN - 3)
    assert figures["mean_run"][:4] == [2.0, 1.0, 3.0, 2.0]
    assert figures["without_repeats_a_second"] == pytest.approx(4 * 25 / 8)
    shares = np.array([2, 1, 3, 2]) / 8
    assert figures["entropy_bits"] == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-3)


def test_the_next_token_of_a_cycle_is_known_and_of_chance_is_not(pack):
    cycle = statistics(pack, SPEC, [0], lambda index: np.arange(8000) % 8)
    chance = statistics(pack, SPEC, [0], lambda index: np.random.default_rng(0).integers(0, 8, 8000))
    assert cycle["entropy_bits"] == chance["entropy_bits"] == pytest.approx(3.0, abs=0.01)
    assert cycle["entropy_of_next_bits"] < 0.01 and chance["entropy_of_next_bits"] > 2.9


def test_tokens_that_tell_who_speaks_are_found_out(pack):
    """Two utterances of each of three speakers: tokens of their own match, tokens of chance need not."""
    rng = np.random.default_rng(0)

    def own(index):
        place = int(pack.utterances[index]["speaker"][1:])
        return rng.choice(8, 400, p=np.roll([0.65] + [0.05] * 7, 2 * place))

    figures = statistics(pack, SPEC, range(6), own)
    assert figures["speakers"] == {"matched": 3, "of": 3}
    alike = [
        statistics(pack, SPEC, range(6), lambda i: rng.integers(0, 8, 400))["speakers"]["matched"]
        for _ in range(20)
    ]
    assert 0.4 < np.mean(alike) < 1.8  # chance is one of three
    assert statistics(pack, SPEC, [0, 1], own)["speakers"] == {"matched": None, "of": 1}


def test_phones_are_those_of_the_alignment(pack):
    names = [f"p{i}" for i in range(40)]
    ids, ends = pack.read("phone_ids", 0), pack.read("phone_ends", 0)
    times = np.arange(pack.length("semantic", 0) // 2) * 4 + 1
    tokens = ids[np.searchsorted(ends, times, "right").clip(max=len(ids) - 1)] % 8
    figures = statistics(pack, SPEC, [0], lambda index: tokens, names)["phones"]
    assert figures["mutual_bits"] == pytest.approx(
        _entropy(tokens), abs=2e-3
    )  # a token is a function of the phone
    assert all(name == "" or int(name[1:]) % 8 == token for token, name in enumerate(figures["of_token"]))
    assert "phones" not in statistics(pack, SPEC, [0], lambda index: tokens)


def _entropy(values):
    share = np.bincount(values) / len(values)
    return -(share[share > 0] * np.log2(share[share > 0])).sum()


def test_the_page_holds_the_figures_and_asks_for_nothing(pack, tmp_path):
    figures = statistics(
        pack, SPEC, range(6), lambda index: np.arange(300) % 8, [f"<p{i}>" for i in range(40)]
    )
    write_report(tmp_path / "a.html", figures, ["distortion: 0.3 & more"])
    write_report(tmp_path / "a.json", figures)
    page = (tmp_path / "a.html").read_text()
    inside = page.split('id="figures">')[1].split("</script>")[0]
    assert json.loads(inside) == json.loads((tmp_path / "a.json").read_text())
    assert "distortion: 0.3 &amp; more" in page and "<p1>" not in page.split("<script")[0]
    assert "http" not in page.replace("http-equiv", "") and page.count("<rect") == 8 + LONGEST_RUN
    with pytest.raises(ValueError, match="ends with .json or .html"):
        write_report(tmp_path / "a.txt", figures)
    with pytest.raises(ValueError, match="no semantic token"):
        statistics(pack, SPEC, range(6), lambda index: np.zeros(0, np.int64))


def test_the_command_writes_the_report(pack, tmp_path, capsys):
    arguments = ["tokens", str(pack.folder), "--tokenizer", str(tmp_path / "t"), "--fit", "16", "--check"]
    assert prepare.main([*arguments, "--report", str(tmp_path / "report.json")]) == 0
    figures = json.loads((tmp_path / "report.json").read_text())
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("entropy"))
    assert line == (
        f"entropy: {figures['entropy_bits']:.2f} of {math.log2(16):.2f} bits ({figures['entropy_share']:.1%})"
    )
    assert not Path(pack.folder / "semantic_tokens.bin").exists()
    assert prepare.main([*arguments, "--report", str(tmp_path / "report.txt")]) == 2
    assert prepare.main([*arguments[:-1], "--report", str(tmp_path / "report.json")]) == 2
    assert "expected --check too" in capsys.readouterr().err
