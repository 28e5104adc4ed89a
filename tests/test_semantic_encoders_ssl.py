"""HuBERT and w2v-BERT 2.0 as semantic encoders, on tiny random checkpoints in transformers' own file format; no network."""

import json

import pytest
import torch

from speech.semantic.encoder import ENCODERS, SemanticSpec, load_encoder

transformers = pytest.importorskip("transformers")
DIM = 24
HUBERT = SemanticSpec("hubert-base", 3, DIM, 50)
W2V_BERT = SemanticSpec("w2v-bert-2.0", 3, DIM, 50)


def wave(samples: int, batch: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, samples, generator=torch.Generator().manual_seed(seed)) * 0.6 - 0.3


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    """A base model as it is published: five post-norm layers behind a group norm, no heads."""
    torch.manual_seed(0)
    config = transformers.HubertConfig(
        hidden_size=DIM, num_hidden_layers=5, num_attention_heads=2, intermediate_size=32, conv_dim=(16,) * 7,
        num_feat_extract_layers=7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = transformers.HubertModel(config).eval()
    for layer in model.encoder.layers:  # not the identity, so that a LayerNorm too many or too few shows
        torch.nn.init.uniform_(layer.final_layer_norm.weight, 0.5, 2)
    torch.nn.init.uniform_(model.encoder.layer_norm.weight, 0.5, 2)
    folder = tmp_path_factory.mktemp("hubert")
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def w2v_bert(tmp_path_factory):
    torch.manual_seed(0)
    config = transformers.Wav2Vec2BertConfig(
        hidden_size=DIM, num_hidden_layers=5, num_attention_heads=2, intermediate_size=32, output_hidden_size=DIM,
        feature_projection_input_dim=32, conv_depthwise_kernel_size=5,
    )  # fmt: skip
    model = transformers.Wav2Vec2BertModel(config).eval()
    folder = tmp_path_factory.mktemp("w2v_bert")
    model.save_pretrained(folder)
    transformers.SeamlessM4TFeatureExtractor(feature_size=16, num_mel_bins=16).save_pretrained(folder)
    return model, folder


SPECS = {"hubert": HUBERT, "w2v_bert": W2V_BERT}


@pytest.fixture(params=SPECS)
def either(request):
    """(transformers' model, our encoder of its third layer, folder)."""
    model, folder = request.getfixturevalue(request.param)
    return model, load_encoder(SPECS[request.param], folder), folder


@torch.no_grad()
def test_hubert_is_the_third_layers_output(hubert):
    model, folder = hubert
    encoder, wav = load_encoder(HUBERT, folder), wave(1280 * 3, batch=2)
    semantic = encoder(wav)
    assert semantic.shape == (2, DIM, 12)
    padded = torch.nn.functional.pad(wav, (40, 40), mode="reflect")
    x = model.feature_projection(model.feature_extractor(padded).transpose(1, 2))
    x = model.encoder.layer_norm(x + model.encoder.pos_conv_embed(x))
    for layer in model.encoder.layers[:3]:
        x = layer(x)
        x = x[0] if isinstance(x, tuple) else x
    torch.testing.assert_close(semantic, x.transpose(1, 2), rtol=1e-5, atol=1e-5)
    second = model(padded, output_hidden_states=True).hidden_states[2].transpose(1, 2)
    assert (semantic - second).abs().max() > 1e-2  # the comparison can fail


@torch.no_grad()
def test_hubert_hears_the_same_at_another_loudness(hubert):
    """Why no normalisation of the wave is needed: the first convolution has no bias and a group norm follows."""
    encoder, wav = load_encoder(HUBERT, hubert[1]), wave(6400)
    torch.testing.assert_close(encoder(wav), encoder(wav * 0.3), rtol=1e-2, atol=1e-2)
    assert (encoder(wav) - encoder(wave(6400, seed=1))).abs().max() > 0.1


@torch.no_grad()
def test_w2v_bert_is_the_third_layers_output(w2v_bert):
    model, folder = w2v_bert
    encoder, wav = load_encoder(W2V_BERT, folder), wave(1280 * 3)
    extractor = transformers.SeamlessM4TFeatureExtractor.from_pretrained(folder)
    padded = torch.nn.functional.pad(wav, (120, 120), mode="reflect")[0].numpy()
    banks = extractor(padded, sampling_rate=16000, return_tensors="pt").input_features
    assert banks.shape == (1, 12, 32)
    hidden = model(banks, output_hidden_states=True).hidden_states
    torch.testing.assert_close(encoder(wav), hidden[3].transpose(1, 2), rtol=1e-5, atol=1e-5)
    assert (encoder(wav) - hidden[4].transpose(1, 2)).abs().max() > 1e-2


@torch.no_grad()
def test_w2v_bert_frames_lie_where_their_samples_do(w2v_bert):
    """A click in the middle of frame 7's 320 samples is loudest in its filter banks, not in a neighbour's."""
    encoder = load_encoder(W2V_BERT, w2v_bert[1])
    wav = torch.zeros(1, 320 * 15)
    wav[0, 320 * 7 + 160] = 0.5
    banks = encoder.extractor(
        [encoder._padded(wav[0], 15)],
        sampling_rate=16000,
        return_tensors="pt",
        do_normalize_per_mel_bins=False,
    ).input_features[0]
    assert len(banks) == 15 and int(banks.sum(1).argmax()) == 7
    quiet = banks.sum(1).min()
    assert banks[6].sum() - quiet == pytest.approx(float(banks[8].sum() - quiet), abs=200)


@torch.no_grad()
@pytest.mark.parametrize("samples", [319, 320, 321, 1279, 16000, 12345])
def test_frame_count(either, samples):
    assert either[1](wave(samples)).shape == (1, DIM, samples // 320)


@torch.no_grad()
def test_padding_changes_nothing(either):
    encoder, wav = either[1], wave(6400, batch=5)
    lengths = torch.tensor([6400, 3300, 320, 6361, 100])
    semantic = encoder(wav, lengths)
    for row, length in enumerate(lengths.tolist()):
        frames = length // 320
        alone = encoder(wav[row : row + 1, :length])[0]
        torch.testing.assert_close(semantic[row, :, :frames], alone, rtol=1e-4, atol=1e-5)
        assert not semantic[row, :, frames:].any()


def test_loads_the_layers_in_use_frozen(either):
    encoder = either[1].train()
    assert len(encoder.model.encoder.layers) == 3
    assert not encoder.training and not encoder.model.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_refuses_what_does_not_fit(either, tmp_path):
    _, encoder, folder = either
    spec = encoder.spec
    with pytest.raises(ValueError, match="5 layers, expected at least layer 9"):
        load_encoder(SemanticSpec(spec.name, 9, DIM), folder)
    with pytest.raises(ValueError, match=f"{DIM} numbers a frame, expected 768"):
        load_encoder(SemanticSpec(spec.name, 3, 768), folder)
    with pytest.raises(ValueError, match="no folder"):
        load_encoder(spec, tmp_path / "absent")
    other = {"hubert-base": "w2v-bert-2.0", "w2v-bert-2.0": "hubert-base"}[spec.name]
    with pytest.raises(ValueError, match="holds a"):
        load_encoder(SemanticSpec(other, 3, DIM), folder)


def test_w2v_bert_refuses_other_filter_banks(w2v_bert, tmp_path):
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((w2v_bert[1] / name).read_bytes())
    values = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values | {"num_mel_bins": 20}))
    with pytest.raises(ValueError, match="20 mel bins and a stride of 2, expected 16 and 2"):
        load_encoder(W2V_BERT, tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="preprocessor_config.json"):
        load_encoder(W2V_BERT, tmp_path)


@torch.no_grad()
def test_checkpoints_of_other_tasks_are_read(hubert, w2v_bert, tmp_path):
    """With a recogniser's head around the encoder, names have a prefix and the head is left over."""
    for model, folder, spec, kind in (
        (*hubert, HUBERT, transformers.HubertForCTC),
        (*w2v_bert, W2V_BERT, transformers.Wav2Vec2BertForCTC),
    ):
        model.config.vocab_size = 9
        around = kind(model.config).eval()
        getattr(around, around.base_model_prefix).load_state_dict(model.state_dict())
        place = tmp_path / spec.name
        around.save_pretrained(place)
        if (folder / "preprocessor_config.json").is_file():
            name = "preprocessor_config.json"
            (place / name).write_bytes((folder / name).read_bytes())
        wav = wave(3200)
        torch.testing.assert_close(load_encoder(spec, place)(wav), load_encoder(spec, folder)(wav))


def test_both_can_be_fitted_with_tokens(either):
    """k-means over their features, as over any other's: SPEAR-TTS's w2v-BERT tokens and AudioLM's HuBERT ones."""
    from speech.semantic.quantizer import SemanticQuantizer, SemanticQuantizerConfig

    encoder = either[1]
    quantizer = SemanticQuantizer(SemanticQuantizerConfig(encoder.spec, 8, 1, 25)).eval()
    with torch.no_grad():
        semantic = encoder(wave(16000))
    quantizer.fit(lambda: iter([semantic[0]]), 2, seed=0)
    tokens = quantizer.tokens(semantic)
    assert tokens.shape == (1, 25) and tokens.unique().numel() > 1


def test_they_are_in_the_table():
    assert {"hubert-base", "w2v-bert-2.0"} <= ENCODERS.keys()
