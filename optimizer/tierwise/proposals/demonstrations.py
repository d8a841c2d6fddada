"""Sets of demonstrations by DSPy's bootstrapping, each alone: a failure sinks no other."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tierwise.proposals.candidate import Demo, Registry
from tierwise.proposals.quiet import quiet

BOOTSTRAP = "bootstrap"


def bootstrapped(
    registry: Registry,
    program: Any,
    trainset: Sequence[Any],
    metric: Callable[..., Any],
    *,
    sizes: Sequence[int],
    seed: int,
) -> None:
    """A set of demonstrations for each of ``sizes``, from the program's own right answers.

    The program runs on DSPy's current LM. What goes wrong with one set is noted as its refusal.
    """
    from dspy.teleprompt import BootstrapFewShot

    for i, size in enumerate(sizes):
        origin = f"{BOOTSTRAP}/{i}"
        shuffled = list(trainset)
        random.Random(seed + i).shuffle(shuffled)
        optimizer = BootstrapFewShot(
            metric=metric,
            max_bootstrapped_demos=size,
            max_labeled_demos=0,
            max_errors=max(10, len(shuffled)),
        )
        try:
            with quiet():
                compiled = optimizer.compile(program.deepcopy(), trainset=shuffled)
        except Exception as error:  # noqa: BLE001  anybody's program and metric: whatever it raises
            registry.refuse(origin, f"bootstrapping failed: {type(error).__name__}: {error}")
            continue
        (predictor,) = compiled.predictors()
        registry.admit_demos(origin, [_demo(predictor.signature, demo) for demo in predictor.demos])


def _demo(signature: Any, demo: Any) -> Demo:
    return {name: str(demo[name]) for name in signature.fields if demo.get(name) is not None}
