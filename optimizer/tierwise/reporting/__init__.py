"""What a finished run says: tiers side by side. Reads the run directory and nothing else."""

from tierwise.reporting.compare import SECTIONS, compare
from tierwise.reporting.run import FinishedRun, load_run

__all__ = ["SECTIONS", "FinishedRun", "compare", "load_run"]
