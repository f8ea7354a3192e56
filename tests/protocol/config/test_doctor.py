"""What ``larkd doctor`` prints of a daemon's status and of the machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config.doctor import (
    as_text,
    examine_certificate,
    examine_clock,
    examine_descriptors,
    examine_disk,
    examine_status,
)
from tests.kit.json_values import json_values

NOW_MS = 1_800_000_000_000
DAY_MS = 24 * 3_600 * 1_000
FINE: dict[str, Any] = {
    "daemon": {"version": "1.2", "pid": 7, "generation": 3},
    "connection": {"default": {"state": "connected", "last_event_at": NOW_MS - 90_000}},
    "queue": {"pending": 2, "in_flight": 1, "oldest_pending_ms": 600_000},
    "owner_session_id": "s-1",
    "effective_target_session_id": "s-1",
    "sessions": [
        {"alias": "api", "proxyVersion": "1.2"},
        {"alias": "web", "proxyVersion": "1.2"},
    ],
}
RECLAIM = "larkd handoff reclaim"


def shown(status: dict[str, Any], *, verbose: bool = False) -> str:
    return as_text(examine_status(status, "1.2", NOW_MS, RECLAIM), verbose=verbose)


def test_what_is_in_order_is_counted_and_listed_where_it_was_asked_for() -> None:
    assert shown(FINE) == "6 of 6 checks are in order"
    assert shown(FINE, verbose=True) == (
        "✅ daemon: larkd 1.2 runs, pid 7, start 3\n"
        "✅ versions: daemon and proxies are 1.2\n"
        "✅ connection default: connected; the last event came 1m 30s ago\n"
        "✅ queue: 2 wait, 1 on their way\n"
        "✅ channel: messages go to s-1\n"
        "✅ sessions: 2 live\n"
        "6 of 6 checks are in order"
    )


def test_each_thing_that_is_wrong_is_named_with_its_remedy() -> None:
    status = {
        "daemon": {"version": "1.1", "pid": 7, "generation": 3},
        "connection": {
            "a": {"state": "backoff", "last_error": "no route"},
            "b": {"state": "connecting"},
            "e": {"state": "connecting", "last_error": "no route"},
            "c": {"state": "connected"},
            "d": {"state": "connected", "last_event_at": NOW_MS - DAY_MS - 1},
        },
        "queue": {
            "pending": 5,
            "oldest_pending_ms": 600_001,
            "damaged": 2,
            "last_error": "disk full",
        },
        "owner_session_id": "s-1",
        "sessions": [{"alias": "api", "unanswered": 4}, {"alias": "web", "unresponsive": True}, {}],
    }
    assert shown(status) == (
        "⚠️  versions: the daemon is 1.1, this larkd is 1.2\n"
        "     → restart the daemon, so that it runs what is installed\n"
        "❌ connection a: the long connection is backoff; last error: no route\n"
        "     → look at the network to the platform, and at the app: is *long connection* chosen"
        " for its events, and is it enabled?\n"
        "⚠️  connection b: the long connection is being opened\n"
        "     → look again in some seconds; if it stays so, look at the network to the platform\n"
        "❌ connection e: the long connection is connecting; last error: no route\n"
        "     → look at the network to the platform, and at the app: is *long connection* chosen"
        " for its events, and is it enabled?\n"
        "⚠️  connection c: connected; no event has come since the start\n"
        "     → write to the bot; if nothing comes, subscribe the app to im.message.receive_v1,"
        " choose *long connection*, and publish a version\n"
        "⚠️  connection d: connected; the last event came 24h 0m ago\n"
        "     → write to the bot; if nothing comes, is another program connected as the same app?"
        " The platform gives each event to one connection only\n"
        "⚠️  queue: 5 wait, the oldest for 10m 0s\n"
        "     → start the session they wait for, or take the channel: larkd handoff reclaim\n"
        "⚠️  queue: 2 damaged records were set aside\n"
        "     → look into larkd.log for journal.row_damaged; check the disk\n"
        "⚠️  journal: something could not be stored: disk full\n"
        "     → free space on the disk of the state directory; it goes on by itself\n"
        "⚠️  channel: the owner s-1 is away; messages wait for it\n"
        "     → start it again, or take the channel back: larkd handoff reclaim\n"
        "⚠️  session api: 4 messages were written to it and not answered in 10 minutes\n"
        "     → is its client started with the channel enabled? With Claude Code: claude"
        " --dangerously-load-development-channels server:feishu\n"
        "⚠️  session web: it has not ended a turn that was cancelled\n"
        "     → look at its agent; end it if it hangs\n"
        "1 of 13 checks are in order"
    )


def test_a_status_that_lacks_everything_is_no_error() -> None:
    assert shown({}) == (
        "⚠️  versions: the daemon is ?, this larkd is 1.2\n"
        "     → restart the daemon, so that it runs what is installed\n"
        "❌ queue: unknown: not in the status\n"
        "     → look into larkd.log for journal.failed\n"
        "⚠️  channel: no session receives messages\n"
        "     → start a session with LARKD_ROLE=dispatcher\n"
        "2 of 5 checks are in order"
    )


def test_ten_sessions_of_another_version_are_named() -> None:
    sessions: list[Any] = [{"alias": f"s{number}", "proxyVersion": "1.1"} for number in range(12)]
    ten = ", ".join(f"s{number} 1.1" for number in range(10))
    status = FINE | {"queue": {"error": "late", "pending": 1}, "sessions": [*sessions, 3, {}]}
    assert shown(status, verbose=True).splitlines()[:6] == [
        "✅ daemon: larkd 1.2 runs, pid 7, start 3",
        f"⚠️  versions: sessions of other versions: {ten}",
        "     → restart these sessions, so that their proxies are 1.2",
        "✅ connection default: connected; the last event came 1m 30s ago",
        "❌ queue: unknown: late",
        "     → look into larkd.log for journal.failed",
    ]
    assert "✅ sessions: 13 live" in shown(status, verbose=True)
    bare = FINE | {"daemon": {"version": "1.2"}, "sessions": [{}]}
    assert shown(bare, verbose=True).splitlines()[:2] == [
        "✅ daemon: larkd 1.2 runs, pid ?, start ?",
        "⚠️  versions: sessions of other versions: ? ?",
    ]


def test_the_latest_event_may_be_a_day_old_and_is_never_of_the_future() -> None:
    day_old = {"default": {"state": "connected", "last_event_at": NOW_MS - DAY_MS}}
    assert shown(FINE | {"connection": day_old}) == "6 of 6 checks are in order"
    ahead = {"default": {"state": "connected", "last_event_at": NOW_MS + 5_000}}
    assert "the last event came 0.0s ago" in shown(FINE | {"connection": ahead}, verbose=True)


def test_a_session_that_has_no_alias_is_named_so() -> None:
    lines = shown(FINE | {"sessions": [{"unanswered": 1, "unresponsive": True}]}).splitlines()
    assert [line for line in lines if "session ?" in line] == [
        "⚠️  session ?: 1 messages were written to it and not answered in 10 minutes",
        "⚠️  session ?: it has not ended a turn that was cancelled",
    ]


JSON = json_values(*FINE, "version", "alias", "state", "last_event_at", "pending")


@given(st.dictionaries(st.sampled_from(list(FINE)), JSON))
def test_no_status_is_too_odd_to_look_at(status: dict[str, Any]) -> None:
    findings = list(examine_status(status, "1.2", NOW_MS, RECLAIM))
    assert {"daemon", "versions", "queue", "channel"} <= {one.check for one in findings}
    assert all(one.remedy for one in findings if one.state != "ok")


@pytest.mark.parametrize(
    ("free_bytes", "line"),
    [
        (100 * 2**20 - 1, "❌ disk: 0.1 GiB free for the state directory"),
        (100 * 2**20, "⚠️  disk: 0.1 GiB free for the state directory"),
        (2**30 - 1, "⚠️  disk: 1.0 GiB free for the state directory"),
        (5 * 2**29, "✅ disk: 2.5 GiB free for the state directory"),
        (2**30, "✅ disk: 1.0 GiB free for the state directory"),
    ],
)
def test_the_disk(free_bytes: int, line: str) -> None:
    assert as_text([examine_disk(free_bytes)], verbose=True).splitlines()[0] == line


def test_a_disk_that_is_nearly_full_comes_with_the_reason() -> None:
    assert examine_disk(0).remedy == "free some space: events can't be stored without it"
    assert examine_disk(2**29).remedy == "free some space"


@pytest.mark.parametrize(
    ("limit", "enough"), [(-1, True), (0, False), (4_095, False), (4_096, True)]
)
def test_how_many_files_may_be_open(limit: int, enough: bool) -> None:
    finding = examine_descriptors(limit)
    if enough:
        assert (finding.check, finding.found) == ("descriptors", "enough may be opened")
        assert (finding.state, finding.remedy) == ("ok", None)
    else:
        assert (finding.check, finding.state) == ("descriptors", "warn")
        assert finding.found == f"a process may open {limit} files and connections"
        assert finding.remedy == (
            "raise the hard limit (ulimit -Hn, LimitNOFILE of a service) for many sessions"
        )


@pytest.mark.parametrize(
    ("skew_s", "line"),
    [
        (None, "⚠️  clock: the platform's time is unknown\n     → look at the network"),
        (0.2, "✅ clock: within 1 s of the platform's"),
        (-60.0, "✅ clock: within 60 s of the platform's"),
        (61.4, "⚠️  clock: this machine's clock is off by 61 s\n     → set the clock, with NTP"),
    ],
)
def test_the_clock(skew_s: float | None, line: str) -> None:
    assert as_text([examine_clock("clock", skew_s)], verbose=True).startswith(line)


@pytest.mark.parametrize(
    ("left_days", "line"),
    [
        (-0.1, "❌ certificate listen.tls: a.pem expired on 2026-12-31: clients refuse it"),
        (1.9, "⚠️  certificate listen.tls: a.pem expires on 2026-12-31, within two days"),
        (20.9, "⚠️  certificate listen.tls: a.pem expires on 2026-12-31, in 20 days"),
        (21.0, "✅ certificate listen.tls: a.pem is valid until 2026-12-31"),
    ],
)
def test_a_certificate(left_days: float, line: str) -> None:
    finding = examine_certificate("listen.tls", "a.pem", "2026-12-31", left_days)
    remedy = "\n     → renew it; the new files are read without a restart"
    assert as_text([finding], verbose=True).startswith(line + (remedy if left_days < 21 else ""))
