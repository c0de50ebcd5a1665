"""When do we try again? From one second to a quarter of an hour, never all at the same moment."""

from __future__ import annotations

LONGEST = 900.0  # seconds


def delay(attempt: int, jitter: float) -> float:
    """Seconds to wait after failed attempt number `attempt` (0 is the first); `jitter` is random in [0, 1).

    Doubles from 1–2 s to 7.5–15 min: half of each span is fixed, half is chance, so that what failed together does not
    come back together.
    """
    least = min(2.0 ** min(max(attempt, 0), 32), LONGEST / 2)
    return least * (1 + jitter)
