"""Time stamps and windows of series: spellings of dates, what is odd, whole numbers."""

from __future__ import annotations

import pytest

from convarium.data.series.forecasts import forecast_windows
from convarium.data.series.reading import Windows
from convarium.data.series.times import times_of
from convarium.errors import DataError


def test_dates_in_several_spellings_are_one_form_and_the_odd_stamp_is_named():
    days = times_of(["2020-01-02", "20200101", "2020-01-03 12:00"], "a")
    assert ((days - days[1]) / 3.6e12).tolist() == [24, 0, 60]
    assert times_of(["2020-01", "2020-03"], "a").tolist() == (
        times_of(["2020-01-01", "2020-03-01"], "a").tolist()
    )
    for cells, odd in (
        (["2020-01-01", "nan", "2020-01-03"], "'nan', neither"),
        (["2020-01-01", "2020-01-02", "7"], "'7' beside dates such as '2020-01-01'"),
        (["5", "2020-01-02", "7.5"], "'2020-01-02' beside numbers such as '5'"),
    ):
        with pytest.raises(DataError, match=f"a has the time stamp {odd}"):
            times_of(cells, "a")


def test_windows_of_whole_floats_are_whole_numbers():
    windows = Windows.of(3.0, 2.0), forecast_windows(4.0, 3.0, None)[1]
    assert [str(each) for each in windows] == [
        "Windows(length=3, stride=2)", "Windows(length=3, stride=1)"
    ]  # fmt: skip
    assert str(forecast_windows(4.0, None, None)) == "(4, Windows(length=24, stride=1))"
