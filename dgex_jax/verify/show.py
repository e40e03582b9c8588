"""What was found, as lines for people and as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from dgex_jax.verify.pieces import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dgex_jax.verify.check import Verdict

STATES: tuple[State, ...] = get_args(State)


def lines(verdict: Verdict) -> Iterator[str]:
    """Yield a line a file, sorted by place, then what was not compared, then the counts."""
    places = max((len(one.place) for one in verdict.findings), default=0)
    for one in verdict.findings:
        yield f"{one.place:<{places}}  {one.state:<7}  {one.cause}".rstrip()
    for name, user in verdict.not_compared.items():
        yield f"{name}: is not here, so whether {user} is still of it was not compared (--inputs)"
    counts = ", ".join(f"{verdict.count(state)} {state}" for state in STATES)
    yield f"{len(verdict.findings)} files: {counts}"


def as_json(results: Path, verdict: Verdict) -> dict[str, Any]:
    """Return all that `lines` says as JSON values."""
    return {
        "results": str(results),
        "good": verdict.good,
        "counts": {state: verdict.count(state) for state in STATES},
        "files": [
            {"place": one.place, "state": one.state, "cause": one.cause} for one in verdict.findings
        ],
        "not_compared": [
            {"name": name, "needed_by": user} for name, user in verdict.not_compared.items()
        ],
    }
