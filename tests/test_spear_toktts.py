"""toktts: clips and their texts, learning four clips by heart, beams and draws, noise before the codec, what is refused."""

import pytest
import torch
from make_pack import make_pack
from make_token_pack import make_token_pack

import train
from spear.codec.model import CompactCodec, CompactCodecConfig
from spear.sampling import Sampling
from spear.toktts import TokTTS, TokTTSConfig, samples
from spear.toktts.clips import cut_text, word_ends_of
from spear.toktts.model import encode_texts
from speech.modules.one_token import OneToken
from speech.packs import Pack
from speech.text.phones import PhoneTokenizer

CONFIG = "configs/tiny/spear_toktts.yaml"
GREEDY = Sampling(0.0)


def open_recipe(folder, *more):
    arguments = [f"data.pack={folder}", f"train.runs_folder={folder}/runs", *more]
    _, cls, sections, losses, config = train.read(CONFIG, arguments)
    torch.manual_seed(0)
    return cls(sections.model, sections.data, sections.recipe, losses, config)


def say_different_words(folder):
    """Utterances of the pack with texts of their own."""
    import json

    path = folder / "utterances.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["text"] = f"{'one two six ten red sky'.split()[number]} word"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def small_model(**changes):
    torch.manual_seed(0)
    sizes = {"encoder_width": 16, "encoder_heads": 2, "encoder_layers": 1, "width": 16, "heads": 2, "layers": 2, "max_frames": 12, "dropout": 0.0}  # fmt: skip
    model = TokTTS(TokTTSConfig(**sizes | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def test_four_clips_are_learnt_by_heart_and_said_again(tmp_path):
    """Invariant 20."""
    recipe = open_recipe(say_different_words(make_token_pack(tmp_path)))
    model = recipe.modules["toktts"]
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    batches = recipe.batches(0)
    for step in range(250):
        ((_, losses),) = recipe.turns(next(batches), step)
        optimizer.zero_grad()
        losses["codes"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if losses["codes"].item() < 0.02:
            break
    model.eval()
    assert len(recipe.clips.indices) == 4
    for index in recipe.clips.indices:
        text, codes = recipe.clips.example(index)
        for beams in (1, 2):
            said = model.generate([text], GREEDY, beams=beams)
            assert int(said.n_frames) == codes.shape[1], "it ends where the clip does"
            assert (said.frames[0].numpy() == codes).mean() > 0.9


def test_two_steps_through_train_py(tmp_path):
    make_token_pack(tmp_path)
    arguments = [f"data.pack={tmp_path}", f"train.runs_folder={tmp_path}/runs"]
    assert train.train(CONFIG, arguments) == 2
    model = TokTTS.from_pretrained(tmp_path / "runs" / "tiny_spear_toktts" / "step_00000002")
    assert model.generate(["hello"], max_frames=3, seed=0).frames.shape[1] == 2
    recipe = open_recipe(tmp_path)
    recipe.modules["toktts"].eval()
    with torch.no_grad():
        figures = recipe.validate()
    assert figures.keys() == {"loss", "accuracy"}, "the metric is attached"


@pytest.mark.parametrize("causal", [True, False])
def test_cached_steps_have_the_logits_of_one_uncached_pass(causal):
    model = small_model(causal_encoder=causal)
    text_ids, n_text = encode_texts(["hello there", "hi"], model.tokenizer, 100)
    mask = torch.arange(text_ids.shape[1]) < n_text[:, None]
    tokens = torch.randint(0, 256, (2, 10))
    with torch.no_grad():
        whole = model(text_ids, mask, tokens)
        context = model.encoder(model.text_embedding(text_ids), mask=mask)
        cache = model.decoder.make_cache(2, 10, context, mask)
        before = torch.cat([torch.full((2, 1), model.start), tokens], 1)
        decode = OneToken(model.decoder, cache, 0)
        steps = torch.stack([model.step(before[:, place], place, decode) for place in range(10)], 1)
    allowed = steps.isfinite()
    assert not allowed[..., model.start].any(), "the start is never drawn"
    assert allowed[:, ::2, model.end].all() and not allowed[:, 1::2, model.end].any(), (
        "ends come between frames"
    )
    assert torch.allclose(steps[allowed], whole[allowed], atol=1e-4)


def test_the_encoder_looks_both_ways_unless_it_is_causal():
    for causal in (False, True):
        model = small_model(causal_encoder=causal)
        ids = [encode_texts([text], model.tokenizer, 100)[0] for text in ("abcx", "abcy")]
        with torch.no_grad():
            a, b = (model.encoder(model.text_embedding(i))[:, :3] for i in ids)
        assert torch.allclose(a, b, atol=1e-5) == causal


@pytest.mark.parametrize(("beams", "temperature"), [(1, 0.0), (1, 1.0), (4, 0.0), (4, 1.0)])
def test_a_row_of_a_batch_is_what_it_is_alone(beams, temperature):
    model, sampling = small_model(), Sampling(temperature)
    texts = ["a longer sentence", "short"]
    both = model.generate(texts, sampling, beams=beams, seed=[3, 4])
    for row, text in enumerate(texts):
        alone = model.generate([text], sampling, beams=beams, seed=3 + row)
        n = int(alone.n_frames)
        assert int(both.n_frames[row]) == n and torch.equal(both.frames[row, :, :n], alone.frames[0, :, :n])


def _score(model, text, tokens):
    """Mean log-probability of flattened codes [L] under the rules of generation."""
    text_ids, n_text = encode_texts([text], model.tokenizer, 100)
    with torch.no_grad():
        logits = model(text_ids, torch.ones_like(text_ids, dtype=torch.bool), tokens[None])[0]
    logits[:, model.start] = -torch.inf
    logits[1::2, model.end] = -torch.inf
    return float(logits.log_softmax(-1).gather(1, tokens[:, None]).mean())


def test_beams_find_what_is_likelier_than_the_greedy_way():
    model = small_model(max_frames=5)
    gains = []
    for text in ("one", "two words", "three more words", "four"):
        found = []
        for beams in (1, 6):
            said = model.generate([text], GREEDY, beams=beams)
            tokens = said.flattened()[0][: int(said.n_frames) * 2 + (int(said.n_frames) < 5)]
            found.append(_score(model, text, tokens))
        gains.append(found[1] - found[0])
    assert min(gains) > -1e-4 and max(gains) > 1e-3, gains


def test_frames_reach_the_callback_and_clips_have_any_length():
    model, heard = small_model(), []
    said = model.generate(["hello"], Sampling(1.0), seed=1, callback=heard.append)
    assert [part.shape[-1] for part in heard] == list(range(1, len(heard) + 1)) and len(heard) >= int(
        said.n_frames
    )
    assert all(torch.equal(part, said.frames[..., : part.shape[-1]]) for part in heard[: int(said.n_frames)])
    for limit in (1, 7):
        assert model.generate(["hello"], Sampling(1.0), seed=1, max_frames=limit).frames.shape[-1] <= limit


def test_text_is_cut_at_borders_between_words_in_proportion_or_where_they_are_aligned():
    text = "the quick brown fox jumps over it"
    assert cut_text(text, 5.0, 4.0) == (text, 4.0)
    assert cut_text(text, 2.0, 4.0) == ("the quick brown", 2.0), "half of the letters, to the nearest border"
    ends = [0.2, 0.6, 1.9, 2.1, 2.6, 3.0, 3.4]
    assert cut_text(text, 2.0, 4.0, ends) == ("the quick brown", pytest.approx(1.95)), (
        "the clip ends with its last word"
    )
    assert cut_text(text, 0.1, 4.0, ends) == ("", 0.0) and cut_text("", 1.0, 2.0)[0] == ""
    assert cut_text(text, 2.0, 4.0, ends[:3]) == ("the quick brown", 2.0), (
        "an alignment of other words is not used"
    )
    for seconds in (0.3, 1.0, 1.7, 3.3):
        for word_ends in (None, ends):
            kept, lasts = cut_text(text, seconds, 4.0, word_ends)
            assert (
                text.startswith(kept)
                and (kept == text or text[len(kept)] == " " or not kept)
                and lasts <= seconds
            )


def test_word_ends_come_from_the_forced_alignment(tmp_path):
    make_pack(tmp_path)  # "hello world", tokens aligned evenly over 1.6 s
    pack, tokenizer = Pack(tmp_path), PhoneTokenizer()
    ids = pack.read("token_ids", 0).tolist()
    border = [tokenizer.symbols[i][0] for i in ids].index(" ")
    ends = word_ends_of(pack, 0, tokenizer)
    assert len(ends) == 2
    assert ends[0] == pytest.approx(pack.read("token_ends", 0)[border - 1] / 100)
    assert ends[1] <= 1.6 and ends[1] > ends[0]


def test_clips_hold_the_words_that_sound_in_them(tmp_path):
    recipe = open_recipe(make_token_pack(tmp_path))  # 0.8 of 1.6 s
    text, codes = recipe.clips.example(0)
    ends = word_ends_of(recipe.clips.pack, 0, recipe.clips.phones)
    assert text == "hello" and codes.shape == (2, int((ends[0] + 0.05) * 50))
    whole = open_recipe(tmp_path, "data.clip_seconds=2.0").clips.example(0)
    assert whole[0] == "hello world" and whole[1].shape == (2, 80)


def small_codec(folder):
    torch.manual_seed(0)
    sizes = {"encoder_width": 16, "encoder_layers": 3, "latent": 16, "n_codebooks": 4, "codebook_size": 16, "codebook_dim": 4, "width": 16, "layers": 1}  # fmt: skip
    CompactCodec(CompactCodecConfig(**sizes)).save_pretrained(folder)
    return folder


def test_copies_with_noise_are_made_before_the_codec(tmp_path):
    make_pack(tmp_path)
    small_codec(tmp_path / "codec")
    more = [f"data.codec={tmp_path / 'codec'}", "data.augmentation_factor=3", "data.augmentation_noise=0.05"]
    clips = open_recipe(tmp_path, *more).clips
    plain, first, second = (clips.codes(0, copy) for copy in range(3))
    assert plain.shape == first.shape and not (plain == first).all() and not (first == second).all()
    again = open_recipe(tmp_path, *more).clips
    assert (again.codes(0, 1) == first).all(), "noise is a function of seed, utterance and copy"
    seen = {int(tokens.sum()) for step in range(3) for tokens in next(clips.batches(step)).tokens}
    assert len(seen) > 4, "copies take their turns"
    wav = torch.from_numpy(
        clips.pack.read("wav", 0, 0, int(clips.clip(0)[1] * 16000)).astype("float32") / 32768
    )
    assert (clips.codec.encode(wav[None, None], 2)[0].numpy() == plain).all(), (
        "the first copy is the recording"
    )


def test_samples_of_train_dev_and_custom_texts_are_written(tmp_path, capsys):
    make_pack(tmp_path)
    small_codec(tmp_path / "codec")
    model = small_model(codec=CompactCodec.from_pretrained(tmp_path / "codec").spec, max_frames=100)
    model.save_pretrained(tmp_path / "model")
    arguments = [str(tmp_path / "model"), "--codec", str(tmp_path / "codec"), "--out", str(tmp_path / "out")]
    more = ["--pack", str(tmp_path), "--text", "good day", "--number", "1", "--clip-seconds", "0.8"]
    assert samples.main([*arguments, *more]) == 0
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")}
    assert written == {
        "custom/000.txt", "custom/000.wav", "train/u0.txt", "train/u0.wav", "train/u0_ref.wav", "dev/u4.txt", "dev/u4.wav",
        "dev/u4_ref.wav",
    }  # fmt: skip
    assert samples.main(arguments) == 2 and "expected --text or --pack" in capsys.readouterr().err


def test_bad_input_is_refused_by_name(tmp_path):
    model = small_model(max_text=20)
    with pytest.raises(ValueError, match="a text of 30 tokens .*this model reads 19 at once"):
        model.generate(["x" * 30])
    with pytest.raises(ValueError, match="expected something to say"):
        model.generate(["  "])
    with pytest.raises(ValueError, match="max_frames: expected 1 to 12, got 13"):
        model.generate(["x"], max_frames=13)
    with pytest.raises(ValueError, match="beams: expected 1 or more, got 0"):
        model.generate(["x"], beams=0)
    make_token_pack(tmp_path)
    small_codec(tmp_path / "codec")
    refused = {
        "holds acoustic tokens of": ["model.codec.rate_hz=75"],
        "3 copies want data.codec": ["data.augmentation_factor=3"],
        "data.clip_seconds: 3, model.max_frames holds 2 s": ["data.clip_seconds=3.0"],
        "codebook_size 16, expected 32": [f"data.codec={tmp_path / 'codec'}", "model.codec.codebook_size=32"],
        "n_codebooks: expected 1 to 4, got 5": ["model.n_codebooks=5"],
    }
    for sentence, more in refused.items():
        with pytest.raises(ValueError, match=sentence):
            open_recipe(tmp_path, *more)
