"""Which histories are tried: HYPOTHESIS_PROFILE chooses, `ci` if nobody does.

The same few at each check, so that what fails is what was changed; others every night.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_COMMON = settings(
    deadline=None,  # a step is as long as the virtual time in it
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
)
settings.register_profile("ci", _COMMON, max_examples=300, derandomize=True)
settings.register_profile("nightly", _COMMON, max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
