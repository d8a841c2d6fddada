"""An effort is cut to the task and to the budget."""

from __future__ import annotations

from tierwise.content import load_task
from tierwise.search.effort import FEWEST, Effort


def test_an_effort_looks_at_no_more_items_than_the_splits_have() -> None:
    task = load_task("arithmetic").task
    wanted = Effort(screen_items=10**6, study_items=10**6, select_items=10**6, test_items=7)
    cut = wanted.within(task)
    assert cut.screen_items == cut.study_items == len(task.splits["tune"])
    assert cut.select_items == len(task.splits["select"])
    assert (cut.race_items, cut.test_items) == (Effort().race_items, 7)


def test_scaling_goes_down_to_the_fewest_items_and_never_up() -> None:
    small = Effort(screen_items=10, race_items=50, study_items=1000).scaled(0.5)
    assert small.screen_items == 10  # already below the fewest
    assert small.race_items == max(FEWEST["race_items"], 25)
    assert small.study_items == 500
