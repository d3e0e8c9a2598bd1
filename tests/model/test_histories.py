"""Histories that the model once found, each for a fault that is mended.

Random ones come upon these again only now and then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .incarnation import Choices
from .test_model import Pod


@contextmanager
def pod(choices: Choices, volumes: int = 1) -> Iterator[Pod]:
    """Give a pod whose one program read what is there; then nothing may be lost."""
    state = Pod()
    try:
        state.begin(
            choices=choices,
            volumes=volumes,
            hooks=0,
            order="links-after",
            under_shell=False,
            content={"a": "1"},
            beforehand=True,
        )
        state.wait(seconds=5.0)
        yield state
    finally:
        state.teardown()


def started(
    state: Pod, *, after: float, ignores: bool = False, delay: float = 0.0
) -> None:
    """A program starts, without a shell above it and with its handler in place."""
    state.start_program(
        parent=None,
        shell=False,
        handler_after=0.0,
        ignores=ignores,
        delay=delay,
        after=after,
    )


def started_in_between(state: Pod, which: int) -> None:
    """A-B-A before it settles; a program starts when B is there."""
    state.there_and_back(
        which=which, content={"a": "2"}, start=True, parent=None, between=0.1, after=0.0
    )


def test_who_started_between_two_polls_is_not_known_to_hold_the_content() -> None:
    """A poll finds that there was a swap, but not when the first one was."""
    with pod(Choices()) as state:
        state.change_watching(watching="limit")
        state.wait(seconds=5.0)
        state.wait_until_just_before_it_is_due(before=0.25)
        started_in_between(state, 0)


def test_what_was_read_while_a_volume_had_not_settled_is_not_remembered() -> None:
    """Back to the content before, a restart would take it for what was confirmed."""
    with pod(Choices(state=True), volumes=2) as state:
        state.there_and_back_beside_another(
            which=0, content={}, other={"a": "2"}, between=50.0, after=0.1
        )
        state.kill(after=1.0)


def test_a_later_attempt_on_another_does_not_hide_who_was_told_in_doubt() -> None:
    """One process ignores the signal, so the attempts on it go on and on."""
    with pod(Choices(select="all"), volumes=2) as state:
        started(state, ignores=True, after=1.0)
        state.there_and_back_beside_another(
            which=0, content={}, other={"a": "2"}, between=50.0, after=0.0
        )


def test_a_swap_ends_the_time_of_those_who_restart_by_themselves() -> None:
    """One that was ended by the reload reads the content, a later one may read B."""
    with pod(Choices(), volumes=2) as state:
        state.break_it(which=0, key="a", after=5.0)
        started_in_between(state, 1)


def test_times_of_files_are_not_taken_up_again_after_the_clock_was_set() -> None:
    """Everybody is told once; a kill before that must not make it nobody."""
    with pod(Choices(state=True, jitter=2.0)) as state:
        state.kill(after=0.0)
        state.update(which=0, content={"a": "2"}, between=0.0, after=5.0)
        state.step_clock(seconds=3600.0)
        state.start_again(after=0.3)
        state.kill(after=0.0)


def test_a_poll_does_not_cut_the_debounce_short() -> None:
    """The sidecar looked at once when a poll came round in the quiet time."""
    with pod(Choices()) as state:
        state.wait_until_just_before_it_is_due(before=0.1)
        state.update(which=0, content={"a": "2"}, between=0.0, after=1.0)


def test_a_worker_that_its_master_left_behind_did_not_start_again_by_itself() -> None:
    """It was forked after the signal, before its master had read; then that died."""
    with pod(Choices()) as state:
        state.end_program(which=0, orphans=False, after=5.0)
        started(state, delay=0.1, after=5.0)
        state.start_just_after_an_update(
            which=0,
            content={"a": "2"},
            parent=0,
            orphan=True,
            between=0.21,
            after=0.0,
        )


def test_who_is_being_told_while_it_goes_there_and_back_is_told_again() -> None:
    """The program reads a while after the signal, when B is there."""
    with pod(Choices()) as state:
        state.end_program(which=0, orphans=False, after=5.0)
        started(state, delay=0.1, after=5.0)
        state.update(which=0, content={"a": "2"}, between=0.0, after=0.23)
        state.there_and_back(
            which=0,
            content={"a": "1"},
            start=False,
            parent=None,
            between=0.1,
            after=0.0,
        )


def test_a_worker_counts_as_old_as_its_master() -> None:
    """It was forked after the swap by a master that had not read it yet."""
    with pod(Choices(select="all")) as state:
        state.start_just_after_an_update(
            which=0, content={"a": "2"}, parent=0, orphan=False, between=0.06, after=0.0
        )


def test_a_change_that_comes_while_another_volume_settles_first_is_one() -> None:
    """CATCH_UP=never is about what was there at the start, not about what came then."""
    with pod(Choices(catch_up="never"), volumes=2) as state:
        state.miss_an_update(which=1, content={"a": "1"}, step=0.0, after=0.0)
        state.delete_the_object(which=0, after=0.0)


def test_who_started_just_before_the_signal_did_not_start_because_of_it() -> None:
    """Start times are rounded down to a tick, and another process ends meanwhile."""
    with pod(Choices(debounce=0.0)) as state:
        started(state, after=0.0)
        state.update(which=0, content={"a": "2"}, between=0.0, after=0.0)
        state.end_program(which=0, orphans=False, after=0.0)


def test_a_change_at_the_start_is_told_and_nobody_is_taken_to_hold_it() -> None:
    """CATCH_UP=never, and one volume changes before the other has settled once."""
    with pod(Choices(catch_up="never"), volumes=2) as state:
        state.miss_an_update(which=0, content={"a": "2"}, step=0.0, after=0.0)
        state.update(which=1, content={"a": "2"}, between=0.0, after=0.21)
