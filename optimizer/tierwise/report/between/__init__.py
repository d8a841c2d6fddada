"""What changed between two runs: the jobs, what was tested, every prompt. A section is a file."""

from tierwise.report._base import Row, Section
from tierwise.report.between import jobs, policies, prompts
from tierwise.report.between._two import Two

CHANGES: dict[str, Section[Two]] = {
    "jobs": jobs.SECTION,
    "policies": policies.SECTION,
    "prompts": prompts.SECTION,
}

__all__ = ["CHANGES", "Row", "Two"]
