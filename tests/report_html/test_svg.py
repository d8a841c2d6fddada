import math

import pytest

from tierwise.report.html.svg import Chart, Scale, padded


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
    low, high = padded([0.5, math.nan, math.inf])
    assert low < 0.5 < high
    assert padded([]) == (0.0, 1.0)
    assert padded([0.0, 2.0], log=True)[0] > 0


def test_a_chart_says_what_it_is_and_what_each_mark_is():
    chart = Chart("Name", "About it.", (0.0, 1.0), (0.0, 1.0), "x", "y")
    for shape in ("circle", "ring", "diamond", "star", "cross", "speck"):
        chart.dot(0.5, 0.5, "t0", f"a <{shape}>", shape=shape)
    chart.whisker(0.5, (0.2, None), "t0")
    chart.whisker(0.5, (0.2, 0.8), "t0")
    svg = chart.svg()
    assert 'role="img" aria-label="Name. About it."' in svg
    assert svg.startswith("<svg")
    assert "<title>Name</title>" in svg
    assert svg.count("a &lt;") == 6
    assert svg.count("whisker") == 1
