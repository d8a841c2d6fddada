"""Difficulty signals: one small file each, higher is easier, never a look at gold."""

from tierwise.difficulty._base import SIGNALS, Signal, register, signal
from tierwise.difficulty.length import Length
from tierwise.difficulty.none import NoSignal
from tierwise.difficulty.probe_agreement import ProbeAgreement
from tierwise.difficulty.probe_confidence import ProbeConfidence

__all__ = [
    "SIGNALS", "Length", "NoSignal", "ProbeAgreement", "ProbeConfidence", "Signal", "register",
    "signal",
]  # fmt: skip
