"""Tierwise from Python: what ``import tierwise as tw`` offers beside the values.

::

    run = tw.tune(df, inputs=["question"], target="answer", prompts=["{{ question }}"],
                  tiers={"mini": "openai/gpt-4o-mini"}, budget=tw.Budget(usd=5))
    run                                                    # three lines, in a notebook a table
    run.policies["mini"].save("mini.yaml")
    run.frame("trials")                                    # pandas
"""

from tierwise.api.jobs import ProgressLine, plan, tune
from tierwise.api.results import ComparisonTables, JobPlan, Run, compare_runs

__all__ = ["ComparisonTables", "JobPlan", "ProgressLine", "Run", "compare_runs", "plan", "tune"]
