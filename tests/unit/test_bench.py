"""How the benchmark writes what it measured."""

from __future__ import annotations

import pytest

from tests.bench import table
from tests.bench.contenders import Work, config_reloader, settings
from tests.bench.series import Series
from tests.bench.table import Table


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0412, "0.0412"),
        (0.30012, "0.3"),
        (3.14159, "3.14"),
        (31.4159, "31.4"),
        (2003.7, "2004"),
        (0.0, "0"),
        (None, "-"),
    ],
)
def test_a_number_has_three_digits_that_mean_something(
    value: float | None, expected: str
) -> None:
    """Microseconds and minutes stand in one column, and none may look exact."""
    assert expected == table.number(value)


def test_a_series_tells_its_middle_and_its_worst() -> None:
    """One slow update in a hundred is what a user remembers."""
    series = Series.of([1.0, 2.0, 9.0])
    assert (2.0, 9.0) == (series.median, series.maximum)


def test_a_ratio_is_of_medians() -> None:
    """A ratio of means would be one of accidents."""
    assert 3.0 == Series.of([2.0, 3.0, 90.0]).over(Series.of([1.0, 1.0, 50.0]))


def test_there_is_no_ratio_to_what_was_not_measured() -> None:
    """A peer or a compiler may be missing."""
    assert None is Series.of([1.0]).over(None)
    assert "-" == table.times(None)


def test_a_table_is_markdown_and_short_rows_are_filled() -> None:
    """A missing peer has a reason in place of its numbers."""
    rendered = Table("T", "How.", ("", "ms"), (("a", "1"), ("b",))).render()
    assert "### T\n\nHow.\n\n|  | ms |\n| --- | ---: |\n| a | 1 |\n| b |  |" == rendered


def test_only_the_measured_part_of_the_document_is_written() -> None:
    """What a person wrote around it stays."""
    document = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
    expected = f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n"
    assert expected == table.replace_measured(document, "new\n")


def test_a_document_without_a_place_for_the_numbers_is_left_alone() -> None:
    """Better to stop than to write them where nobody looks, or over something."""
    with pytest.raises(ValueError, match="missing"):
        table.replace_measured("nothing here", "new")


def work(*, waits: bool) -> Work:
    """Return some work, to be done at once or with the defaults."""
    return Work("signal", (), 7, "told", "http://127.0.0.1:1/", waits)


def test_delays_are_off_or_everybody_has_his_own_defaults() -> None:
    """A comparison where one waits and the other does not would be none."""
    assert {"DEBOUNCE", "VERIFY_ALIVE"} <= settings(work(waits=False)).keys()
    assert "--delay-interval=0s" in config_reloader(work(waits=False)).arguments
    assert {"DEBOUNCE", "VERIFY_ALIVE"}.isdisjoint(settings(work(waits=True)))
    assert "--delay-interval=0s" not in config_reloader(work(waits=True)).arguments
