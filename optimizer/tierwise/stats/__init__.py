"""Statistics: estimators, intervals, paired comparisons, fronts. numpy and the standard library."""

from tierwise.stats.correlation import auroc, ranks, spearman
from tierwise.stats.early_stopping import expected_samples_esc
from tierwise.stats.estimators import best_of_n_score, pass_at_k, pick_weights
from tierwise.stats.intervals import Interval, bootstrap_mean, bootstrap_ratio, wilson
from tierwise.stats.isotonic import pool_adjacent_violators
from tierwise.stats.majority import majority_at_n, multinomial_majority
from tierwise.stats.many import bootstrap_means, paired_differences
from tierwise.stats.multiple import Holm, holm
from tierwise.stats.paired import PairedBootstrap, mcnemar_exact, paired_difference, ratio_of_means
from tierwise.stats.pareto import MinkowskiFront, front, hypervolume_2d, minkowski_front
from tierwise.stats.sequential import ConfidenceSequence, confidence_sequence
from tierwise.stats.student import student_cdf, student_quantile
from tierwise.stats.unpaired import unpaired_difference

__all__ = [
    "ConfidenceSequence",
    "Holm",
    "Interval",
    "MinkowskiFront",
    "PairedBootstrap",
    "auroc",
    "best_of_n_score",
    "bootstrap_mean",
    "bootstrap_means",
    "bootstrap_ratio",
    "confidence_sequence",
    "expected_samples_esc",
    "front",
    "holm",
    "hypervolume_2d",
    "majority_at_n",
    "mcnemar_exact",
    "minkowski_front",
    "multinomial_majority",
    "paired_difference",
    "paired_differences",
    "pass_at_k",
    "pick_weights",
    "pool_adjacent_violators",
    "ranks",
    "ratio_of_means",
    "spearman",
    "student_cdf",
    "student_quantile",
    "unpaired_difference",
    "wilson",
]
