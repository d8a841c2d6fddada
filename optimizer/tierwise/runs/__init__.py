"""What joins jobs, tasks, samples, search and files."""

from tierwise.runs.check import check, job_notes
from tierwise.runs.inputs import load_space, load_task, space_of
