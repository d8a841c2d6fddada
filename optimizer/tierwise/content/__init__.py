"""Finds, loads and checks what people write: tasks, prompts, search spaces and jobs."""

from tierwise.content.check import check
from tierwise.content.find import find_space, find_task, names_of, shipped
from tierwise.content.job import (
    CHOSEN_BY,
    LEVEL,
    OPERATING_POINTS,
    Budget,
    Job,
    default_job,
    override,
)
from tierwise.content.job_file import dump_job, load_job
from tierwise.content.job_space import space_of
from tierwise.content.notes import job_notes
from tierwise.content.proposal_spec import ProposalSpec
from tierwise.content.space_file import load_space
from tierwise.content.task_file import LoadedTask, load_task
from tierwise.content.tier_spec import TierSpec

__all__ = [
    "CHOSEN_BY",
    "LEVEL",
    "OPERATING_POINTS",
    "Budget",
    "Job",
    "LoadedTask",
    "ProposalSpec",
    "TierSpec",
    "check",
    "default_job",
    "dump_job",
    "find_space",
    "find_task",
    "job_notes",
    "load_job",
    "load_space",
    "load_task",
    "names_of",
    "override",
    "shipped",
    "space_of",
]
