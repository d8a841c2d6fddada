"""What is missing of a purchase, the calls that buy it, and what they cost.

What is computed together can matter (the float noise of a batched matrix product can change a
token), so chunks are cells of a grid over all needs, not over the missing samples: a cell is stored
as a whole or not at all, and a fill that starts again sends the cells that the uninterrupted one
would have sent. What was there before the fill is there in both, so no sample of a half-filled cell
is bought twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tierwise.errors import InputError
from tierwise.llm import Call, Completion, Request, base_seed
from tierwise.pool.reading import PoolReader
from tierwise.pool.store import Answered
from tierwise.schema import Tier, Usage, price
from tierwise.schema.tier import CAP_NAMES, snake_case

TOKENS_PER_MESSAGE = 8
"""Room for what a chat template adds to a message (role, separators)."""

_CHOICES = (
    *("n", "best_of", "num_return_sequences"),
    *("candidate_count", "num_generations", "use_beam_search"),
)
"""Names under which servers take a number of completions."""


class Need(NamedTuple):
    """Samples ``first … first + samples - 1`` of a request must be there."""

    request: Request
    samples: int
    first: int = 0


class _SampleCall(NamedTuple):
    """Sample ``at`` of a request."""

    request: Request
    at: int


def missing_calls(
    pool: PoolReader, needs: Sequence[Need], takes_n: bool = True, *, seed: int = 0
) -> list[Call]:
    """The calls that buy what is missing, each of them one call on the bill.

    Missing samples of a request that follow one another share a call where the tier takes ``n``.
    """
    have = pool.present(need.request.key for need in needs)
    total = sum(need.samples for need in needs)
    return [c for cell in cells(needs, have, max(total, 1)) for c in calls_of(cell, takes_n, seed)]


def there_or_failed(
    pool: PoolReader, needs: Sequence[Need], run: str, *, replay: bool, retry_before: int = 0
) -> dict[str, set[int]]:
    """Samples that this run need not buy: they are there, or failed in it, by request key."""
    keys = [need.request.key for need in needs]
    there = pool.present(keys)
    if run or replay:
        for key, samples in pool.failed(keys, None if replay else run, retry_before).items():
            there.setdefault(key, set()).update(samples)
    return there


def cells(
    needs: Sequence[Need], have: Mapping[str, set[int]], chunk: int
) -> Iterator[list[_SampleCall]]:
    """What is missing in each cell of the grid over all needs, empty cells too.

    A cell has at most ``chunk`` samples; a request is cut only where it alone has more, so that its
    prompt is billed once.
    """
    seen: dict[str, set[int]] = {}
    cell: list[_SampleCall] = []
    room = chunk
    for request, samples, first in needs:
        there = seen.setdefault(request.key, set(have.get(request.key, ())))
        if room < min(samples, chunk):
            yield cell
            cell, room = [], chunk
        for index in range(first, first + samples):
            if room == 0:
                yield cell
                cell, room = [], chunk
            room -= 1
            if index not in there:
                there.add(index)
                cell.append(_SampleCall(request, index))
    yield cell


def calls_of(samples: Sequence[_SampleCall], takes_n: bool, seed: int) -> list[Call]:
    """Calls for samples that are in order of request and index."""
    found: list[Call] = []
    for request, index in samples:
        last = found[-1] if found else None
        if (
            last is not None
            and takes_n
            and last.request is request
            and last.first_sample + last.n == index
        ):
            found[-1] = last._replace(n=last.n + 1)
        else:
            found.append(Call(request, index, 1, base_seed(seed, request) + index))
    return found


def worst_case(calls: Sequence[Call], tier: Tier, *, bounded: bool = True) -> Usage:
    """The most that ``calls`` can cost.

    A prompt has no more tokens than bytes in UTF-8, plus the template's; each sample has at most
    ``max_tokens``. With ``bounded=False`` a request without ``max_tokens`` counts its prompt only.
    Not counted: retries inside the model that a provider bills.

    Raises:
        InputError: ``bounded``, and a request sends no ``max_tokens``, or asks for more completions
            than it is counted for.
    """
    usd, samples, prompts, completions = 0.0, 0, 0, 0
    for call in calls:
        request = call.request
        prompt = request.prompt_bytes + TOKENS_PER_MESSAGE * len(request.messages)
        completion = most_tokens(call.request.params, tier.name, bounded=bounded) * call.n
        rates = tier.price.at_most(prompt)
        usd += rates.prompt_usd(prompt) + rates.completion_usd(completion, prompt_tokens=prompt)
        samples += call.n
        prompts += prompt
        completions += completion
    return Usage(len(calls), samples, prompts, completions, usd=usd)


def bill(answered: Sequence[Answered], tier: Tier) -> Usage:
    """What answered calls cost, by the function that search and serving share.

    Samples that failed carry no usage and are not among the bills; their calls are counted.
    """
    done = [[r for r in results if isinstance(r, Completion)] for _, results in answered]
    first = [own[0] for own in done if own]
    every = [r for own in done for r in own]
    bills = [r.bill(i, tier.price) for i, own in enumerate(done) for r in own]
    return Usage(
        calls=len(answered),
        samples=len(every),
        prompt_tokens=sum(r.prompt_tokens for r in first),
        completion_tokens=sum(r.completion_tokens for r in every),
        reasoning_tokens=sum(r.reasoning_tokens for r in every),
        cached_tokens=sum(r.cached_tokens for r in first),
        estimated_tokens=sum(r.completion_tokens for r in every if r.estimated)
        + sum(r.prompt_tokens for r in first if r.estimated),
        usd=price([bills]),
        seconds=sum(max((r.latency_s for r in results), default=0.0) for _, results in answered),
    )


def most_tokens(params: Mapping[str, object], tier: str, *, bounded: bool = True) -> int:
    """The most tokens that one completion can have: the largest cap, wherever the request has it.

    A server may read a cap in ``extra_body`` in place of the one beside it.

    Raises:
        InputError: ``bounded``, and there is no cap, or ``extra_body`` asks for completions that
            nobody counts.
    """
    caps, choices = _bounds(params)
    if bounded and choices:
        name, value = choices[0]
        raise InputError(
            f"a mode of tier {tier!r} sends {name}: {value!r}, which buys completions that are not "
            "stored and that no budget counts; take it out of the mode"
        )
    if not caps and bounded:
        raise InputError(
            f"a mode of tier {tier!r} sends no max_tokens, so nobody can say what a call "
            "costs at worst; give the mode max_tokens, or leave out the budget in usd and tokens"
        )
    return max(caps, default=0)


def _bounds(params: Mapping[str, object]) -> tuple[list[int], list[tuple[str, object]]]:
    """(caps on tokens, settings that ask for more than one completion), nested ones too."""
    caps: list[int] = []
    choices: list[tuple[str, object]] = []
    for name, value in params.items():
        plain = snake_case(name)
        if isinstance(value, Mapping):
            more_caps, more_choices = _bounds(value)
            caps += more_caps
            choices += more_choices
        elif plain in CAP_NAMES and isinstance(value, int) and not isinstance(value, bool):
            caps.append(value)
        elif plain in _CHOICES and value not in (None, False, 1):
            choices.append((name, value))
    return caps, choices
