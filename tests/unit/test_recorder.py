"""How many events are recorded, decided on numbers."""

from __future__ import annotations

from sidecar.recorder import BURST, EVERY, Allowance


def after(count: int) -> Allowance:
    """Return what is left at 0 after so many events."""
    allowance = Allowance()
    for _ in range(count):
        allowance = allowance.at(0.0).spent()
    return allowance


def test_a_burst_is_allowed_and_no_more() -> None:
    """A rollout of a bad configuration makes a few; a loop would make thousands."""
    assert 1 == after(BURST - 1).at(EVERY / 2).left
    assert 0 == after(BURST).at(EVERY - 1).left


def test_one_more_is_allowed_every_five_minutes() -> None:
    """Time that is not yet enough for one counts for the next."""
    once = after(BURST).at(EVERY * 1.5)
    assert (1, EVERY) == (once.left, once.since)
    assert 2 == once.at(EVERY * 2).left


def test_quiet_saves_up_a_burst_and_not_more() -> None:
    """After a week of nothing it is as at the start."""
    week = after(BURST).at(7 * 86_400.0)

    assert Allowance(BURST, 7 * 86_400.0) == week
