"""Recorded trajectories in place of a provider: bought for nothing, and then read like any other.

A trajectory is a tree of samples, whose answers depend on what was found on the way. So it is not a
table beside the pool as other recordings are: its steps go into the pool, and from there on what is
read, judged, replayed and served is what it is for samples that were bought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tierwise.errors import InputError, ProviderError, UnsupportedError
from tierwise.evaluation import SampleTable
from tierwise.llm.recorded import RecordedModel, Recording
from tierwise.pool import FEWEST_ITEMS, Account, Buyer, Library, Need, SamplePool, Supply
from tierwise.retrieval import Retrieved
from tierwise.retrieval.base import RecordedRetriever
from tierwise.schema import Price, RetrieverSpec, Tier, Variant, read_turn
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.search.recorded import fingerprint
from tierwise.strategies import paths_in
from tierwise.tasks import Item, Task


class Trajectories(Buyer):
    """The recorded samples of a tier, steps of trajectories among them; nothing is paid."""

    free = True

    def __init__(
        self,
        pool: SamplePool,
        task: Task,
        tier: Tier,
        recording: Recording,
        account: Account,
        library: Library | None,
    ) -> None:
        prompts = {prompt.id: prompt for prompt in recording.prompts}
        supply = Supply(tier, RecordedModel(recording), prompts)
        super().__init__(pool, task, supply, account, library=library)
        self.recording = recording

    def most(self, variant: Variant) -> int:
        """Samples of which every item has the root: plain answers, and where chains begin."""
        recorded = self.recording.nodes.items()
        begun = [of for node, of in recorded if node.parent is None and node.root == variant.root]
        roots = (self.recording.samples[variant.root], *begun)
        return min(len(samples) for of in roots for samples in of.values())

    def table(
        self, items: Sequence[Item], n_samples: Mapping[Variant, int], stage: str
    ) -> SampleTable:
        """See ``Samples``; with at most the recorded samples.

        Raises:
            UnsupportedError: steps are not recorded for all but a few items.
        """
        recorded = {variant: min(n, self.most(variant)) for variant, n in n_samples.items()}
        try:
            return super().table(items, recorded, stage)
        except ProviderError:
            raise UnsupportedError(
                f"tier {self.tier.name!r}: fewer than {FEWEST_ITEMS} of the {len(items)} items of "
                f"stage {stage!r} have all steps of their trajectories recorded: at every depth at "
                "which one goes on, the answer that it is made to give there (path "
                '["query:2", "answer"] …)'
            ) from None

    def _fill(self, of: Supply, needs: Sequence[Need], stage: str) -> str:
        given_away = replace(of, tier=replace(of.tier, price=Price(0.0, 0.0)))
        return super()._fill(given_away, needs, stage)


def library_from(recording: Recording, spec: RetrieverSpec, path: Path) -> Library:
    """The recorded look-ups; those of a file that changes are other ones."""
    looked_up = {q: Retrieved(up.passages, up.latency_s) for q, up in recording.look_ups.items()}
    identity = f"{spec.name}/recorded/{fingerprint(path)[:16]}"
    return Library(spec, identity, RecordedRetriever(identity, looked_up), free=True)


def check_queries(recording: Recording, task: Task, spec: RetrieverSpec) -> None:
    """Texts are read by the task's patterns, as live ones are.

    Raises:
        InputError: a recorded query is not what the pattern reads.
    """
    for variant, by_item in recording.nodes.items():
        for item, samples in by_item.items():
            for index, sample in samples.items():
                said = read_turn(variant.turn, sample.text, task.answer, spec.query).query
                if sample.look_up is not None and said != sample.look_up.query:
                    raise InputError(
                        f"sample {index} of {variant.label} on item {item!r} looked up "
                        f"{sample.look_up.query!r}; retriever.query of task {task.name!r} reads "
                        f"{said!r} in its text"
                    )


def recorded_space(space: SearchSpace, recording: Recording) -> SearchSpace:
    """``space`` with only such turns as are recorded: so many rounds, passages and chains."""
    paths = {variant.path for variant in recording.nodes}
    gets = {variant.turn.passages for variant in recording.nodes if variant.turn.name == "query"}
    rounds = max((len(p) for p in paths if p[-1].name == "query"), default=0)
    begun = [of for node, of in recording.nodes.items() if node.parent is None]
    chains = min((len(samples) for of in begun for samples in of.values()), default=0)
    strategies: dict[str, dict[str, Dimension]] = {}
    for kind, dims in space.strategies.items():
        if kind == "retrieval":
            within = {
                "rounds": _within(dims.get("rounds"), range(rounds + 1)),
                "passages": _within(dims.get("passages"), sorted(gets)),
                "samples": _within(dims.get("samples"), range(1, chains + 1)),
            }
            if not all(within.values()):
                continue
            dims = {**dims, **{name: choices for name, choices in within.items() if choices}}
        elif not paths.issuperset(paths_in(replace(space, strategies={kind: dims}))):
            continue
        strategies[kind] = dict(dims)
    return replace(space, strategies=strategies or {"single": {}})


def _within(dimension: Dimension | None, recorded: Sequence[int]) -> tuple[int, ...]:
    """The recorded values that the dimension has; all of them where it does not say."""
    if dimension is None:
        return tuple(recorded)
    if isinstance(dimension, Range):
        return tuple(n for n in recorded if dimension.low <= n <= dimension.high)
    return tuple(n for n in recorded if n in dimension)
