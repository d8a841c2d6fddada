"""What a run says: tiers side by side, runs side by side. Reads run directories, nothing else."""

from tierwise.reporting._base import Row, Section
from tierwise.reporting.between import CHANGES
from tierwise.reporting.compare import SECTIONS, changed, compared, frames
from tierwise.reporting.reading import RunFiles, TierFiles, read

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
