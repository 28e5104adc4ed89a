"""The low-resource recipe of SPEAR-TTS: much speech, minutes of it with text.

    1. pretrain       tokens with 60 % deleted -> tokens             python train.py configs/spear/low_resource_pretrain.yaml data.pack=ALL
    2. backtranslate  tokens -> text, encoder frozen, real pairs     python train.py configs/spear/low_resource_backtranslate.yaml init=1 data.pack=REAL
    3. pseudo         text for all tokens, with scores               python prepare.py pseudo ALL --model 2 --out STORE
    4. finetune       text -> tokens on those, mostly frozen         python train.py configs/spear/low_resource_finetune.yaml init=1 data.pseudo.folder=STORE
    5. final          text -> tokens on the real pairs               python train.py configs/spear/low_resource_final.yaml init=4 data.pack=REAL

1, 2 and 4 stand for the runs' newest step folders; the fourth starts from the first, not from the second.
"""
