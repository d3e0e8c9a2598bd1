"""Which pod counts as fresh before anybody was asked."""

from __future__ import annotations

import ssl
from math import inf
from pathlib import Path

import pytest
import trustme

from sidecar.attempt import Beginning
from sidecar.rollout_target import RolloutTarget
from sidecar.settings import ClusterSettings, RolloutSettings, TlsSettings
from sidecar.status import State
from sidecar.trust import Trust

SANDBOX = 1000.0


class Silent:
    """Nothing is noted before something was asked."""

    def problem(self, subject: str, message: str | None) -> None:
        raise AssertionError((subject, message))


def target(pod_uid: str | None = "me") -> RolloutTarget:
    """Return the target of a pod that has just begun."""
    rollout = RolloutTarget(
        RolloutSettings(kind="deployment", name="web", namespace="site", own=None),
        ClusterSettings(url="https://127.0.0.1:1"),
        volumes=("/etc/site",),
        pod_uid=pod_uid,
        wake=lambda: None,
        notes=Silent(),
    )
    rollout.settled(inf)
    return rollout


@pytest.mark.parametrize(
    ("held", "sandbox", "swapped", "state"),
    [
        (None, SANDBOX, SANDBOX - 1, State.FRESH),
        # a change that nobody saw, or none: one rollout too many, or a change lost
        (None, SANDBOX, SANDBOX + 1, State.STALE),
        # a plain directory: each pod writes its own
        (None, SANDBOX, -inf, State.FRESH),
        # nobody knows: a rollout at every start would never end
        (None, None, SANDBOX + 1, State.FRESH),
        # a sidecar that starts again remembers, whatever the times say
        (("me",), SANDBOX, SANDBOX + 1, State.FRESH),
        (("me",), None, SANDBOX + 1, State.FRESH),
        ((), SANDBOX, SANDBOX - 1, State.STALE),
        ((), SANDBOX, -inf, State.STALE),
        ((), None, SANDBOX + 1, State.STALE),
    ],
)
def test_a_pod_holds_what_it_is_remembered_to_or_was_mounted_before_it(
    held: tuple[str, ...] | None, sandbox: float | None, swapped: float, state: State
) -> None:
    """Whatever came later, its program has not read."""
    rollout = target()
    rollout.began(Beginning(held, sandbox, SANDBOX + 5, swapped))

    assert state is rollout.status().state
    assert (state is State.STALE) == (rollout.plan(quiet=True).begin is not None)


@pytest.mark.parametrize("held", [(), ("me",)])
def test_a_memory_of_nobody_knows_which_pod_is_none(held: tuple[str, ...]) -> None:
    """It may be another pod's, and each new pod would start the next rollout."""
    rollout = target(pod_uid=None)
    rollout.began(Beginning(held, SANDBOX, SANDBOX + 5, SANDBOX - 1))

    assert State.FRESH is rollout.status().state
    assert () == rollout.held(inf)


def test_without_a_uid_a_clock_that_was_set_leaves_nothing_to_trust() -> None:
    """Only times are left to compare then; one rollout too many loses no change."""
    rollout = target(pod_uid=None)
    rollout.began(Beginning((), SANDBOX, SANDBOX + 5, SANDBOX - 1))
    rollout.doubted(SANDBOX + 5)

    assert State.STALE is rollout.status().state


def test_what_a_pod_holds_is_remembered_by_its_uid() -> None:
    """Until there is new content; a clock that was set changes nothing."""
    rollout = target()
    rollout.began(Beginning(None, SANDBOX, SANDBOX, SANDBOX - 1))
    rollout.doubted(SANDBOX + 5)
    before = rollout.held(inf)
    rollout.settled(SANDBOX + 6)

    assert (("me",), ()) == (before, rollout.held(inf))


def test_new_content_makes_every_pod_stale() -> None:
    """Its program read the old one, and will never read another."""
    rollout = target()
    rollout.began(Beginning(None, SANDBOX, 0.0, 0.0))
    rollout.settled(SANDBOX + 1)

    assert State.STALE is rollout.status().state


def test_the_cluster_ca_may_be_written_as_of_old(tmp_path: Path) -> None:
    """Python 3.13 would refuse one without a key usage, which many clusters have."""
    file = tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(file)
    context = Trust(TlsSettings(ca_file=file, strict=False), secure=True).context()

    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert ssl.CERT_REQUIRED == context.verify_mode
    assert context.check_hostname
