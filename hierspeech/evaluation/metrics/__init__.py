"""The metrics by name; one file a family. A new one is a file here and its line in METRICS."""

from collections.abc import Mapping

from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured
from hierspeech.evaluation.metrics.naturalness import DNSMOS_METRIC, UTMOS_METRIC
from hierspeech.evaluation.metrics.pocketsphinx import WER_SPHINX
from hierspeech.evaluation.metrics.prosody import PITCH, TIMING
from hierspeech.evaluation.metrics.recognisers import WER_WAV2VEC2, WER_WHISPER
from hierspeech.evaluation.metrics.speakers import ECAPA_TDNN, RESEMBLYZER, WAVLM_SV
from hierspeech.evaluation.metrics.spectral import LSD, MCD
from hierspeech.evaluation.metrics.speed import RTF
from hierspeech.evaluation.metrics.waveform import PESQ_METRIC, STOI_METRIC

__all__ = ["METRICS", "Column", "Metric", "MetricCard", "NotMeasured", "default_metrics"]

METRICS: dict[str, Metric] = {
    metric.card.name: metric
    for metric in (
        WER_SPHINX,
        WER_WHISPER,
        WER_WAV2VEC2,
        RESEMBLYZER,
        WAVLM_SV,
        ECAPA_TDNN,
        DNSMOS_METRIC,
        UTMOS_METRIC,
        PITCH,
        TIMING,
        MCD,
        PESQ_METRIC,
        STOI_METRIC,
        LSD,
        RTF,
    )
}


def default_metrics(metrics: Mapping[str, Metric] = METRICS) -> list[str]:
    """Names of those that fetch nothing over the network."""
    return [name for name, metric in metrics.items() if not metric.downloads]
