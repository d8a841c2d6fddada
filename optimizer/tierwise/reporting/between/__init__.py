"""What changed between two runs: the jobs, what was tested, every prompt. A section is a file."""

from tierwise.reporting._base import Row, Section
from tierwise.reporting.between import jobs, policies, prompts
from tierwise.reporting.between._two import Two

CHANGES: dict[str, Section[Two]] = {
    "jobs": jobs.SECTION,
    "policies": policies.SECTION,
    "prompts": prompts.SECTION,
}

__all__ = ["CHANGES", "Row", "Two"]
