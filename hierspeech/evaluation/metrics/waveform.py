"""PESQ and STOI: how much of a recording's quality and intelligibility is left in a wave that runs alongside it."""

from __future__ import annotations

from typing import Any

from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured, Row, require
from hierspeech.evaluation.metrics.spectral import aligned_waves

SAMPLE_RATE = 16000
PESQ_INSTALL = "pip install pesq (has no wheels: a C compiler is needed)"
STOI_INSTALL = "pip install pystoi"


class PESQ:
    """ITU-T P.862.2, wide band."""

    def __init__(self):
        self.package: Any = require("pesq", PESQ_INSTALL)

    def measure(self, item: Item) -> Row:
        """`pesq`."""
        wav, target, rate = aligned_waves(item, SAMPLE_RATE)
        try:
            return {"pesq": float(self.package.pesq(rate, target, wav, "wb"))}
        except self.package.PesqError as error:
            raise NotMeasured(f"PESQ gives no mark ({type(error).__name__})") from error


class STOI:
    """Short-time objective intelligibility and its extended form."""

    def __init__(self):
        self.package: Any = require("pystoi", STOI_INSTALL)

    def measure(self, item: Item) -> Row:
        """`stoi` and `estoi` in percent."""
        import warnings

        wav, target, rate = aligned_waves(item, SAMPLE_RATE)
        with (
            warnings.catch_warnings()
        ):  # too little speech gives a warning and the figure 1e-5, which is none
            warnings.simplefilter("error", RuntimeWarning)
            try:
                plain, extended = (self.package.stoi(target, wav, rate, extended=e) for e in (False, True))
            except RuntimeWarning as warning:
                raise NotMeasured(
                    f"STOI gives no figure ({' '.join(str(warning).split())[:120]})"
                ) from warning
        return {"stoi": 100 * float(plain), "estoi": 100 * float(extended)}


PESQ_METRIC = Metric(
    MetricCard(
        name="pesq",
        meaning="Quality of a transmitted or cleaned wave against its original, which must run alongside; wide band, 16 kHz.",
        scale="1.04 bad to 4.64 the same. Made for telephones and codecs: says nothing of newly spoken sentences.",
        source="ITU-T P.862.2",
        model=None,
        licence="package MIT; the ITU's reference code in it is for evaluation, its use may need a licence",
        install=PESQ_INSTALL,
        columns=(Column("pesq", "PESQ (wb)", "MOS-LQO", "higher"),),
    ),
    needs=("target",),
    make=lambda model, device: PESQ(),
    packages=("pesq",),
)

STOI_METRIC = Metric(
    MetricCard(
        name="stoi",
        meaning="Share of intelligibility that is left against the original, which must run alongside; the extended form (ESTOI) also "
        "for noise that comes and goes.",
        scale="0 to 100, 100 is the same.",
        source="Taal et al. 2011; Jensen and Taal 2016",
        model=None,
        licence="MIT (pystoi)",
        install=STOI_INSTALL,
        columns=(Column("stoi", "STOI", "%", "higher", 1), Column("estoi", "ESTOI", "%", "higher", 1)),
    ),
    needs=("target",),
    make=lambda model, device: STOI(),
    packages=("pystoi",),
)
