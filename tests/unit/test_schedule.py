"""The schedule decides from times alone, so these tests never wait."""

from __future__ import annotations

from math import inf

import pytest

from sidecar.schedule import DEGRADED_POLL, Pace, Schedule, retry_wait

PACE = Pace(debounce=1, debounce_max=5, poll_interval=30)


def quiet(now: float = 0, pace: Pace = PACE) -> Schedule:
    """Return a schedule that has just looked and found nothing."""
    return Schedule.start(pace, now).looked(now, degraded=False, recheck_at=inf)


def test_the_first_look_is_due_at_once() -> None:
    """A change that came before the sidecar must not wait for the next one."""
    assert 100 == Schedule.start(PACE, now=100).due


def test_looks_at_the_poll_when_nothing_happens() -> None:
    """Where events never arrive, the safety poll finds the change."""
    assert 130 == quiet(now=100).due


def test_no_poll_interval_is_no_poll() -> None:
    """POLL_INTERVAL=0 sleeps until an event comes."""
    assert inf == quiet(pace=Pace(1, 5, 0)).due


def test_polls_every_two_seconds_without_inotify() -> None:
    """Polling must notice within two seconds, whatever POLL_INTERVAL says."""
    schedule = quiet(pace=Pace(1, 5, 0)).looked(10, degraded=True, recheck_at=inf)

    assert 10 + DEGRADED_POLL == schedule.due


def test_waits_until_the_volume_is_still() -> None:
    """Each event postpones the look by the debounce."""
    assert 11.5 == quiet().noticed(10).noticed(10.5).due


def test_a_busy_volume_cannot_postpone_for_ever() -> None:
    """The first event starts DEBOUNCE_MAX, and later ones do not extend it."""
    schedule = quiet()
    for tenth in range(100, 160):
        schedule = schedule.noticed(tenth / 10)

    assert 15 == schedule.due


def test_a_poll_that_comes_round_while_a_volume_is_written_is_not_early() -> None:
    """It would settle what is still changing."""
    assert 30.5 == quiet().noticed(29.5).due


def test_no_debounce_looks_at_once() -> None:
    """DEBOUNCE=0 looks as soon as an event is seen."""
    assert 10 == quiet(pace=Pace(0, 5, 30)).noticed(10).due


def test_rechecks_a_volume_that_is_not_whole() -> None:
    """An unsettled volume is looked at when it may count as it is."""
    schedule = quiet().looked(10, degraded=False, recheck_at=12)

    assert 12 == schedule.due


@pytest.mark.parametrize(
    ("failures", "longest"), [(1, 2), (2, 4), (3, 8), (9, 30), (5000, 30)]
)
def test_backs_off_exponentially_up_to_a_limit(failures: int, longest: float) -> None:
    """Failures double the longest wait; the limit caps it, and nothing overflows."""
    assert longest == retry_wait(failures, initial=2, maximum=30, chance=1.0)


def test_the_jitter_is_full() -> None:
    """Replicas that failed together must not retry together."""
    assert [0, 1, 2] == [retry_wait(2, 1, 60, chance) for chance in (0, 0.5, 1.0)]
