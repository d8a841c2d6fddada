"""Agreement of a few cheap samples: where they differ, the prompt is hard for this model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tierwise.difficulty._base import register_signal
from tierwise.strategies import Sample, Seen, ballots


@register_signal
class ProbeAgreement:
    """Share of the probe's samples with the plurality answer; abstentions agree with nobody.

    Of objects that are voted on field by field, the mean over the fields.
    """

    kind: ClassVar[str] = "probe_agreement"
    counts_equal_answers: ClassVar[bool] = True
    probes: ClassVar[bool] = True
    scores: ClassVar[tuple[str, ...]] = ()

    def value(self, inputs: Mapping[str, str], probe: Sequence[Sample]) -> float:
        """In [0, 1]."""
        if not probe:
            return 0.0
        leads = [_lead(ballot.samples) for ballot in ballots(Seen(tuple(probe)))]
        return sum(leads) / (len(probe) * len(leads))


def _lead(samples: Sequence[Sample]) -> int:
    counts = Counter(sample.answer for sample in samples if sample.answer is not None)
    return max(counts.values(), default=0)
