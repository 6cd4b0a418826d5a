"""Measuring how well a model predicts a text, of any length."""

from __future__ import annotations

from resnet_bk.evaluation.streaming_evaluator import Perplexity, StreamingEvaluator

__all__ = ["Perplexity", "StreamingEvaluator"]
