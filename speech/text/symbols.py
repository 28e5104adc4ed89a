"""The symbol table of the published HierSpeech++ models: 178 entries, index = token id (hand-over section 2.5).

Append only: the order is part of every checkpoint trained with it.
"""

PAD = "_"
"""Id 0: padding, the blank between symbols, and the CTC blank."""

_PUNCTUATION = ';:,.!?¡¿—…"«»“” '
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_IPA = (
    "ɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃˈˌːˑʼʴʰʱʲʷˠˤ˞↓↑→↗↘"
    "'\u0329'ᵻ"  # the apostrophe stands in the published table twice, around U+0329
)

SYMBOLS: tuple[str, ...] = (PAD, *_PUNCTUATION, *_LETTERS, *_IPA)

SYMBOL_TO_ID: dict[str, int] = {symbol: index for index, symbol in enumerate(SYMBOLS)}
"""Of a symbol that occurs twice the later id counts, as in the published front end: the apostrophe is 176, never 174."""
