"""What a run says: tiers side by side, runs side by side. Reads run directories, nothing else."""

from tierwise.reporting._base import Row, Section
from tierwise.reporting.compare import SECTIONS, compared, frames
from tierwise.reporting.reading import RunFiles, TierFiles, read

__all__ = ["SECTIONS", "Row", "RunFiles", "Section", "TierFiles", "compared", "frames", "read"]
