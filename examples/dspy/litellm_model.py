r"""A DSPy program tuned on any model that LiteLLM reaches, with instructions written for the task.

    OPENAI_API_KEY=… python examples/dspy/litellm_model.py questions.jsonl \
        openai/gpt-4o-mini [openai/gpt-4o]

``questions.jsonl`` has a line {"question": …, "answer": …} for each example, 200 or more. The
second model, if there is one, writes the instructions: a first round from the examples, then more
that mend what the tuned policy gets wrong, for as long as a round is a gain. What is spent stays
under ``BUDGET_USD``, the proposer's calls among it. The same command goes on where it was
interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import dspy
from tierwise.dspy import JointOptimizer, Proposing

BUDGET_USD = 5.0


def exact(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    return example.answer.strip().casefold() == str(prediction.answer).strip().casefold()


def main(questions: Path, model: str, proposer: str, out: Path, **settings: Any) -> None:
    rows = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines()]
    examples = [dspy.Example(**row).with_inputs("question") for row in rows]
    settings = {"space": "quick", "proposing": Proposing(model=proposer), **settings}
    optimizer = JointOptimizer(
        exact, tiers={"main": model}, budget_usd=BUDGET_USD, normalise="text", out=out, **settings
    )
    program = optimizer.compile(dspy.ChainOfThought("question -> answer"), trainset=examples)
    for made in optimizer.result.summary.tiers["main"].rounds:
        print(f"round {made.round}: {len(made.prompts)} prompts  {made.ended}")
        for refused in made.refused:
            print(f"  refused {refused.origin}: {refused.reason}")
    policy = program.policies["main"]
    print(policy.evidence.gate, policy.expected.score, policy.expected.usd_per_item)
    program.save(out / "program.json")
    policy.save(out / "main.yaml")
    program.predict.close()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[-1], Path("dspy-run"))
