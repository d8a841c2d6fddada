"""Peers of the search, each through its own API on the same items, tier and number of calls.

Each takes a ``Purse``, whose calls it may spend as it likes, and returns the policy that it would
deploy. A call is one sample. Those that choose prompts alone deploy a single sample.

Settings are those of the papers or packages; where one has to be chosen it is a constant here. What
writes new prompts (GEPA, CAPO) is given a writer that knows the arena's prompts and names one at
random: no model that writes runs offline, and so all choose among the same prompts. DSPy's
BootstrapFewShotWithRandomSearch chooses demonstrations only, which recorded samples cannot show:
``against_dspy.py`` measures it on an embedded tier that reads them.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import math
import random
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from arenas import Arena, Outcome, OutOfCallsError, Purse
from tierwise.evaluation import STORED, Evaluator, SampleTable
from tierwise.schema import Policy, StrategySpec, Variant, uniform
from tierwise.search.selection import balanced_utility

COUNTS = (1, 2, 3, 5, 8, 12)
"""Samples N of a (prompt, N) arm, as far as the arena is deep."""

KINDS = ("self_consistency", "best_of_n")

NAIVE_ITEMS = 20
"""Items of a trial of the naive study: drawn anew, with fresh samples, in each trial."""

TOP_K, SCREENING_SHARE = 4, 0.2
"""Of top-k PSST: prompts that are kept, and the part of the calls that says which."""

MINIBATCH, FULL_EVERY, VALIDATION = 35, 5, 100
"""Of MIPROv2: items of a trial and trials between full evaluations (its defaults), and of a full
evaluation (that of its setting ``light``)."""

GEPA_VALIDATION = 50
"""Items that GEPA evaluates each accepted prompt on."""

CAPO_POPULATION, CAPO_BLOCK = 10, 30
"""Of CAPO: prompts, and items of a block (30 in the paper)."""

Arm = tuple[Variant, str, int]


# Arms (prompt, strategy, N) and what is known of them


def policy_of(
    variant: Variant, kind: str = "", n: int = 1, verifier: str = "mean_logprob"
) -> Policy:
    """A single sample, a vote, or best-of-n."""
    if n == 1:
        return uniform(variant, StrategySpec.of("single"))
    more = {"verifier": verifier} if kind == "best_of_n" else {}
    return uniform(variant, StrategySpec.of(kind, samples=n, **more))


def arms_of(purse: Purse, among: Sequence[Variant] = ()) -> list[Arm]:
    """Every prompt under every strategy; two samples are no vote."""
    depth = purse.arena.depth
    verified = all("mean_logprob" in r.scores for r in purse.arena.search.variants.values())
    kinds = KINDS if verified else KINDS[:1]
    arms = itertools.product(among or purse.variants, kinds, (n for n in COUNTS if n <= depth))
    return [
        (v, kind, n)
        for v, kind, n in arms
        if (n > 1 or kind == KINDS[0]) and (n != 2 or kind == KINDS[1])
    ]


class Means:
    """Running means of score and dollars by arm."""

    def __init__(self) -> None:
        self._sums: dict[Arm, list[float]] = {}

    def add(self, arm: Arm, table: SampleTable) -> None:
        """What the arm makes of the table's samples."""
        judged = Evaluator(table, STORED).evaluate(policy_of(*arm))
        sums = self._sums.setdefault(arm, [0.0, 0.0, 0.0])
        for i, value in enumerate((judged.score.sum(), judged.usd.sum(), table.n_items)):
            sums[i] += float(value)

    def add_blocks(self, variant: Variant, arms: Sequence[Arm], table: SampleTable) -> None:
        """The same for every arm of the variant, on each of the disjoint blocks of its N
        samples."""
        rows = table.variants[variant]
        for arm in (arm for arm in arms if arm[0] == variant and arm[2] <= rows.n_samples):
            for b in range(rows.n_samples // arm[2]):
                columns = np.arange(b * arm[2], (b + 1) * arm[2])
                part = {variant: rows.columns(columns)}
                self.add(arm, SampleTable(table.item_ids, table.inputs, part))

    def utility(self, arm: Arm) -> float:
        """The mean utility; of an arm that was never pulled minus infinity."""
        score, usd, n = self._sums.get(arm, (0.0, 0.0, 0.0))
        return balanced_utility(score / n, usd / n) if n else -math.inf

    def best(self, arms: Sequence[Arm]) -> list[Arm]:
        """The arms by their utility, the best first."""
        return sorted(arms, key=lambda arm: -self.utility(arm))


# Searches that are written here, as their papers describe them


def uniform_allocation(purse: Purse, seed: int) -> Outcome:
    """The same number of samples of every prompt, as deep as there are; all arms read off them."""
    arms, means = arms_of(purse), Means()
    each = purse.left // len(purse.variants)
    deep = max(n for n in COUNTS if n <= min(purse.arena.depth, max(each, 1)))
    for variant in purse.variants:
        table = purse.pull(variant, purse.draw(max(each // deep, 1)), deep)
        if table is not None:
            means.add_blocks(variant, arms, table)
    return Outcome(policy_of(*means.best(arms)[0]), purse.used)


def successive_halving(purse: Purse, seed: int) -> Outcome:
    """Jamieson and Talwalkar (arXiv 1502.07943): each round pulls the arms alike, half survive."""
    arms, means = arms_of(purse), Means()
    rounds, total = max(1, math.ceil(math.log2(len(arms)))), purse.left
    for _ in range(rounds):
        each = max(1, total // rounds // sum(n for _, _, n in arms))
        for arm in arms:
            table = purse.pull(arm[0], purse.draw(each), arm[2])
            if table is not None:
                means.add(arm, table)
        arms = means.best(arms)[: max(1, len(arms) // 2)]
    return Outcome(policy_of(*arms[0]), purse.used)


def psst(purse: Purse, seed: int, among: Sequence[Variant] = ()) -> Outcome:
    """PSST (IAPO, arXiv 2508.10030): rounds pull each prompt's largest surviving N and read the
    smaller ones off its disjoint blocks; the worse half of the arms is dropped."""
    arms, means = arms_of(purse, among), Means()
    rounds, total = max(1, math.ceil(math.log2(len(arms)))), purse.left
    for _ in range(rounds):
        largest: dict[Variant, int] = {}
        for variant, _, n in arms:
            largest[variant] = max(largest.get(variant, 0), n)
        each = max(1, total // rounds // sum(largest.values()))
        for variant, n in largest.items():
            table = purse.pull(variant, purse.draw(each), n)
            if table is not None:
                means.add_blocks(variant, arms, table)
        arms = means.best(arms)[: max(1, len(arms) // 2)]
    return Outcome(policy_of(*arms[0]), purse.used)


def top_k_psst(purse: Purse, seed: int) -> Outcome:
    """A part of the calls at one sample each, then PSST among the best prompts (same paper)."""
    means, single = Means(), [(v, KINDS[0], 1) for v in purse.variants]
    each = max(1, int(purse.left * SCREENING_SHARE) // len(single))
    for arm in single:
        table = purse.pull(arm[0], purse.draw(each), 1)
        if table is not None:
            means.add(arm, table)
    return psst(purse, seed, [variant for variant, *_ in means.best(single)[:TOP_K]])


def naive_optuna(purse: Purse, seed: int) -> Outcome:
    """A TPE study of prompt, strategy and N, as one would write it first: each trial samples afresh
    on ``NAIVE_ITEMS`` random items, and the best trial is deployed."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    variants = {v.label: v for v in purse.variants}
    arms = arms_of(purse)
    kinds, counts = {kind for _, kind, _ in arms}, {n for *_, n in arms}
    while purse.left >= NAIVE_ITEMS * purse.arena.depth:
        trial = study.ask()
        variant = variants[str(trial.suggest_categorical("prompt", list(variants)))]
        kind = str(trial.suggest_categorical("strategy", sorted(kinds)))
        n = int(trial.suggest_categorical("n", sorted(counts)))
        table = purse.pull(variant, purse.draw(NAIVE_ITEMS), n)
        assert table is not None
        judged = Evaluator(table, STORED).evaluate(policy_of(variant, kind, n))
        study.tell(trial, balanced_utility(judged.mean_score, judged.mean_usd))
    if not study.trials:
        raise OutOfCallsError
    best = study.best_trial.params
    return Outcome(policy_of(variants[best["prompt"]], best["strategy"], best["n"]), purse.used)


# Packages: prompts are texts that name a variant, and questions texts that name an item


def instruction(variant: Variant, number: int) -> str:
    """What a package takes for a prompt."""
    return f"Answer the question in the way of prompt number {number}."


NAMED = re.compile(r"prompt number (\d+)\.")
ASKED = re.compile(r"question number (\d+)\?")


class TextModel:
    """Answers texts from a purse: the last prompt and the last question that a text names."""

    def __init__(self, purse: Purse) -> None:
        self.purse = purse
        self.prompts = [instruction(v, i) for i, v in enumerate(purse.variants)]

    def variant(self, text: str) -> Variant:
        """The last one that is named; the baseline where none is."""
        found = NAMED.findall(text)
        return self.purse.variants[int(found[-1])] if found else self.purse.arena.baseline

    def right(self, variant: Variant, text: str) -> bool:
        """Whether one more sample on the item that the text asks about is right.

        A score between 0 and 1 is a chance of being right, by the purse's generator: the packages'
        metrics here are of right and wrong.
        """
        item = int(ASKED.findall(text)[-1])
        return bool(self.purse.rng.random() < self.purse.ask(variant, item)[1])


RIGHT, WRONG = "right", "wrong"


def gepa(purse: Purse, seed: int) -> Outcome:
    """GEPA (arXiv 2507.19457), ``gepa.optimize``; the writer names a prompt of the arena."""
    from gepa import EvaluationBatch, optimize

    model, rng = TextModel(purse), random.Random(seed)
    items = [int(i) for i in purse.draw(purse.arena.search.n_items)]

    class Adapter:
        propose_new_texts = None

        def evaluate(
            self, batch: list[int], candidate: dict[str, str], capture_traces: bool = False
        ) -> Any:
            variant = model.variant(candidate["instruction"])
            scores = [purse.ask(variant, item)[1] for item in batch]
            traces = [{"score": s} for s in scores] if capture_traces else None
            return EvaluationBatch(outputs=scores, scores=scores, trajectories=traces)

        def make_reflective_dataset(
            self, candidate: dict[str, str], evaluated: Any, components: list[str]
        ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
            return {name: [{"Feedback": str(s)} for s in evaluated.scores] for name in components}

    class Quiet:
        def log(self, message: str) -> None: ...

    start = model.variant("")
    result = optimize(
        seed_candidate={"instruction": model.prompts[purse.variants.index(start)]},
        trainset=items[GEPA_VALIDATION:],
        valset=items[:GEPA_VALIDATION],
        adapter=Adapter(),
        reflection_lm=lambda prompt: f"```\n{rng.choice(model.prompts)}\n```",
        # It stops between steps: a step is a minibatch twice and a full evaluation.
        max_metric_calls=purse.left - GEPA_VALIDATION - 10,
        seed=seed,
        logger=Quiet(),
    )
    best = result.best_candidate
    text = best["instruction"] if isinstance(best, dict) else str(best)
    return Outcome(policy_of(model.variant(text)), purse.used)


def mipro(purse: Purse, seed: int) -> Outcome:
    """DSPy's MIPROv2 (arXiv 2406.11695) without demonstrations; its candidates are the prompts."""
    import dspy
    from tierwise.llm import Completion
    from tierwise.llm.models import resolve_tier
    from tierwise.llm.scripted import ScriptedModel
    from tierwise.proposals.dspy_lm import TierEngine, lm_of
    from tierwise.schema import Price

    model = TextModel(purse)

    class Program(dspy.Module):  # type: ignore[misc]  # DSPy has no types
        def __init__(self) -> None:
            super().__init__()
            self.answer = dspy.Predict(dspy.Signature("question -> answer", model.prompts[0]))

        def forward(self, question: str) -> Any:
            return self.answer(question=question)

    class Catalogued(dspy.MIPROv2):  # type: ignore[misc]  # DSPy has no types
        def _propose_instructions(self, *args: Any, **kwargs: Any) -> dict[int, list[str]]:
            return {0: list(model.prompts)}

        def _bootstrap_fewshot_examples(self, *args: Any, **kwargs: Any) -> None:
            """Only its proposer would read them, so their calls are spared."""

    def script(request: Any, sample_seed: int) -> Completion:
        system, *_, user = (message.content for message in request.messages)
        said = RIGHT if model.right(model.variant(system), user) else WRONG
        return Completion(f"[[ ## answer ## ]]\n{said}\n\n[[ ## completed ## ]]", 1, 1)

    def metric(example: Any, prediction: Any, trace: object = None) -> bool:
        return bool(prediction.answer == RIGHT)

    items = purse.draw(purse.arena.search.n_items)
    # With minibatches a full evaluation comes first, after every FULL_EVERY trials, and last, each
    # of another prompt; it ends with an error where there are not as many. Then every trial is
    # full, in as many trials as its own rule says.
    n, n_val = len(model.prompts), min(VALIDATION, len(items) - 1, purse.left // 4)
    trials = max(1, int((purse.left - 2 * n_val) / (MINIBATCH + n_val / FULL_EVERY)))
    batched = trials / FULL_EVERY + 2 <= n / 2
    if not batched:
        trials = max(1, int(max(2 * math.log2(n), 1.5 * n)))
        n_val = min(len(items) - 1, purse.left // (trials + 1))
    shown = [dspy.Example(question=f"question number {i}?").with_inputs("question") for i in items]
    tier = resolve_tier("t", "openai/arena", price=Price(0.0, 0.0))
    lm = lm_of(TierEngine(tier, model=ScriptedModel(script)))
    optimizer = Catalogued(
        metric, prompt_model=lm, task_model=lm, auto=None, num_candidates=n,
        num_threads=1, max_bootstrapped_demos=0, max_labeled_demos=0, seed=seed, max_errors=1000,
    )  # fmt: skip
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    with dspy.context(lm=lm):
        best = optimizer.compile(
            Program(), trainset=shown[n_val:], valset=shown[:n_val], num_trials=trials,
            minibatch=batched, minibatch_size=min(MINIBATCH, n_val),
            minibatch_full_eval_steps=FULL_EVERY,
        )  # fmt: skip
    chosen = model.variant(best.predictors()[0].signature.instructions)
    return Outcome(policy_of(chosen), purse.used)


def capo(purse: Purse, seed: int) -> Outcome:
    """promptolution's CAPO (arXiv 2504.16005); its writer names a prompt of the arena."""
    import pandas as pd
    from promptolution.llms.base_llm import BaseLLM
    from promptolution.optimizers.capo import CAPO
    from promptolution.predictors import MarkerBasedPredictor
    from promptolution.tasks import ClassificationTask
    from promptolution.utils.callbacks import BaseCallback

    model, rng = TextModel(purse), random.Random(seed)

    class Answers(BaseLLM):  # type: ignore[misc]  # DSPy has no types
        def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:
            # The instruction stands first, examples and the question after it.
            said = [model.right(self._named(text), text) for text in prompts]
            return [f"<final_answer>{RIGHT if ok else WRONG}</final_answer>" for ok in said]

        def _named(self, text: str) -> Variant:
            found = NAMED.search(text)
            return purse.variants[int(found[1])] if found else purse.arena.baseline

    class Writer(BaseLLM):  # type: ignore[misc]  # DSPy has no types
        def _get_response(self, prompts: list[str], system_prompts: list[str]) -> list[str]:
            return [f"<prompt>{rng.choice(model.prompts)}</prompt>" for _ in prompts]

    class Stop(BaseCallback):  # type: ignore[misc]  # DSPy has no types
        """Ends where the calls that a step has used at most do not last for another."""

        def __init__(self) -> None:
            super().__init__()
            self.most, self.before = 0, purse.used

        def on_step_end(self, optimizer: Any) -> bool:
            self.most = max(self.most, purse.used - self.before)
            self.before = purse.used
            return purse.left > self.most

    items = purse.draw(purse.arena.search.n_items)
    frame = pd.DataFrame({"x": [f"question number {i}?" for i in items], "y": RIGHT})
    first = rng.sample(model.prompts, min(CAPO_POPULATION, len(model.prompts)))
    random.seed(seed)  # it draws from the global generator
    task = ClassificationTask(
        frame, "Answer.", n_subsamples=CAPO_BLOCK, eval_strategy="sequential_block", seed=seed
    )
    optimizer = CAPO(
        MarkerBasedPredictor(Answers(), [RIGHT, WRONG]), task, Writer(), initial_prompts=first,
        callbacks=[Stop()], crossovers_per_iter=min(4, len(first)),
    )  # fmt: skip
    optimizer.optimize(n_steps=10**6)  # a step that runs out of calls ends it too
    return Outcome(policy_of(model.variant(optimizer.prompts[0].instruction)), purse.used)


Search = Callable[[Purse, int], Outcome]

PEERS: Mapping[str, Search] = {
    "uniform": uniform_allocation,
    "successive halving": successive_halving,
    "PSST": psst,
    "top-k PSST": top_k_psst,
    "naive Optuna": naive_optuna,
    "GEPA": gepa,
    "MIPROv2": mipro,
    "CAPO": capo,
}


def run(name: str, arena: Arena, calls: int, seed: int) -> Outcome:
    """What a peer comes to; the baseline where its calls do not last for a result."""
    purse = Purse(arena, calls, seed)
    try:
        with _quiet():
            return PEERS[name](purse, seed)
    except OutOfCallsError:
        return Outcome(policy_of(arena.baseline), purse.used)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the packages' logs, bars and warnings."""
    nowhere = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(nowhere),
        contextlib.redirect_stdout(nowhere),
    ):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
