"""How far a recording goes, and the search that it allows: variants, space, costs and scores.

Samples are clipped rather than items: a search goes by as many samples as nearly all items have.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tierwise.errors import InputError, UnsupportedError, unknown_name
from tierwise.llm.recorded import Recording
from tierwise.schema import RetrieverSpec, Tier, Turn, Variant, read_turn
from tierwise.schema.space import Dimension, Range, SearchSpace
from tierwise.search.problem import SearchSize, Variants
from tierwise.search.samples import SampleCost
from tierwise.search.space import within_depth
from tierwise.strategies import paths_in
from tierwise.tasks import Item, Task
from tierwise.tasks.verifiers import LOGPROBS, RECORDED_SCORES

EVERYTHING = 10**6
FREE = SearchSize(
    fit_items=EVERYTHING,
    screen_items=EVERYTHING,
    race_items=EVERYTHING,
    study_items=EVERYTHING,
    test_items=EVERYTHING,
    screen_samples=EVERYTHING,
    race_samples=EVERYTHING,
    study_variants=8,
)
"""Recorded samples cost nothing more: every stage looks at all of its items and their samples."""

MOST_SHORT = 10
"""At most one of so many items may lack what the space is fitted to."""

SHOWN_IDS = 5


@dataclass(frozen=True)
class RecordedDepth:
    """What of a recording a search goes by: as many samples as nearly all items have.

    Attributes:
        depths: variant -> samples of every item, of plain answers and of where chains begin. A
            variant that is recorded on too few items is not there.
        kept: ids of the items that have all of them.
        nodes: the turns of trajectories that nearly all chains reach, or had ended before.
        remarks: what was left out, for people.
    """

    depths: Mapping[Variant, int]
    kept: frozenset[str]
    nodes: frozenset[Variant] = frozenset()
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        counts: Mapping[Variant, Mapping[str, int]],
        items: Sequence[Item],
        required: Sequence[Variant] = (),
    ) -> RecordedDepth:
        """Clip samples, not items: the fewest samples that a tenth of the items may lack.

        The depth of a variant is a quantile over items; where variants lack samples of different
        items, depths are lowered, one by one, until all but a tenth of the items have all. Items
        that none, or one of ``required``, is recorded on are left out first.

        Args:
            counts: variant -> item id -> samples from the first without a gap.
            items: of the task.
            required: variants that stay, with the items that they have.

        Raises:
            UnsupportedError: no item has a sample of all of ``required``.
        """
        ids = np.array([item.id for item in items])
        variants = tuple(counts)
        have = np.array([[counts[v].get(i, 0) for i in ids] for v in variants]).reshape(
            len(variants), len(ids)
        )
        floor = np.array([int(variant in required) for variant in variants])
        begun = have.any(axis=0) & (have >= floor[:, None]).all(axis=0)
        if not begun.any():
            named = ", ".join(variant.label for variant in required) or "any variant"
            raise UnsupportedError(
                f"no item of the task has a recorded sample of {named}; are the task's items those "
                "of the recording?"
            )
        known = have[:, begun]
        few = known.shape[1] // MOST_SHORT
        depth = np.maximum(np.sort(known, axis=1)[:, few], floor)
        while (known < depth[:, None]).any(axis=0).sum() > few:
            depth = _lowered(known, depth, floor)
        whole = (known >= depth[:, None]).all(axis=0)
        remarks = [
            _left_out(ids[~begun], "no recorded sample to go by"),
            _left_out(ids[begun][~whole], "fewer recorded samples than nearly all others"),
            *(
                f"{variant.label} is left out: it is recorded on {int((row > 0).sum())} of "
                f"{len(row)} items only"
                for variant, row, n in zip(variants, known, depth, strict=True)
                if n == 0
            ),
        ]
        return cls(
            {v: int(n) for v, n in zip(variants, depth, strict=True) if n},
            frozenset(ids[begun][whole].tolist()),
            remarks=tuple(remark for remark in remarks if remark),
        )


def _lowered(
    have: npt.NDArray[np.int_], depth: npt.NDArray[np.int_], floor: npt.NDArray[np.int_]
) -> npt.NDArray[np.int_]:
    """``depth`` with that variant one level lower which this gives the most whole items."""
    options = []
    for v in np.flatnonzero(depth > floor):
        lower = depth.copy()
        lower[v] = max(int(have[v][have[v] < depth[v]].max(initial=0)), int(floor[v]))
        options.append(((have >= lower[:, None]).all(axis=0).sum(), depth[v], lower))
    return max(options, key=lambda option: option[:2])[2]


def _left_out(ids: npt.NDArray[np.str_], why: str) -> str:
    if not len(ids):
        return ""
    shown = ", ".join(ids[:SHOWN_IDS]) + (" …" if len(ids) > SHOWN_IDS else "")
    return f"{len(ids)} item{'s' * (len(ids) != 1)} left out ({why}): {shown}"


Targets = Mapping[str, tuple[Recording, Tier, tuple[Variant, ...]]]
"""Escalation target -> its recording, its tier, and the variants that may be escalated to."""


def recorded_depth(
    recording: Recording, task: Task, baseline: Variant | None, targets: Targets
) -> RecordedDepth:
    """How far the recordings of a tier and of its escalation targets go.

    ``targets`` and the baseline's variant stay whatever they lack. A turn of trajectories is one
    that the chains of all but few items reach, or had ended before.
    """
    counts: dict[Variant, Mapping[str, int]] = dict(recording.counts)
    required = [] if baseline is None else [baseline]
    for name, (other, _, variants) in targets.items():
        for variant in variants:
            required.append(variant._replace(tier=name))
            counts[required[-1]] = other.counts.get(variant._replace(tier=None), {})
    found = RecordedDepth.of(counts, task.items, required)
    nodes = set[Variant]()
    for node in sorted(recording.nodes, key=lambda node: len(node.path)):
        samples = found.depths.get(node.beginning, 0)
        if node.parent is not None and node.parent not in (*nodes, node.root):
            continue
        lacking = sum(recording.lacks(node, item, samples) for item in found.kept)
        if samples and lacking <= len(found.kept) // MOST_SHORT:
            nodes.add(node)
    remarks = list(found.remarks)
    for begun in (node for node in recording.nodes if node.parent is None):
        chain = [n for n in recording.nodes if n.beginning == begun and n.turn.name == "query"]
        deepest, rounds = max(len(node.path) for node in chain), rounds_of(begun, nodes)
        if rounds < deepest:
            remarks.append(
                f"{begun.root.label}: trajectories of up to {rounds} rounds count; round "
                f"{rounds + 1}, or the answer that it is made to give after it, is not recorded "
                "for all of the items that go on to it"
            )
    return replace(found, nodes=frozenset(nodes), remarks=tuple(remarks))


def rounds_of(begun: Variant, nodes: Collection[Variant]) -> int:
    """Rounds of the chain that begins with ``begun``, to which ``nodes`` has all turns."""
    rounds, at = 0, begun
    while at in nodes and at.below(Turn()) in nodes:
        rounds, at = rounds + 1, at.below(begun.turn)
    return rounds


def recorded_space(space: SearchSpace, depth: RecordedDepth) -> SearchSpace:
    """``space`` within what is recorded: samples, rounds, passages and chains."""
    nodes = depth.nodes
    paths = {node.path for node in nodes}
    gets = {node.turn.passages for node in nodes if node.turn.name == "query"}
    begun = [node for node in nodes if node.parent is None and node.path]
    rounds = max((rounds_of(node, nodes) for node in begun), default=0)
    chains = max((depth.depths[node] for node in begun), default=0)
    plain = [n for variant, n in depth.depths.items() if not variant.path]
    space = within_depth(space, max(plain) * max(space.variants))
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


def recorded_baseline(recording: Recording, tier: Tier, baseline: str | None) -> Variant | None:
    """The recorded variant of the prompt ``baseline``, of several the one on the most items.

    Raises:
        InputError: the prompt is not recorded.
    """
    if baseline is None:
        return None
    own = [variant for variant in recording.variants if variant.prompt == baseline]
    if not own:
        recorded = {variant.prompt for variant in recording.variants}
        raise unknown_name(f"baseline: recorded prompt of tier {tier.name!r}", baseline, recorded)
    return max(own, key=lambda variant: recording.variants[variant].items)


def recorded_variants(
    recording: Recording, depth: RecordedDepth, baseline: Variant | None
) -> Variants:
    """The recorded variants, in place of the space's prompts, modes and temperatures.

    Without a ``baseline`` it is the first.
    """
    prompts = {prompt.id: prompt for prompt in recording.prompts}
    variants = tuple(variant for variant in recording.variants if variant in depth.depths)
    return Variants(prompts, variants, baseline or variants[0])


def recorded_cost(recording: Recording, tier: Tier) -> SampleCost:
    """The mean cost of the recorded samples, as a search may assume it before the first."""
    every = recording.all_samples
    prompt = sum(d.prompt_tokens for d in every) / len(every)
    completion = sum(d.completion_tokens for d in every) / len(every)
    usd = tier.price.completion_usd(completion, prompt_tokens=prompt)
    return SampleCost(
        usd,
        completion,
        tier.takes_n,
        prompt_usd=tier.price.prompt_usd(prompt),
        prompt_tokens=prompt,
    )


def scores_of(task: Task, tier: Tier, recording: Recording | None = None) -> frozenset[str]:
    """Names of the scores that samples will have: log-probabilities, the task's verifiers, and what
    some sample of a recording carries."""
    found = set(task.verifiers)
    if recording is None:
        return frozenset(found | set(LOGPROBS if tier.logprobs else ()))
    names = ("mean_logprob", *RECORDED_SCORES)
    carried = {
        name
        for name in names
        if any(getattr(sample, name) is not None for sample in recording.all_samples)
    }
    return frozenset(found | carried)


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
