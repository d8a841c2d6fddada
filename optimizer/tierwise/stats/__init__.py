"""Statistics: intervals, tests, estimators, fronts. numpy and the standard library."""

from tierwise.stats.comparisons import (
    Holm,
    PairedBootstrap,
    holm,
    paired_difference,
    paired_differences,
    unpaired_difference,
)
from tierwise.stats.estimators import best_of_n_score, pick_weights
from tierwise.stats.intervals import (
    Interval,
    bootstrap_mean,
    bootstrap_means,
    bootstrap_ratio,
    student_cdf,
    student_quantile,
    wilson,
)
from tierwise.stats.pareto import MinkowskiFront, minkowski_front, pareto_front
from tierwise.stats.rank import auroc, pool_adjacent_violators, rankdata, spearman
from tierwise.stats.sequential import ConfidenceSequence, confidence_sequence
