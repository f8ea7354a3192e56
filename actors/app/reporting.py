"""How the supervisors report on their children, in the log."""

from __future__ import annotations

from typing import Final

import structlog

from actors.kit import metrics

RESTARTS: Final = metrics.counter(
    "larkd_restarts", "Crashes of a supervised actor, each followed by a restart.", "actor"
)

log = structlog.get_logger()


def report(what: str, name: str, crash: BaseException | None) -> None:
    """Log what happened to a supervised child."""
    if crash is None:
        log.warning("actor.slow_to_stop", actor=name)
    else:
        RESTARTS.labels(actor=name).inc()
        log.error("actor.ended", actor=name, how=what, exc_info=crash)
