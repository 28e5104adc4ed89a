"""What makes the published HierSpeech++ checkpoints ours; docs/official.md is for its users.

`python -m hierspeech.official import` turns a download folder into a voice, `encoder` adds MMS-300M to it, `convert` turns
one checkpoint into a folder that the class of that component loads with `from_pretrained`, `start` turns training files into
a run folder, `extend` lets a text-to-vec learn more languages. In Python: `import_download`, `install_encoder`, `convert`,
`start`, `extend`, and `load_official(component, path_or_state_dict)`.

Contract of a component module (`synthesizer.py`, `ttv.py`, `speechsr.py`, ...), listed in `components.py`:

    MODEL = TTV                              the class to build: takes its config as the only argument
    def config() -> TTVConfig: ...           the published configuration
    def rename(key: str) -> str: ...         official key -> our key, after weight norm was folded

`rename` gets keys without `weight_g`/`weight_v` (each pair has become one `weight`) and without the constant buffers
(`*.filter`, `*.window`), which are verified and dropped before. A key that it does not know it returns unchanged; the
importer then names it as left over. `rename.py` has `renamer(rules)`, which makes such a function from a table of
(regular expression, replacement) pairs, applied in order, and the tables of parts that several models share:
STYLE_ENCODER, FLOW, TRANSFORMER, RESIDUAL_BLOCKS, AMP_BLOCKS. The values are copied as they are, with one exception that
the importer knows: `emb_rel_k` and `emb_rel_v` lose their leading axis of size 1.

`keys.json.gz` lists the keys and shapes of every published component; a file is compared with it before anything else,
so that every complaint names tensors as they are called in that file.
"""

from hierspeech.official.convert import convert, load_official
from hierspeech.official.extend import extend
from hierspeech.official.fine_tuning import start
from hierspeech.official.semantic import install_encoder
from hierspeech.official.voice_folder import import_download

__all__ = ["convert", "extend", "import_download", "install_encoder", "load_official", "start"]
