"""The metrics by name; one file a family. A new one is a file here and its line in METRICS."""

from collections.abc import Mapping

from hierspeech.evaluation.metrics.card import Column, Metric, MetricCard, NotMeasured
from hierspeech.evaluation.metrics.speed import RTF

__all__ = ["METRICS", "Column", "Metric", "MetricCard", "NotMeasured", "default_metrics"]

METRICS: dict[str, Metric] = {metric.card.name: metric for metric in (RTF,)}


def default_metrics(metrics: Mapping[str, Metric] = METRICS) -> list[str]:
    """Names of those that fetch nothing over the network."""
    return [name for name, metric in metrics.items() if not metric.downloads]
