"""Who holds the content: numbers in, a verdict out."""

from __future__ import annotations

from math import inf

from sidecar.freshness import COARSE_GRACE, GRACE, Ledger, fresh_from

SWAP = 100.0


def settled() -> Ledger[str]:
    """Return a ledger of content that was swapped in at 100 s after boot."""
    nothing: Ledger[str] = Ledger()
    return nothing.settled(fresh_from(SWAP, coarse=False))


def test_a_process_older_than_the_swap_is_stale() -> None:
    """It read the content before it."""
    assert inf == settled().since("app", SWAP - 1)


def test_a_process_that_started_after_the_swap_is_fresh() -> None:
    """It read the new content by itself; telling it is noise."""
    assert SWAP + 2 * GRACE == settled().since("app", SWAP + GRACE)


def test_a_start_too_close_to_the_swap_proves_nothing() -> None:
    """A start time is a 10 ms tick and a ctime is up to 10 ms old."""
    assert inf == settled().since("app", SWAP + GRACE - 0.01)


def test_whole_seconds_need_a_whole_second() -> None:
    """Where ctime keeps seconds only, the swap may be 999 ms later than it says."""
    assert SWAP + COARSE_GRACE == fresh_from(SWAP, coarse=True)


def test_who_confirmed_holds_it() -> None:
    """However old the process is."""
    assert SWAP + 2 == settled().confirmed(["app"], SWAP + 2).since("app", 1.0)


def test_new_content_voids_what_was_established() -> None:
    """Nobody holds what nobody was told."""
    later = settled().confirmed(["app"], SWAP + 2).settled(SWAP + 50)

    assert inf == later.since("app", SWAP + 1)


def test_a_swap_of_equal_content_makes_nobody_stale() -> None:
    """Who held the content before the first swap goes on holding it."""
    ledger = settled().confirmed(["told"], SWAP + 2).confirmed(["started"], SWAP + 5)
    later = ledger.swapped(SWAP + 10, since=SWAP + 9)

    assert SWAP + 2 == later.since("told", 1.0)
    assert SWAP + 5 == later.since("started", SWAP + 5)


def test_who_was_told_during_a_b_a_is_told_again() -> None:
    """He may have read B, between the first event and the last."""
    ledger = settled().confirmed(["told"], SWAP + 6)
    later = ledger.swapped(SWAP + 10, since=SWAP + 5)

    assert inf == later.since("told", 1.0)


def test_a_process_that_started_during_a_b_a_is_told() -> None:
    """It may have read B, between the first event and the last."""
    later = settled().swapped(SWAP + 10, since=SWAP + 5)

    assert inf == later.since("between", SWAP + 7)


def test_a_start_just_before_a_swap_proves_nothing() -> None:
    """By the time it has read the files the swap may be over."""
    ledger = settled()
    started = SWAP + 5
    ledger = ledger.confirmed(["app"], ledger.since("app", started))

    assert inf == ledger.swapped(SWAP + 9, started + GRACE / 2).since("app", started)
    assert inf > ledger.swapped(SWAP + 9, started + 2 * GRACE).since("app", started)


def test_who_is_confirmed_again_holds_it_for_as_long_as_before() -> None:
    """A look that finds him fresh is not when he became so."""
    ledger = settled().confirmed(["app"], SWAP + 2).confirmed(["app"], SWAP + 8)

    assert SWAP + 2 == ledger.since("app")


def test_a_stale_process_stays_stale_when_equal_content_is_swapped_in() -> None:
    """A swap tells nobody anything."""
    assert inf == settled().swapped(SWAP + 10, since=SWAP + 9).since("old", 1.0)


def test_telling_everybody_spares_only_who_comes_later() -> None:
    """SIGHUP to the sidecar tells the fresh ones too."""
    voided = settled().confirmed(["told"], SWAP + 2).voided(200.0)

    assert inf == voided.since("told", 1.0)
    assert inf == voided.since("started", 150.0)
    assert inf > voided.since("later", 200.0 + GRACE)


def test_a_rejection_is_told_again_only_so_often() -> None:
    """One bad configuration must not make a server fork for ever."""
    ledger = settled()
    told = 0
    while ledger.tells("app", limit=4):
        told += 1
        ledger = ledger.rejected(["app"])

    assert 4 == told
    assert ledger.tells("a new process", limit=4)
    assert ledger.settled(SWAP + 50).tells("app", limit=4)


def test_the_dead_are_forgotten() -> None:
    """A crash loop must not grow the memory."""
    ledger = settled().confirmed(["a", "b"], 101.0).rejected(["c"]).alive(["a"])

    assert Ledger(SWAP + GRACE, {"a": 101.0}, {}) == ledger
