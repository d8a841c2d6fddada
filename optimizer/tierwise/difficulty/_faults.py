"""What only the signals know to be wrong in a policy file's way to tell easy from hard."""

from __future__ import annotations

from collections.abc import Iterator

from tierwise.difficulty._base import SIGNALS, signal_of, turn_of
from tierwise.errors import InputError
from tierwise.schema import ANSWER, Variant
from tierwise.schema.policy_file import PolicyFile
from tierwise.tasks.verifiers import LOGPROBS, RECORDED_SCORES

Loc = tuple[str | int, ...]


def difficulty_faults(file: PolicyFile) -> Iterator[tuple[Loc, InputError]]:
    """Each fault with its place in the file.

    An unknown signal or parameter, a probe that is missing or asks something else, and scores that
    nobody gives.
    """
    difficulty = file.policy.difficulty
    try:
        signal = signal_of(difficulty)
    except InputError as error:
        known = difficulty.signal in SIGNALS
        where = "weights" if difficulty.weights else "params"
        yield ("difficulty", where if known else "signal"), error
        return
    probe = difficulty.probe
    if signal.probes and probe is None:
        yield ("difficulty",), InputError(f"the signal {signal.kind} needs a probe")
    for variant in probe.variants if probe else ():
        yield from _of_turn(file, variant, turn_of(signal.kind), ("difficulty", "probe"))
    for b, bucket in enumerate(file.policy.buckets):
        for a, variant in enumerate(bucket.variants):
            yield from _of_turn(file, variant, ANSWER, ("buckets", b, "variants", a))
    for score in signal.scores:
        if score in RECORDED_SCORES and file.deployable:
            yield ("difficulty",), InputError(f"only recorded samples have a {score}")
        if score in LOGPROBS and probe is not None:
            for name in sorted(
                {t.name for t in map(file.tier_of, probe.variants) if not t.logprobs}
            ):
                yield (
                    ("difficulty", "signal"),
                    InputError(
                        f"{signal.kind} needs log-probabilities, which tier {name!r} does not offer"
                    ),
                )


def _of_turn(
    file: PolicyFile, variant: Variant, turn: str, loc: Loc
) -> Iterator[tuple[Loc, InputError]]:
    prompt = file.prompts[variant.prompt]
    if prompt.turn != turn:
        yield (
            loc,
            InputError(
                f"prompt {prompt.id!r} is of turn {prompt.turn!r}, and here {turn!r} is asked for"
            ),
        )
