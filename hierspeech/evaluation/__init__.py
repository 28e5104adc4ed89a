"""Judging speech: items, metrics with a card each, estimates with their uncertainty, and a report to read and listen to."""

from hierspeech.evaluation.differences import Difference, differences
from hierspeech.evaluation.estimates import Estimate
from hierspeech.evaluation.items import Item
from hierspeech.evaluation.metrics import METRICS
from hierspeech.evaluation.run import Evaluation, evaluate

__all__ = ["METRICS", "Difference", "Estimate", "Evaluation", "Item", "differences", "evaluate"]
