"""Baselines by transformers, on tiny random checkpoints of the published classes and layouts: the calls fit, sound comes out."""

import json

import numpy as np
import pytest
import torch

from hierspeech.benchmarking.systems import SYSTEMS
from hierspeech.benchmarking.systems.contract import Request
from speech.audio import save_audio

transformers = pytest.importorskip("transformers")


def check(name: str, folder, rate: int, **request) -> np.ndarray:
    system = SYSTEMS[name].make(str(folder))
    system.load("cpu")
    torch.manual_seed(0)
    wav, got = system.synthesize(Request("speak", "hello there", **request))
    assert got == rate and wav.ndim == 1 and len(wav) > 100 and np.isfinite(wav).all()
    assert 100 < system.parameters() < 10**7
    return wav


def test_mms_tts(tmp_path):
    letters = {letter: k for k, letter in enumerate(" abcdefghijklmnopqrstuvwxyz'-_")}
    (tmp_path / "vocab.json").write_text(json.dumps(letters | {"<unk>": len(letters)}))
    tokenizer = transformers.VitsTokenizer(tmp_path / "vocab.json", is_uroman=False, phonemize=False)
    tokenizer.save_pretrained(tmp_path)
    config = transformers.VitsConfig(
        vocab_size=len(letters) + 1,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=9,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        duration_predictor_num_flows=1,
        depth_separable_num_layers=1,
        upsample_initial_channel=16,
        upsample_rates=[8, 4],
        upsample_kernel_sizes=[16, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
    )
    transformers.VitsModel(config).save_pretrained(tmp_path)
    check("mms-tts", tmp_path, 16000)


def tiny_encodec() -> "transformers.EncodecConfig":
    return transformers.EncodecConfig(
        num_filters=4, hidden_size=16, codebook_size=1024, codebook_dim=16, num_lstm_layers=1
    )


def test_bark(tmp_path):
    from transformers.models.bark.generation_configuration_bark import BarkGenerationConfig

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "there"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    size = {"hidden_size": 8, "num_layers": 1, "num_heads": 2}
    config = transformers.BarkConfig(
        semantic_config=size | {"input_vocab_size": 129600, "output_vocab_size": 10048, "block_size": 1024},
        coarse_acoustics_config=size
        | {"input_vocab_size": 12096, "output_vocab_size": 12096, "block_size": 1024},
        fine_acoustics_config=size
        | {"input_vocab_size": 1056, "output_vocab_size": 1056, "block_size": 1024},
        codec_config=tiny_encodec().to_dict(),
    )
    torch.manual_seed(0)
    model = transformers.BarkModel(config)
    model.save_pretrained(tmp_path)
    # offsets and sizes of the vocabularies are its defaults, those of the published checkpoints
    drawing = BarkGenerationConfig(semantic_config={"max_new_tokens": 20}).to_dict()
    (tmp_path / "generation_config.json").write_text(json.dumps(drawing))
    check("bark", tmp_path, 24000, speaker="anna")


def test_dia_goes_on_from_the_reference(tmp_path):
    from transformers.models.dia.configuration_dia import DiaDecoderConfig, DiaEncoderConfig

    transformers.DiaTokenizer().save_pretrained(tmp_path / "tokenizer")
    dac = transformers.DacModel(
        transformers.DacConfig(
            encoder_hidden_size=4,
            downsampling_ratios=[2, 4, 8, 8],
            decoder_hidden_size=32,
            upsampling_ratios=[8, 8, 4, 2],
            n_codebooks=9,
            sampling_rate=44100,
        )
    )
    dac.save_pretrained(tmp_path / "dac")
    processor = transformers.DiaProcessor(
        transformers.DiaFeatureExtractor(sampling_rate=44100),
        transformers.DiaTokenizer(),
        transformers.DacModel.from_pretrained(tmp_path / "dac"),
    )
    encoder = DiaEncoderConfig(
        num_hidden_layers=1, hidden_size=16, num_attention_heads=2, num_key_value_heads=2, head_dim=8, intermediate_size=16
    )  # fmt: skip
    decoder = DiaDecoderConfig(
        num_hidden_layers=1, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        cross_num_attention_heads=2, cross_head_dim=8, cross_num_key_value_heads=2, cross_hidden_size=16,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.DiaForConditionalGeneration(
        transformers.DiaConfig(encoder_config=encoder.to_dict(), decoder_config=decoder.to_dict())
    )
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    save_audio(tmp_path / "ref.wav", np.zeros(16000, np.float32), 16000)
    from hierspeech.benchmarking.systems.by_transformers import Dia

    system = Dia(str(tmp_path))
    system.drawing = Dia.drawing | {"max_new_tokens": 40}
    system.load("cpu")
    request = Request("speak", "Hello.", reference=str(tmp_path / "ref.wav"), reference_text="Nothing.")
    wav, rate = system.synthesize(request)
    assert rate == 44100 and 0 < len(wav) < 60 * 512  # what was drawn, without the reference's second
