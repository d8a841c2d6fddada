"""Scales, label places and marks; every chart is a well-formed picture that says what it is."""

from __future__ import annotations

import itertools
import math
import xml.etree.ElementTree as ET

import pytest

from tierwise.report.charts import (
    Bar,
    BarChart,
    Box,
    IntervalChart,
    IntervalRow,
    Mark,
    Rule,
    Scale,
    Series,
    XYChart,
    draw,
    padded,
    place,
    spread,
)

SIZE = (400.0, 300.0)
HOSTILE = "</title><script>alert(1)</script>\"'&"
SHAPES = ("circle", "ring", "diamond", "star", "cross", "speck", "")


def xy(**changes) -> XYChart:
    marks = tuple(Mark(0.1 * (i + 1), 0.5, f"a <{shape}>", shape) for i, shape in enumerate(SHAPES))
    fields = {
        "name": "Name",
        "about": "About it.",
        "series": (Series("s", "t0", marks, "solid"),),
        "x_label": "x",
    }
    return XYChart(**{**fields, **changes})


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("low", "high"), [(0.002, 0.2), (0.4, 1.0), (1.0, 40.0), (3.0, 3.1)])
def test_ticks_lie_within_the_scale_and_rise(low, high, log):
    scale = Scale(low, high, 0.0, 300.0, log)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 13
    assert ticks == sorted(ticks)
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)


def test_a_scale_runs_from_start_to_end_and_stops_at_the_edges():
    scale = Scale(1.0, 100.0, 10.0, 210.0, log=True)
    assert [scale(v) for v in (1.0, 10.0, 100.0, 1e9)] == pytest.approx([10, 110, 210, 210])


def test_a_range_leaves_out_what_is_not_a_number():
    low, high = padded([0.5, math.nan, math.inf, None])
    assert low < 0.5 < high
    assert padded([]) == (0.0, 1.0)
    assert padded([0.0, 2.0], log=True)[0] > 0


def test_a_label_stands_right_above_its_mark_where_there_is_room():
    assert place(100, 100, "small", [], SIZE)[:2] == (10, -7)


@pytest.mark.parametrize("at", [(100, 100), (395, 100), (5, 5), (200, 295)])
def test_a_label_covers_nothing_and_stays_inside(at):
    marks = [Box(at[0] - 8, at[1] - 8, at[0] + 8, at[1] + 8), Box(105, 80, 180, 100)]
    first = place(*at, "small", marks, SIZE).box(*at, "small")
    second = place(*at, "other", [*marks, first], SIZE).box(*at, "other")
    for one, other in itertools.combinations([*marks[1:], first, second], 2):
        assert one.overlap(other) == 0
    assert first.outside(*SIZE) == second.outside(*SIZE) == 0


@pytest.mark.parametrize("at", [[50, 50, 50], [99, 100, 20], [0, 0, 98, 99], [50]])
def test_names_at_one_height_move_apart_and_stay_inside(at):
    moved = spread(at, 0, 100, gap=13)
    assert all(b - a >= 13 for a, b in itertools.pairwise(sorted(moved)))
    assert min(moved) >= 0
    assert max(moved) <= 100
    assert sorted(range(len(at)), key=lambda i: at[i]) == sorted(
        range(len(at)), key=lambda i: moved[i]
    )


def test_a_chart_says_what_it_is_and_what_each_mark_is():
    svg = draw(xy())
    assert 'role="img" aria-label="Name. About it."' in svg
    assert "<title>Name</title>" in svg
    assert svg.count("a &lt;") == len(SHAPES) - 1  # the last is only a point of the line


def test_an_interval_is_drawn_where_both_ends_are_known():
    marks = (Mark(1, 0.5, interval=(0.2, None)), Mark(2, 0.5, interval=(0.2, 0.8)), Mark(3, 0.5))
    assert draw(xy(series=(Series("s", "t0", marks),))).count("whisker") == 1


@pytest.mark.parametrize("width", [350, 400, 720])
@pytest.mark.parametrize(
    "chart",
    [
        xy(name=HOSTILE, about=HOSTILE, x_label=HOSTILE, rules=(Rule(0.4, HOSTILE),)),
        xy(
            series=(
                Series(HOSTILE, "t1", (Mark(1, 0.2, HOSTILE, label=HOSTILE),), "dash1"),
                Series("x" * 1_000_000, "t0", (Mark(2, 0.3, "x" * 1_000_000),)),
                Series("empty", "t0", ()),
            ),
            rules=(Rule(1.5, "threshold", upright=True),),
            log_x=True,
            end_labels=True,
        ),
        IntervalChart(
            HOSTILE,
            HOSTILE,
            "t0",
            (
                IntervalRow(HOSTILE, 0.5, (0.4, 0.6), HOSTILE, HOSTILE),
                IntervalRow("b", 0.5, None, "", ""),
            ),
            HOSTILE,
        ),
        BarChart(HOSTILE, "", (Bar(HOSTILE, "t0", 2.0, HOSTILE, 2.1), Bar("b", "t1", 0.0, "0"))),
        BarChart("nothing", "", ()),
    ],
)
def test_any_names_give_one_well_formed_picture_of_bounded_size(chart, width):
    svg = draw(chart, width)
    assert "<script" not in svg
    assert len(svg) < 30_000
    picture = ET.fromstring(svg)
    assert picture.get("viewBox").startswith(f"0 0 {width} ")
    assert not {element.tag for element in picture.iter()} - {
        *("svg", "title", "line", "text", "circle", "polygon", "polyline", "path", "rect")
    }
