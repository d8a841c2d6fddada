"""The search space of a job that names none."""

from __future__ import annotations

from tierwise.content.job import Job
from tierwise.content.task_file import LoadedTask, retriever_of


def space_of(job: Job, task: LoadedTask | None = None) -> str:
    """The job's space; where it names none: ``search`` for a task with a corpus, else ``default``.

    ``task`` is the job's where it lives in Python and has no file.

    Raises:
        InputError: the task's file cannot be read.
    """
    if job.space:
        return job.space
    found = retriever_of(job.task) if task is None else task.retriever
    return "default" if found is None else "search"
