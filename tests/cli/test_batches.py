"""Who is told in which batch."""

from __future__ import annotations

import pytest

from sidecar.cli.batches import at_once, batches


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [
        (10, "10%", [1] * 10),
        (10, "50%", [1, 5, 4]),
        (500, "25%", [1, 125, 125, 125, 124]),
        (10, "4", [1, 4, 4, 1]),
        (3, "100%", [1, 2]),
        (1, "10%", [1]),
        (0, "10%", []),
    ],
)
def test_one_comes_first_and_nobody_is_left_out(
    count: int, size: str, sizes: list[int]
) -> None:
    """A bad change stops at the first; the rest is rounded up to at least one."""
    split = batches(range(count), size)

    assert (sizes, list(range(count))) == (
        [len(batch) for batch in split],
        [number for batch in split for number in batch],
    )


@pytest.mark.parametrize("size", ["0", "0%", "101%", "-1", "1.5", "", "ten", "٣"])
def test_anything_else_is_no_size(size: str) -> None:
    """It says what is accepted."""
    with pytest.raises(ValueError, match="accepted: 5, or 1% to 100%"):
        at_once(size, 10)
