"""Metrics and health over HTTP, and a dashboard that names what there is."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.kit.daemon import Daemon, Platform, open_daemon, open_platform
from tests.kit.raw_proxy import session

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
PAGE = ROOT / "docs" / "metrics.md"
OF_CLUSTERS = {"larkd_cluster_term", "larkd_cluster_frozen", "larkd_cluster_standbys"}
"""Only where there is one; ``tests/cluster`` sees them."""
OF_DAY_ONE = (
    "larkd_events",
    "larkd_ack_latency_seconds",
    "larkd_rows",
    "larkd_sessions",
    "larkd_calls",
    "larkd_budget_used_ratio",
    "larkd_card_staleness_seconds",
    "larkd_cards",
    "larkd_cards_in_flight",
    "larkd_restarts",
    "larkd_loop_lag_seconds",
    "larkd_journal_commit_seconds",
    "larkd_connected",
    "larkd_refused",
)


async def address_of(daemon: Daemon, what: str) -> str:
    """The address of *what*, from the log."""
    with trio.fail_after(60):
        while True:
            for line in (await daemon.log()).splitlines():
                event = json.loads(line)
                if event["event"] == "http.serving" and event["what"] == what:
                    return f"http://{event['host']}:{event['port']}"
            await trio.sleep(0.05)


@asynccontextmanager
async def open_monitored(
    platform: Platform, state_dir: Path, **options: Any
) -> AsyncIterator[tuple[Daemon, httpx.AsyncClient]]:
    async with open_daemon(platform, state_dir, metrics={"port": 0}, **options) as daemon:
        base_url = await address_of(daemon, "metrics")
        async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=60) as http:
            yield daemon, http


async def samples(http: httpx.AsyncClient) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    families = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
    for family in families:
        found.setdefault(family.name, {})
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


async def healthy(http: httpx.AsyncClient) -> None:
    """Wait until it reports healthy: the connection reports beside its work."""
    with trio.fail_after(60):
        while (answer := await http.get("/healthz")).status_code != 200:
            await trio.sleep(0.05)
    assert answer.json() == {"status": "ok", "reasons": []}


async def test_what_happens_is_counted(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_monitored(platform, state_dir) as (_, http),
        session(state_dir, "boss", "dispatcher", capabilities=["turns"]) as boss,
    ):
        await healthy(http)
        before = await samples(http)
        missing = [name for name in OF_DAY_ONE if name not in before]
        assert not missing
        assert before["larkd_connected"] == {(("account", "default"),): 1}
        assert before["larkd_sessions"][("role", "dispatcher"),] == 1

        await platform.send(await platform.chat(), "hello")
        deliver = await boss.expect("deliver")
        await boss.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await boss.send(t="delta", turn_id=deliver["turn_id"], text="an answer")
        await boss.send(t="turn_end", turn_id=deliver["turn_id"], status="complete")
        await platform.wait_cards(1, "an answer")
        with trio.fail_after(60):
            while True:
                after = await samples(http)
                ended = after.get("larkd_cards_total", {}).get((("outcome", "complete"),))
                over = after.get("larkd_turns_total", {}).get((("outcome", "complete"),))
                closed = after.get("larkd_rows_closed_total", {}).get((("state", "answered"),))
                # Each is counted where it is done, and the turn's actor ends by itself.
                if ended and over and closed and not after["larkd_turns_in_flight"][()]:
                    break
                await trio.sleep(0.1)
        kind = (("account", "default"), ("kind", "message"))
        assert after["larkd_events_total"][kind] == 1
        assert after["larkd_ack_latency_seconds_count"][()] >= 1
        calls = after["larkd_calls_total"]
        assert all({"account", "endpoint", "outcome"} == {name for name, _ in one} for one in calls)
        assert sum(calls.values()) >= 3
        assert after["larkd_cards_in_flight"][()] == 0
        assert after["larkd_turns_total"][("outcome", "complete"),] == 1
        assert after["larkd_rows_closed_total"][("state", "answered"),] == 1
        assert set(after["larkd_rows"]) == {
            (("state", state),)
            for state in ("received", "ready", "offered", "delivered", "damaged")
        }


async def test_health_is_whether_it_serves(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_monitored(platform, state_dir) as (_, http),
    ):
        assert (await http.get("/livez")).status_code == 200
        await healthy(http)
        await platform.post("connections", action="refuse", handshake_status=403, times=100)
        await platform.post("connections", action="abort")
        with trio.fail_after(60):
            while (answer := await http.get("/healthz")).status_code == 200:
                await trio.sleep(0.1)
        assert answer.status_code == 503
        (reason,) = answer.json()["reasons"]
        assert reason.startswith("account default: the long connection is ")
        assert (await http.get("/livez")).status_code == 200


async def test_it_is_off_until_it_is_asked_for_and_a_taken_port_is_named(state_dir: Path) -> None:
    async with open_platform() as platform, open_daemon(platform, state_dir) as daemon:
        await daemon.logged('"daemon.ready"')
        assert "http.serving" not in await daemon.log()
        port = int(daemon.address.rpartition(":")[2])
        other = state_dir.parent / "other"
        error = (
            f"can't listen on 127.0.0.1:{port}: Address already in use; another program listens"
            " there; stop it, or choose another address with metrics.port of the configuration"
        )
        with pytest.raises(AssertionError, match=re.escape(error)):
            async with open_daemon(platform, other, metrics={"port": port}):
                pass


async def test_every_name_of_the_dashboard_and_the_page_is_a_metrics(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_monitored(platform, state_dir) as (_, http),
    ):
        await healthy(http)
        found = await samples(http)
    known = set(found) | {
        f"{name}{end}" for name in found for end in ("_total", "_bucket", "_count", "_sum")
    }
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) > 10
    for query in queries:
        names = named(query)
        assert names
        assert names <= known, query
    documented = named(PAGE.read_text())
    assert documented <= known | OF_CLUSTERS
    parts = ("_bucket", "_count", "_sum", "_created", "_total")
    families = {name for name in found if not name.endswith(parts)}
    assert {name.removesuffix("_total") for name in documented} >= set(OF_DAY_ONE) | families


def named(text: str) -> set[str]:
    return set(re.findall(r"\blarkd_[a-z_]*[a-z]", text))
