"""A tiny random model of the class of MMS-300M."""

import torch


def make_mms(dim: int, layers: int = 9):
    """transformers' Wav2Vec2ForPreTraining with `layers` pre-norm layers of `dim` channels, quantiser and heads; seeded."""
    import transformers

    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=dim,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16,) * 7,
        num_feat_extract_layers=7,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        conv_bias=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        codevector_dim=8,
        proj_codevector_dim=8,
        num_codevectors_per_group=4,
    )
    return transformers.Wav2Vec2ForPreTraining(config).eval()
