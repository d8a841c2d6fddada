"""A DSPy program tuned on an embedded tier: no key, no network, about half a minute.

    python examples/dspy/embedded.py

The prompts come from the catalogue of paraphrases that the tier was trained on, and demonstrations
from bootstrapping; what is tuned is which of them to use, in which mode, and with how many votes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import dspy
from tierwise.dspy import JointOptimizer, trace_of, tuned
from tierwise.runs import load_task


def exact(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    return example.answer == prediction.answer


def main(folder: Path, n_examples: int = 600, trials: int = 60) -> None:
    items = load_task("arithmetic").task.items
    step = max(1, len(items) // n_examples)
    examples = [
        dspy.Example(question=item.inputs["question"], answer=item.target).with_inputs("question")
        for item in items[::step]
    ]

    optimizer = JointOptimizer(
        exact, tiers={"small": "embedded/small"}, space="quick", trials=trials, out=folder / "run"
    )
    program = optimizer.compile(dspy.ChainOfThought("question -> answer"), trainset=examples)

    policy = program.policies["small"]
    before, after = policy.evidence.baseline, policy.expected
    print(f"before  {before.score:.3f}  {before.score_ci95}")
    print(f"after   {after.score:.3f}  {after.score_ci95}  {after.samples_per_item} samples")

    prediction = program(question="4 + 9 - 2 + 5")
    answer = trace_of(prediction)
    print(
        f"4 + 9 - 2 + 5 = {prediction.answer}   {answer.samples} samples, ${answer.usd:.2g} "
        "simulated"
    )

    program.save(folder / "program.json")  # for DSPy …
    again = tuned(dspy.ChainOfThought("question -> answer"))
    again.load(folder / "program.json")
    policy.save(folder / "small.yaml")  # … and for `tierwise run`, which needs no DSPy
    print(f"saved in {folder}")
    program.predict.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="tierwise-")))
