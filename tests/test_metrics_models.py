"""Metrics that stand on a hub model, each with a tiny random checkpoint of its class saved here: Whisper, CTC, x-vectors."""

import json

import numpy as np
import pytest
import torch
from tiny_voice import recording

from hierspeech.evaluation import METRICS, Item, evaluate
from speech.audio import save_audio

transformers = pytest.importorskip("transformers")
pytest.importorskip("jiwer")  # of the extra `evaluate`

TINY = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
CONVOLUTIONS = {
    "conv_dim": (8, 8),
    "conv_kernel": (10, 8),
    "conv_stride": (20, 16),
    "num_conv_pos_embeddings": 4,
}
CONVOLUTIONS |= {"num_conv_pos_embedding_groups": 2}
LANGUAGES = {"<|en|>": "en", "<|de|>": "de"}


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    """Two voices that say little, each with a reference."""
    folder = tmp_path_factory.mktemp("spoken")
    made = []
    for name, f0 in (("low", 100.0), ("high", 220.0)):
        for role, seconds in (("wav", 1.0), ("reference", 1.5)):
            save_audio(folder / f"{name}_{role}.wav", recording(seconds, f0), 16000)
        made.append(Item(name, folder / f"{name}_wav.wav", "Hello, you!", folder / f"{name}_reference.wav"))
    return made


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A multilingual Whisper of one layer with a byte vocabulary."""
    from tokenizers.pre_tokenizers import ByteLevel

    folder = tmp_path_factory.mktemp("whisper")
    special = ["<|endoftext|>", "<|startoftranscript|>", *LANGUAGES, "<|translate|>", "<|transcribe|>"]
    special += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    letters = sorted(ByteLevel.alphabet())
    vocabulary = {token: k for k, token in enumerate([*letters, *special])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "WhisperTokenizer", "additional_special_tokens": special})
    )
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    extractor = transformers.WhisperFeatureExtractor(feature_size=16)
    transformers.WhisperProcessor(extractor, tokenizer).save_pretrained(folder)
    end, start = vocabulary["<|endoftext|>"], vocabulary["<|startoftranscript|>"]
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=len(vocabulary),
            num_mel_bins=16,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_target_positions=32,
            decoder_start_token_id=start,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
        )
    )
    settings = model.generation_config
    settings._from_model_config = False  # or loading would drop what only Whisper has
    settings.is_multilingual, settings.max_length = True, 12
    settings.lang_to_id = {token: vocabulary[token] for token in LANGUAGES}
    settings.task_to_id = {
        "translate": vocabulary["<|translate|>"],
        "transcribe": vocabulary["<|transcribe|>"],
    }
    settings.no_timestamps_token_id = vocabulary["<|notimestamps|>"]
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def ctc(tmp_path_factory):
    """A wav2vec2 with letters on top."""
    folder = tmp_path_factory.mktemp("ctc")
    vocabulary = {
        token: k for k, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGHILNORSTU"])
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor()
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = TINY | CONVOLUTIONS | {"vocab_size": len(vocabulary)}
    transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**sizes, pad_token_id=0)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def xvector(tmp_path_factory):
    """A WavLM with an x-vector head."""
    folder = tmp_path_factory.mktemp("wavlm")
    torch.manual_seed(0)
    config = transformers.WavLMConfig(
        **TINY,
        **CONVOLUTIONS,
        tdnn_dim=(8, 8),
        tdnn_kernel=(3, 1),
        tdnn_dilation=(1, 1),
        xvector_output_dim=12,
    )
    transformers.WavLMForXVector(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return str(folder)


def test_whisper_transcribes_and_is_averaged_as_seed_tts_eval_does(items, whisper):
    found = evaluate(items, ["wer_whisper"], models={"wer_whisper": whisper})
    assert not found.missing
    rates = [row["values"]["wer_whisper"] for row in found.rows]
    assert found.summary["wer_whisper"].mean == pytest.approx(np.mean(rates))
    for row in found.rows:
        details = row["details"]["wer_whisper"]
        assert details["expected"] == "hello you"
        assert "<|" not in details["heard"]
        assert row["values"]["wer_whisper"] == pytest.approx(100 * details["errors"][0] / 2)
    assert found.header["models"] == {"wer_whisper": whisper}


def test_whisper_hears_what_is_longer_than_its_window(items, whisper):
    from hierspeech.evaluation.metrics.recognisers import Whisper

    judge = Whisper(whisper, "cpu")
    wav = recording(2.0)
    once = judge.transcribe(wav, "en-us")
    long = np.concatenate([wav, np.zeros(30 * 16000 - len(wav), np.float32), wav])
    assert judge.transcribe(long, "en-us") == f"{once} {once}"
    assert judge.model.generation_config.is_multilingual
    judge.transcribe(wav, "de")  # the language is handed on: it is one of the checkpoint's
    with pytest.raises(ValueError, match="language"):
        judge.transcribe(wav, "xx")


def test_the_seed_tts_figure_is_for_english_alone(items, whisper):
    german = [Item("a", items[0].wav, "Guten Tag", language="de")]
    found = evaluate(german, ["wer_whisper"], models={"wer_whisper": whisper})
    assert "wer_whisper" not in found.summary
    assert "'de'" in found.missing["wer_whisper"]


def test_ctc_writes_the_best_letters(items, ctc):
    found = evaluate(items, ["wer_wav2vec2"], models={"wer_wav2vec2": ctc})
    assert not found.missing
    assert {"wer_wav2vec2", "cer_wav2vec2"} <= set(found.summary)
    heard = found.rows[0]["details"]["wer_wav2vec2"]["heard"]
    assert heard == heard.lower()
    same = [Item("same", items[0].wav, heard)]
    again = evaluate(same, ["wer_wav2vec2"], models={"wer_wav2vec2": ctc})
    assert heard
    assert again.summary["wer_wav2vec2"].mean == 0


def test_xvectors_of_the_same_sound_are_the_same(items, xvector):
    twins = [Item(item.id, item.reference, reference=item.reference) for item in items]
    found = evaluate(twins, ["sim_wavlm"], models={"sim_wavlm": xvector})
    assert not found.missing
    assert found.summary["sim_wavlm"].mean == pytest.approx(1, abs=1e-5)
    assert found.summary["nearest_wavlm"].mean == 100
    assert found.summary["eer_wavlm"].mean == 0


def test_utmos_is_what_a_folder_for_torch_hub_makes_of_the_wav(items, tmp_path):
    (tmp_path / "hubconf.py").write_text(
        "import torch\n\n"
        "class Judge(torch.nn.Module):\n"
        "    def forward(self, wav, rate):\n"
        "        return 1 + 4 * wav.abs().amax(dim=1) * (rate == 16000)\n\n"
        "def utmos22_strong(**options):\n"
        "    return Judge()\n"
    )
    found = evaluate(items, ["utmos"], models={"utmos": str(tmp_path)})
    peaks = [np.abs(item.load()[0]).max() for item in items]
    assert [row["values"]["utmos"] for row in found.rows] == pytest.approx([1 + 4 * peak for peak in peaks])
    (tmp_path / "hubconf.py").write_text(
        "dependencies = ['package_that_is_not_there']\nutmos22_strong = print\n"
    )
    found = evaluate(items, ["utmos"], models={"utmos": str(tmp_path)})
    assert "package_that_is_not_there" in found.missing["utmos"]


@pytest.mark.parametrize("name", ["wer_whisper", "wer_wav2vec2", "sim_wavlm"])
def test_a_place_without_a_checkpoint_is_not_measured(items, tmp_path, name):
    found = evaluate(items, [name, "timing"], models={name: str(tmp_path)})
    assert name not in found.summary
    assert str(tmp_path) in found.missing[name]
    assert "seconds" in found.summary


def test_what_fetches_weights_is_not_measured_unless_asked_for():
    from hierspeech.evaluation.metrics import default_metrics

    assert not {"wer_whisper", "wer_wav2vec2", "sim_wavlm", "sim_ecapa", "utmos"} & set(default_metrics())
    assert all(METRICS[name].card.model is None or not METRICS[name].downloads for name in default_metrics())


@pytest.mark.parametrize("name", ["wer_whisper", "wer_wav2vec2", "sim_wavlm"])
def test_without_the_hub_the_answer_is_quick(items, monkeypatch, tmp_path, name):
    import time

    for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:9")  # nobody listens
    begin = time.monotonic()
    found = evaluate(items, [name], models={name: "nobody/has-this-model"})
    assert "localhost cannot be reached" in found.missing[name]
    assert "nobody/has-this-model" in found.missing[name]
    assert time.monotonic() - begin < 20  # the hub's own client tries for minutes
