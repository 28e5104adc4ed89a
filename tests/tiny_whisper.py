"""A tiny random Whisper in transformers' file format: 2 s windows, 16 mel bins, a tokenizer of single bytes in three languages."""

import json

import torch

WINDOW_SECONDS = 2
SPECIAL = ("<|startoftranscript|>", "<|en|>", "<|de|>", "<|pl|>", "<|transcribe|>", "<|notimestamps|>")


def byte_symbols():
    """GPT-2's printable stand-ins for the 256 bytes, in its order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def make_whisper(folder, width=16, multilingual=True, seed=0):
    """Write one; returns the folder."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {symbol: place for place, symbol in enumerate(byte_symbols())}
    vocabulary["<|endoftext|>"] = 256
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.WhisperTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(SPECIAL if multilingual else (SPECIAL[0], SPECIAL[-1])), special_tokens=True)
    tokenizer.save_pretrained(folder)
    extractor = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=WINDOW_SECONDS)
    extractor.save_pretrained(folder)
    torch.manual_seed(seed)
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        num_mel_bins=16,
        d_model=width,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50 * WINDOW_SECONDS,
        max_target_positions=40,
        pad_token_id=256,
        bos_token_id=256,
        eos_token_id=256,
        decoder_start_token_id=257,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        init_std=0.3,
    )
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder
