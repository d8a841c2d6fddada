"""What a run says: tiers side by side, runs side by side. Reads run directories, nothing else."""

from tierwise.report._base import Row, Section
from tierwise.report.between import CHANGES
from tierwise.report.compare import SECTIONS, changed, compared, frames
from tierwise.report.reading import RunFiles, TierFiles, read

__all__ = [
    "CHANGES",
    "SECTIONS",
    "Row",
    "RunFiles",
    "Section",
    "TierFiles",
    "changed",
    "compared",
    "frames",
    "read",
]
