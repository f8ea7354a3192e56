"""What ``larkd doctor`` finds: each check with its state, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from msgspec import Struct

from protocol import foreign
from protocol.strings import amounts

FindingState = Literal["ok", "warn", "fail"]

EVENT_EXPECTED_MS: Final = 24 * 3_600 * 1_000
OLDEST_EXPECTED_MS: Final = 10 * 60 * 1_000
CERTIFICATE_DAYS_WANTED: Final = 21
"""Who renews by hand needs some weeks; who lets a program do it renews a month before."""
CLOCK_SKEW_S_MAX: Final = 60.0
FREE_BYTES_MIN: Final = 100 * 1024 * 1024
DESCRIPTORS_WANTED: Final = 4_096
FREE_BYTES_WANTED: Final = 1024 * 1024 * 1024
_MARKS: Final[Mapping[FindingState, str]] = {"ok": "✅", "warn": "⚠️ ", "fail": "❌"}


class Finding(Struct, frozen=True, kw_only=True):
    check: str
    state: FindingState
    found: str
    remedy: str | None = None
    """None where nothing is to be done."""


def ok(check: str, found: str) -> Finding:
    return Finding(check=check, state="ok", found=found)


def warn(check: str, found: str, remedy: str) -> Finding:
    return Finding(check=check, state="warn", found=found, remedy=remedy)


def fail(check: str, found: str, remedy: str) -> Finding:
    return Finding(check=check, state="fail", found=found, remedy=remedy)


# ── the daemon's status ──────────────────────────────────────────


def examine_status(
    status: Mapping[str, Any], version: str, now_ms: int, reclaim: str
) -> Iterator[Finding]:
    """Look at the map of ``feishu_channel_status``; odd shapes are left out, never raised.

    *reclaim* is the command line that gives the channel back to the dispatcher.
    """
    daemon = foreign.mapping(status.get("daemon"))
    yield ok(
        "daemon",
        f"larkd {daemon.get('version', '?')} runs, pid {daemon.get('pid', '?')},"
        f" start {daemon.get('generation', '?')}",
    )
    yield _versions(status, version)
    for account, about in foreign.mapping(status.get("connection")).items():
        yield _connection(f"connection {account}", foreign.mapping(about), now_ms)
    yield from _queue(foreign.mapping(status.get("queue")), reclaim)
    yield _channel(status, reclaim)
    yield from _sessions(status)


def _versions(status: Mapping[str, Any], version: str) -> Finding:
    daemon = foreign.mapping(status.get("daemon")).get("version")
    if daemon != version:
        return warn(
            "versions",
            f"the daemon is {daemon or '?'}, this larkd is {version}",
            "restart the daemon, so that it runs what is installed",
        )
    others = [
        f"{one.get('alias', '?')} {one.get('proxyVersion', '?')}"
        for one in foreign.mappings(status.get("sessions"))
        if one.get("proxyVersion") != version
    ]
    if others:
        return warn(
            "versions",
            f"sessions of other versions: {', '.join(others[:10])}",
            f"restart these sessions, so that their proxies are {version}",
        )
    return ok("versions", f"daemon and proxies are {version}")


def _connection(check: str, about: Mapping[str, Any], now_ms: int) -> Finding:
    state, error, last = about.get("state"), about.get("last_error"), about.get("last_event_at")
    if state == "connecting" and not error:
        return warn(
            check,
            "the long connection is being opened",
            "look again in some seconds; if it stays so, look at the network to the platform",
        )
    if state != "connected":
        return fail(
            check,
            f"the long connection is {state}" + (f"; last error: {error}" if error else ""),
            "look at the network to the platform, and at the app: is *long connection* chosen"
            " for its events, and is it enabled?",
        )
    if not isinstance(last, int):
        return warn(
            check,
            "connected; no event has come since the start",
            "write to the bot; if nothing comes, subscribe the app to im.message.receive_v1,"
            " choose *long connection*, and publish a version",
        )
    ago_ms = max(0, now_ms - last)
    if ago_ms > EVENT_EXPECTED_MS:
        return warn(
            check,
            f"connected; the last event came {amounts.duration(ago_ms / 1000)} ago",
            "write to the bot; if nothing comes, is another program connected as the same app?"
            " The platform gives each event to one connection only",
        )
    return ok(check, f"connected; the last event came {amounts.duration(ago_ms / 1000)} ago")


def _queue(queue: Mapping[str, Any], reclaim: str) -> Iterator[Finding]:
    pending, oldest = queue.get("pending"), queue.get("oldest_pending_ms")
    if queue.get("error") or not isinstance(pending, int):
        yield fail(
            "queue",
            f"unknown: {queue.get('error') or 'not in the status'}",
            "look into larkd.log for journal.failed",
        )
        return
    if isinstance(oldest, int) and oldest > OLDEST_EXPECTED_MS:
        yield warn(
            "queue",
            f"{pending} wait, the oldest for {amounts.duration(oldest / 1000)}",
            f"start the session they wait for, or take the channel: {reclaim}",
        )
    else:
        yield ok("queue", f"{pending} wait, {queue.get('in_flight', 0)} on their way")
    if queue.get("damaged"):
        yield warn(
            "queue",
            f"{queue['damaged']} damaged records were set aside",
            "look into larkd.log for journal.row_damaged; check the disk",
        )
    if queue.get("last_error"):
        yield warn(
            "journal",
            f"something could not be stored: {queue['last_error']}",
            "free space on the disk of the state directory; it goes on by itself",
        )


def _channel(status: Mapping[str, Any], reclaim: str) -> Finding:
    owner, target = status.get("owner_session_id"), status.get("effective_target_session_id")
    if target:
        return ok("channel", f"messages go to {target}")
    if owner:
        return warn(
            "channel",
            f"the owner {owner} is away; messages wait for it",
            f"start it again, or take the channel back: {reclaim}",
        )
    return warn(
        "channel", "no session receives messages", "start a session with LARKD_ROLE=dispatcher"
    )


def _sessions(status: Mapping[str, Any]) -> Iterator[Finding]:
    sessions = foreign.mappings(status.get("sessions"))
    quiet = True
    for one in sessions:
        alias = one.get("alias", "?")
        if one.get("unanswered"):
            quiet = False
            yield warn(
                f"session {alias}",
                f"{one['unanswered']} messages were written to it and not answered in 10 minutes",
                "is its client started with the channel enabled? With Claude Code: claude"
                " --dangerously-load-development-channels server:feishu",
            )
        if one.get("unresponsive"):
            quiet = False
            yield warn(
                f"session {alias}",
                "it has not ended a turn that was cancelled",
                "look at its agent; end it if it hangs",
            )
    if quiet:
        yield ok("sessions", f"{len(sessions)} live")


# ── the machine ──────────────────────────────────────────────────


def examine_disk(free_bytes: int) -> Finding:
    free = f"{free_bytes / 2**30:.1f} GiB free for the state directory"
    if free_bytes < FREE_BYTES_MIN:
        return fail("disk", free, "free some space: events can't be stored without it")
    if free_bytes < FREE_BYTES_WANTED:
        return warn("disk", free, "free some space")
    return ok("disk", free)


def examine_descriptors(limit: int) -> Finding:
    """*limit*: how many files and connections a process may have open; -1: any number."""
    if 0 <= limit < DESCRIPTORS_WANTED:
        return warn(
            "descriptors",
            f"a process may open {limit} files and connections",
            "raise the hard limit (ulimit -Hn, LimitNOFILE of a service) for many sessions",
        )
    return ok("descriptors", "enough may be opened")


def examine_clock(check: str, skew_s: float | None) -> Finding:
    """*skew_s*: by how much this clock is ahead of the platform's; None: not known."""
    if skew_s is None:
        return warn(check, "the platform's time is unknown", "look at the network")
    if abs(skew_s) > CLOCK_SKEW_S_MAX:
        return warn(
            check,
            f"this machine's clock is off by {abs(skew_s):.0f} s",
            "set the clock, with NTP for example",
        )
    return ok(check, f"within {max(1, round(abs(skew_s)))} s of the platform's")


def examine_certificate(key: str, file: str, until: str, left_days: float) -> Finding:
    """*until* is the day, as ``2026-12-31``, on which the certificate of *file* ends."""
    check, remedy = f"certificate {key}", "renew it; the new files are read without a restart"
    if left_days <= 0:
        return fail(check, f"{file} expired on {until}: clients refuse it", remedy)
    if left_days < CERTIFICATE_DAYS_WANTED:
        left = f"in {days} days" if (days := int(left_days)) > 1 else "within two days"
        return warn(check, f"{file} expires on {until}, {left}", remedy)
    return ok(check, f"{file} is valid until {until}")


# ── printing ────────────────────────────────────────────────────────────────


def as_text(findings: Iterable[Finding], *, verbose: bool) -> str:
    """Return a line for each finding; what is in order only where it was asked for."""
    findings = list(findings)
    lines: list[str] = []
    for one in findings:
        if one.state != "ok" or verbose:
            lines.append(f"{_MARKS[one.state]} {one.check}: {one.found}")
            if one.remedy:
                lines.append(f"     → {one.remedy}")
    in_order = sum(one.state == "ok" for one in findings)
    lines.append(f"{in_order} of {len(findings)} checks are in order")
    return "\n".join(lines)
