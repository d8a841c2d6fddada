"""Inference strategies: one small file each, behind ``step(seen) -> Ask | Return``.

A new strategy is one file with a registered frozen dataclass, one import line here and one test
class; see docs/add_a_strategy.md.
"""

from tierwise.strategies._base import (
    PLAIN_PATHS,
    STRATEGIES,
    Ask,
    Registry,
    Return,
    Sample,
    Seen,
    Strategy,
    Vote,
    asks,
    asks_at_once,
    at_ends,
    build,
    counts_equal_answers,
    interleave,
    names_in_words,
    one_answer_ends,
    paths_in,
    paths_of,
    plurality,
    register_strategy,
    width_of,
)
from tierwise.strategies.adaptive_consistency import AdaptiveConsistency, leader_confidence
from tierwise.strategies.best_of_n import BestOfN
from tierwise.strategies.by_field import Elected, ballots, elect, next_move
from tierwise.strategies.cascade import Cascade, Stage
from tierwise.strategies.early_stopping import EarlyStopping
from tierwise.strategies.judged_best_of_n import JudgedBestOfN
from tierwise.strategies.retrieval import Retrieval
from tierwise.strategies.self_consistency import SelfConsistency
from tierwise.strategies.self_refine import SelfRefine
from tierwise.strategies.single import Single
from tierwise.strategies.universal_self_consistency import UniversalSelfConsistency
from tierwise.strategies.weighted_consistency import WeightedConsistency

__all__ = [
    "PLAIN_PATHS",
    "STRATEGIES",
    "AdaptiveConsistency",
    "Ask",
    "BestOfN",
    "Cascade",
    "EarlyStopping",
    "Elected",
    "JudgedBestOfN",
    "Registry",
    "Retrieval",
    "Return",
    "Sample",
    "Seen",
    "SelfConsistency",
    "SelfRefine",
    "Single",
    "Stage",
    "Strategy",
    "UniversalSelfConsistency",
    "Vote",
    "WeightedConsistency",
    "asks",
    "asks_at_once",
    "at_ends",
    "ballots",
    "build",
    "counts_equal_answers",
    "elect",
    "interleave",
    "leader_confidence",
    "names_in_words",
    "next_move",
    "one_answer_ends",
    "paths_in",
    "paths_of",
    "plurality",
    "register_strategy",
    "width_of",
]
