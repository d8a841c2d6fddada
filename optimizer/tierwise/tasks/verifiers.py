"""Verifiers: they score an answer from the question alone, and never see the gold answer.

A verifier gets a request's inputs, the completion's text and its canonical answer (None for an
abstention), and depends on nothing else: so a score that was computed from stored samples is the
score that serving computes. Higher is better; NaN is no score. A task names the verifiers that fit
it (``verifiers: [game24]``), a strategy the one that it ranks by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tierwise.tasks.game24 import game24

Verifier = Callable[[Mapping[str, str], str, str | None], float]
"""(inputs, text, canonical answer or None) -> score, higher is better."""

VERIFIERS: dict[str, Verifier] = {"game24": game24}

LOGPROBS = ("mean_logprob", "min_logprob")
"""Scores that come with a sample, where the tier gives log-probabilities."""

RECORDED_SCORES = ("verifier_score", "confidence")
"""Scores that only a recording may carry."""

SCORES = (*LOGPROBS, *RECORDED_SCORES, *VERIFIERS)
"""Every score that a strategy may rank by."""


def verified(
    names: Iterable[str], inputs: Mapping[str, str], text: str, answer: str | None
) -> dict[str, float]:
    """The scores of one answer by those of ``names`` that are verifiers."""
    return {name: VERIFIERS[name](inputs, text, answer) for name in names if name in VERIFIERS}
