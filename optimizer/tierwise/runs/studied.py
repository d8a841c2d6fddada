"""What a run's folder knows of an earlier study, made before the task got other prompts.

An Optuna study refuses new choices, and a front is read from one table. So when a prompt was added
and the same command is run again, the tier is searched in new study rounds: they count on from the
earlier ones, judge its front again as their first trials, and buy only what is new. The folder
keeps what they began from, so that a resumed or replayed run begins from the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from tierwise.errors import InputError
from tierwise.schema import PromptTemplate
from tierwise.schema.result import Proposal, Studied, StudiedTier, StudyState
from tierwise.search.problem import EarlierStudy


def before(studied: Studied, tier: str, prompts: Mapping[str, PromptTemplate]) -> EarlierStudy:
    """What the search over ``prompts`` begins from; ``studied`` is what the folder holds.

    Raises:
        InputError: a prompt has another text than it had: an id stands for a text for ever.
    """
    now = {name: _mark(prompt) for name, prompt in sorted(prompts.items())}
    known = studied.tiers.get(tier)
    if known is None:
        return EarlierStudy(now)
    if known.prompts == now:
        return EarlierStudy(now, known.before.study_rounds, known.before.front)
    for name, mark in known.prompts.items():
        if now.get(name, mark) != mark:
            raise InputError(
                f"prompt {name!r} has another text than when this folder was tuned; a changed text "
                "is a new id (or begin anew with --fresh)"
            )
    return EarlierStudy(now, known.study_rounds, known.front)


def entry(began: EarlierStudy, study_rounds: int, front: Sequence[Proposal]) -> StudiedTier:
    """What the folder keeps of a tier that was searched: for a later run, and for this one again.

    Signals that ask the model or were fitted belong to their study, and are left out.
    """
    return StudiedTier(
        study_rounds=study_rounds,
        front=_written(front),
        prompts=began.prompts,
        before=StudyState(began.study_rounds, _written(began.proposals)),
    )


def _mark(prompt: PromptTemplate) -> str:
    text = json.dumps([list(message) for message in prompt.messages], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _written(front: Sequence[Proposal]) -> tuple[Proposal, ...]:
    return tuple(proposal for proposal in front if not proposal.difficulty.weights)
