"""Difficulty signals: one small file each, higher is easier, never a look at gold."""

from tierwise.difficulty._base import (
    SIGNALS,
    MeanScore,
    Signal,
    SignalFit,
    TrainingSamples,
    asking,
    difficulty_faults,
    fitted_kinds,
    parameter_settings,
    read_reply,
    register_signal,
    self_contained,
    signal,
    signal_of,
    turn_of,
)
from tierwise.difficulty.control_question import ControlQuestion
from tierwise.difficulty.length import Length
from tierwise.difficulty.none import NoSignal
from tierwise.difficulty.probe_agreement import ProbeAgreement
from tierwise.difficulty.probe_confidence import ProbeConfidence
from tierwise.difficulty.router import Router
from tierwise.difficulty.self_rating import SelfRating
from tierwise.difficulty.verifier_score import VerifierScore

__all__ = [
    "SIGNALS",
    "ControlQuestion",
    "Length",
    "MeanScore",
    "NoSignal",
    "ProbeAgreement",
    "ProbeConfidence",
    "Router",
    "SelfRating",
    "Signal",
    "SignalFit",
    "TrainingSamples",
    "VerifierScore",
    "asking",
    "difficulty_faults",
    "fitted_kinds",
    "parameter_settings",
    "read_reply",
    "register_signal",
    "self_contained",
    "signal",
    "signal_of",
    "turn_of",
]
