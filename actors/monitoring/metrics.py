"""Metrics in the OpenMetrics format: what was counted, and one look at what is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import trio
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from actors.kit import metrics
from actors.monitoring.overview import Overview
from protocol import __version__

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
LAG_EVERY_S: Final = 0.5

LOOP_LAG: Final = metrics.histogram(
    "larkd_loop_lag_seconds", "How much later than asked the loop woke a task.", metrics.FAST_S
)


async def measure_lag() -> None:
    """Look twice a second how late the loop is; never returns."""
    while True:
        due = trio.current_time() + LAG_EVERY_S
        await trio.sleep_until(due)
        LOOP_LAG.observe(max(0.0, trio.current_time() - due))


def render(overview: Overview) -> bytes:
    """Return everything, once."""
    now = CollectorRegistry()
    now.register(_Look(overview))
    return _text(metrics.REGISTRY).removesuffix(b"# EOF\n") + _text(now)


def _text(registry: Collector) -> bytes:
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]  # it has no types
    return text


class _Look(Collector):
    """The figures of one look."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("larkd_info", "The version that runs.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        if self._overview.status is not None:
            yield from _of_status(self._overview.status)
        if self._overview.cards is not None:
            yield GaugeMetricFamily(
                "larkd_cards_in_flight",
                "Cards that are not final yet.",
                value=len(self._overview.cards),
            )
        if self._overview.rows is not None:
            rows = GaugeMetricFamily(
                "larkd_rows",
                "Messages by the state they are in; of each no more than 1000 are counted.",
                labels=["state"],
            )
            for state, count in self._overview.rows.counts.items():
                rows.add_metric([state], count)
            yield rows
        if self._overview.approvals is not None:
            yield GaugeMetricFamily(
                "larkd_approvals_waiting",
                "Requests of agents that wait for a press.",
                value=len(self._overview.approvals),
            )
        yield from _of_gateways(self._overview)


def _of_status(status: Mapping[str, Any]) -> Iterator[Metric]:
    queue = status.get("queue", {})
    yield GaugeMetricFamily(
        "larkd_oldest_pending_seconds",
        "Age of the message that has waited longest.",
        value=(queue.get("oldest_pending_ms") or 0) / 1000,
    )
    sessions = GaugeMetricFamily("larkd_sessions", "Live sessions by role.", labels=["role"])
    listed = status.get("sessions", [])
    for role in ("dispatcher", "session"):
        sessions.add_metric([role], sum(one.get("role") == role for one in listed))
    yield sessions
    yield GaugeMetricFamily(
        "larkd_lease_epoch", "Rises with each change of owner.", value=status.get("lease_epoch", 0)
    )
    yield from _of_cluster(status)
    connected = GaugeMetricFamily(
        "larkd_connected", "1 while the long connection is open.", labels=["account"]
    )
    refused = CounterMetricFamily(
        "larkd_refused", "Messages the gate refused.", labels=["account", "reason"]
    )
    for account, about in status.get("connection", {}).items():
        connected.add_metric([account], about.get("state") == "connected")
        for reason, count in about.get("refused", {}).items():
            refused.add_metric([account, reason], count)
    yield connected
    yield refused


def _of_cluster(status: Mapping[str, Any]) -> Iterator[Metric]:
    daemon = status.get("daemon", {})
    if daemon.get("cluster") is None:
        return
    term = GaugeMetricFamily(
        "larkd_cluster_term", "Rises when the cluster is claimed.", labels=["cluster", "node"]
    )
    term.add_metric([daemon["cluster"], str(daemon.get("node"))], daemon.get("term", 0))
    yield term
    yield GaugeMetricFamily(
        "larkd_cluster_frozen",
        "1 while the holder is cut off and starts nothing.",
        value=daemon.get("hold") != "holding",
    )
    yield GaugeMetricFamily(
        "larkd_cluster_standbys",
        "Nodes that stand by, as the holder last saw.",
        value=len(status.get("standbys", [])),
    )


def _of_gateways(overview: Overview) -> Iterator[Metric]:
    calls = CounterMetricFamily(
        "larkd_calls",
        "Calls to the platform by what came of them.",
        labels=["account", "endpoint", "outcome"],
    )
    used = GaugeMetricFamily(
        "larkd_budget_used_ratio",
        "Share of an endpoint's calls a minute, or a second, that is used.",
        labels=["account", "endpoint", "window"],
    )
    waiting = GaugeMetricFamily(
        "larkd_calls_waiting", "Calls that wait for their share of a budget.", labels=["account"]
    )
    for account, found in overview.gateways.items():
        if found is None:
            continue
        waiting.add_metric([account], found.waiting)
        for one in found.outcomes:
            calls.add_metric([account, one.endpoint, one.outcome], one.calls)
        for use in found.budgets:
            for window, in_use, limit in (
                ("second", use.in_second, use.second_max),
                ("minute", use.in_minute, use.minute_max),
            ):
                used.add_metric([account, use.endpoint, window], in_use / max(1, limit))
    yield calls
    yield used
    yield waiting
