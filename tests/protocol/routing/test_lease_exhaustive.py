"""Every state the lease can reach, with every command tried in each of them.

Five ids in either role: with two chats that may be bound and at most two of them live
as dispatchers, then with one chat and any of them as dispatchers; both at once with
``LARKD_NIGHTLY=1``. Ids are interchangeable to the lease, and so are the numbers of
connections, the height of the epoch and the order in which plain sessions came (this
is tested too), so states that differ in those alone are one (``canonical``), and the
whole of what is left fits into a test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest

from protocol.ids import ConnectionId, PlaceKey, SessionId
from protocol.routing import channel_tools, lease, targets
from protocol.routing.channel_tools import ToolError
from protocol.routing.lease import LeaseState, OwnershipState, Session
from protocol.wire.vocabulary import Role

IDS: Final = tuple(SessionId(name) for name in "abcde")
CHATS: Final = (PlaceKey("oc_1"), PlaceKey("oc_2"))


class Scope(msgspec.Struct, frozen=True):
    """How far a search goes."""

    dispatchers_max: int
    chats: int
    states_min: int
    """Fewer would mean that the search has gone wrong."""


SCOPES: Final = (Scope(2, 2, 5_000), Scope(5, 1, 1_800))
NIGHTLY: Final = (Scope(5, 2, 9_800),) if os.environ.get("LARKD_NIGHTLY") == "1" else ()


TEXTS: Final = re.compile(
    r"Feishu channel acquire grant issued to (?P<granted>\w)\."
    r"|Feishu channel owner is now (?P<owner>\w) \((?P<role>\w+), epoch (?P<e1>\d+)\)\."
    r"|Feishu channel owner returned to dispatcher (?P<back>\w) \(epoch (?P<e2>\d+)\)\."
    r"|Feishu channel owner reclaimed by dispatcher (?P<by>\w) \(epoch (?P<e3>\d+)\)\."
)
REFUSALS: Final = re.compile(
    r"only the dispatcher may grant channel ownership"
    r"|session_id or match is required"
    r"|dispatcher already owns the default channel target"
    r"|only the dispatcher may assign channel ownership to another session"
    r"|channel ownership was not granted by the dispatcher"
    r"|only the current owner may return the channel to dispatcher"
    r"|no live dispatcher channel proxy is registered"
    r"|only the dispatcher may reclaim channel ownership"
    r"|pass only one of session_id / match"
    r"|session_id must be a non-empty string"
    r"|no live channel proxy session: \w+"
    r"|match must be a non-empty object whose values are all strings"
    r'|no live channel proxy matching: \{"(name|team)":"\w+"\}'
    r'|ambiguous match: \{"team":"red"\}; candidates: \w(, \w)+; pass session_id to disambiguate'
)
"""Ids are single letters here, so that a text can be taken apart again."""

MALFORMED: Final[tuple[dict[str, Any], ...]] = (
    {"session_id": "a", "match": {"name": "a"}},
    {"session_id": ""},
    {"session_id": None},
    {"match": {}},
    {"match": {"name": 1}},
)
SELECTORS: Final[tuple[dict[str, Any], ...]] = (
    {},
    *({"session_id": name} for name in IDS),
    *({"match": {"name": name}} for name in IDS),
    {"match": {"name": "nobody"}},
    {"match": {"team": "red"}},
    *MALFORMED,
)
BRIEF_SELECTORS: Final[tuple[dict[str, Any], ...]] = (
    SELECTORS
    if NIGHTLY
    else (
        {},
        *({"session_id": name} for name in IDS),
        {"match": {"team": "red"}},
        {"match": {}},
    )
)
"""Each way to select once: whom one of them names does not depend on who asks."""


def newcomer(state: OwnershipState, name: SessionId, role: Role) -> Session:
    """Make a session of *name* on a connection that is not the one it has now."""
    live = state.sessions.get(name)
    first = ConnectionId(IDS.index(name) * 2 + 1)
    connection = ConnectionId(first + 1) if live and live.connection_id == first else first
    return SESSIONS[name, role, connection]


SESSIONS: Final = {
    (name, role, ConnectionId(connection)): Session(
        session_id=name,
        connection_id=ConnectionId(connection),
        role=role,
        alias=name,
        pid=1,
        proxy_version="1",
        metadata={"name": name, "team": "red"},
        capabilities=(),
        connected_at_ms=0,
    )
    for number, name in enumerate(IDS)
    for role in ("dispatcher", "session")
    for connection in (number * 2 + 1, number * 2 + 2)
}


OPERATOR: Final = msgspec.structs.replace(
    SESSIONS[IDS[0], "dispatcher", ConnectionId(1)], session_id=SessionId("operator:1")
)
"""Somebody at the command line: has the dispatcher's rights and is on no roster."""


def dispatchers(state: OwnershipState) -> list[SessionId]:
    """Return the ids live as dispatchers, the latest registered last."""
    return [one.session_id for one in state.sessions.values() if one.role == "dispatcher"]


def canonical(state: OwnershipState) -> tuple[object, ...]:
    """Name the ids by their first appearance, so that states alike become one."""
    held = state.lease
    in_office = dispatchers(state)
    bound = [held.bindings.get(chat) for chat in CHATS]
    names: dict[SessionId | None, int] = {None: 0}
    for name in (held.owner, held.dispatcher, held.granted, *bound, *in_office):
        names.setdefault(name, len(names))
    numbers = [names[name] for name in (held.owner, held.dispatcher, held.granted, *bound)]
    live = [name in state.sessions for name in names if name is not None]
    strangers = sum(name not in names for name in state.sessions)
    return (*numbers, *live, strangers, *(names[name] for name in in_office))


# ── every state, every command ──────────────────────────────────────────────


@pytest.fixture(scope="module", params=SCOPES + NIGHTLY, ids=str)
def scope(request: pytest.FixtureRequest) -> Scope:
    found: Scope = request.param
    return found


@pytest.fixture(scope="module")
def states(scope: Scope) -> list[OwnershipState]:
    """Every state there is, found breadth-first; each change is checked on the way."""
    met = {canonical(OwnershipState())}
    found = [OwnershipState()]
    for state in found:
        as_found = canonical(state)
        for after in transitions(state, scope):
            key = canonical(after)
            if key not in met:
                met.add(key)
                found.append(after)
        assert canonical(state) == as_found, "what was refused has changed something"
    return found


def transitions(state: OwnershipState, scope: Scope) -> Iterator[OwnershipState]:
    yield from registrations(state, scope.dispatchers_max)
    yield from departures(state)
    yield from bindings(state, CHATS[: scope.chats])
    yield from tools(state)


def test_every_state_keeps_the_rules_of_ownership(states: list[OwnershipState]) -> None:
    for state in states:
        check_state(state)


def test_the_search_meets_what_it_is_meant_to_meet(
    states: list[OwnershipState], scope: Scope
) -> None:
    """Or the rest would prove nothing."""
    assert len(states) >= scope.states_min
    assert any(not one.sessions and one.lease.owner for one in states)
    assert any(one.lease.granted == one.lease.owner is not None for one in states)
    assert any(one.lease.granted in dispatchers(one) for one in states)
    assert max(len(one.lease.bindings) for one in states) == scope.chats
    assert max(len(dispatchers(one)) for one in states) == scope.dispatchers_max
    assert any(len(one.sessions) == len(IDS) for one in states)
    assert any(
        one.lease.dispatcher in one.sessions and lease.live_dispatcher(one) is None
        for one in states
    )


def test_the_order_in_which_plain_sessions_came_decides_nothing(
    states: list[OwnershipState], scope: Scope
) -> None:
    for state in states[:: 1 if NIGHTLY else 9]:
        if len(state.sessions) - len(dispatchers(state)) < 2:
            continue
        turned = dict(reversed(list(state.sessions.items())))
        turned |= {name: turned.pop(name) for name in dispatchers(state)}
        other = OwnershipState(lease=state.lease, sessions=turned)
        assert [one.lease for one in transitions(other, scope)] == [
            one.lease for one in transitions(state, scope)
        ]


# ── what a state may be ─────────────────────────────────────────────────────


def check_state(state: OwnershipState) -> None:
    held, live = state.lease, state.sessions
    target = targets.effective_target(state)
    assert target == (held.owner if held.owner in live else None)
    assert (held.owner is None) == (held.epoch == 0)
    if held.owner is None:
        assert held.dispatcher is None, "a dispatcher would own what nobody owns"
    if dispatchers(state):
        assert held.dispatcher in dispatchers(state), "the current one is live if any is"
    for chat in CHATS:
        bound = held.bindings.get(chat)
        wanted = target if bound is None else bound if bound in live else None
        assert targets.target_of(state, chat) == wanted
    shown = channel_tools.describe(state)
    assert shown["effective_target_session_id"] == target
    assert [one["sessionId"] for one in shown["sessions"]] == list(live)


# ── what each command may do ────────────────────────────────────────────────


def check_change(before: LeaseState, after: LeaseState) -> None:
    """Check what holds of every change, whatever it came from."""
    assert after.epoch == before.epoch + (after.owner != before.owner)
    if after.owner != before.owner:
        assert after.owner is not None
        assert after.granted is None


def registrations(state: OwnershipState, dispatchers_max: int) -> Iterator[OwnershipState]:
    before = state.lease
    for name in IDS:
        for role in ("dispatcher", "session"):
            others = [one for one in dispatchers(state) if one != name]
            if role == "dispatcher" and len(others) >= dispatchers_max:
                continue
            session = newcomer(state, name, role)
            after, replaced = lease.register(state, session)
            check_change(before, after.lease)
            assert replaced is state.sessions.get(name)
            assert list(after.sessions) == [one for one in state.sessions if one != name] + [name]
            assert after.lease.bindings == before.bindings
            if role == "session":
                follows = others[-1] if name == before.dispatcher and others else before.dispatcher
                assert after.lease == msgspec.structs.replace(before, dispatcher=follows)
            else:
                takes = before.owner is None or before.owner == before.dispatcher
                assert after.lease.dispatcher == name
                assert after.lease.owner == (name if takes else before.owner)
                if after.lease.owner == before.owner:
                    assert after.lease.granted == before.granted, "a grant outlives reconnects"
            yield after


def departures(state: OwnershipState) -> Iterator[OwnershipState]:
    before = state.lease
    for name in sorted(state.sessions):
        session = state.sessions[name]
        stale = newcomer(state, name, session.role).connection_id
        assert lease.disconnect(state, stale) == (state, None)
        after, gone = lease.disconnect(state, session.connection_id)
        assert gone is session
        assert list(after.sessions) == [one for one in state.sessions if one != name]
        left = dispatchers(after)
        follows = left[-1] if name == before.dispatcher and left else before.dispatcher
        assert after.lease == msgspec.structs.replace(before, dispatcher=follows)
        yield after


def bindings(state: OwnershipState, chats: tuple[PlaceKey, ...]) -> Iterator[OwnershipState]:
    for chat in chats:
        for name in (None, *IDS):
            after = lease.bind(state, chat, name)
            wanted = {key: value for key, value in state.lease.bindings.items() if key != chat}
            if name is not None:
                wanted[chat] = name
            assert after == OwnershipState(
                lease=msgspec.structs.replace(state.lease, bindings=wanted),
                sessions=state.sessions,
            )
            yield after


def tools(state: OwnershipState) -> Iterator[OwnershipState]:
    live = sorted(state.sessions.values(), key=lambda one: one.session_id)
    for caller in (*live, OPERATOR):
        for args in SELECTORS if caller is OPERATOR else BRIEF_SELECTORS:
            yield from called(state, caller, channel_tools.GRANT, args, check_grant)
            yield from called(state, caller, channel_tools.ACQUIRE, args, check_acquire)
        yield from called(state, caller, channel_tools.RETURN, {}, check_return)
        yield from called(state, caller, channel_tools.RECLAIM, {}, check_reclaim)
        yield from called(state, caller, channel_tools.RECLAIM, {"chats": True}, check_reclaim)


Check = Callable[[OwnershipState, Session, dict[str, Any], LeaseState, "re.Match[str]"], None]


def called(
    state: OwnershipState, caller: Session, tool: str, args: dict[str, Any], check: Check
) -> Iterator[OwnershipState]:
    allowed = may(state, caller, tool, args)
    try:
        after, text = channel_tools.call_tool(state, caller, tool, args)
    except ToolError as refused:
        if allowed or not REFUSALS.fullmatch(str(refused)):
            raise
        return
    assert allowed, text
    found = TEXTS.fullmatch(text)
    assert found, text
    assert after.sessions is state.sessions
    check_change(state.lease, after.lease)
    check(state, caller, args, after.lease, found)
    yield after


def selected(state: OwnershipState, args: dict[str, Any]) -> SessionId | None:
    """Return the live session that a well-formed selector names."""
    if args in MALFORMED:
        return None
    name = args.get("session_id") or args.get("match", {}).get("name")
    if "team" in args.get("match", {}):
        name = next(iter(state.sessions)) if len(state.sessions) == 1 else None
    return SessionId(name) if name in state.sessions else None


def may(state: OwnershipState, caller: Session, tool: str, args: dict[str, Any]) -> bool:
    held, me = state.lease, caller.session_id
    boss = caller.role == "dispatcher"
    somebody_in_office = bool(dispatchers(state))
    target = selected(state, args) if args else me if caller is not OPERATOR else None
    match tool:
        case channel_tools.GRANT:
            return bool(boss and args and target and state.sessions[target].role == "session")
        case channel_tools.ACQUIRE:
            return target is not None and (boss or target == me in (held.granted, held.owner))
        case channel_tools.RETURN:
            return (boss or me == held.owner) and somebody_in_office
        case _:
            return boss and somebody_in_office


def check_grant(
    state: OwnershipState, _: Session, args: dict[str, Any], after: LeaseState, found: re.Match[str]
) -> None:
    target = selected(state, args)
    assert found["granted"] == target
    assert after == msgspec.structs.replace(state.lease, granted=target)


def check_acquire(
    state: OwnershipState,
    caller: Session,
    args: dict[str, Any],
    after: LeaseState,
    found: re.Match[str],
) -> None:
    before = state.lease
    target = selected(state, args) if args else caller.session_id
    assert target is not None
    assert (found["owner"], found["role"]) == (target, state.sessions[target].role)
    assert int(found["e1"]) == after.epoch
    spent = target == before.granted or target != before.owner
    assert after == msgspec.structs.replace(
        before, owner=target, epoch=after.epoch, granted=None if spent else before.granted
    )


def check_return(
    state: OwnershipState,
    _: Session,
    _args: dict[str, Any],
    after: LeaseState,
    found: re.Match[str],
) -> None:
    assert (found["back"], int(found["e2"])) == (state.lease.dispatcher, after.epoch)
    assert after == msgspec.structs.replace(
        state.lease, owner=state.lease.dispatcher, granted=None, epoch=after.epoch
    )


def check_reclaim(
    state: OwnershipState, _: Session, args: dict[str, Any], after: LeaseState, found: re.Match[str]
) -> None:
    assert (found["by"], int(found["e3"])) == (state.lease.dispatcher, after.epoch)
    assert after == msgspec.structs.replace(
        state.lease,
        owner=state.lease.dispatcher,
        granted=None,
        epoch=after.epoch,
        bindings={} if args else state.lease.bindings,
    )
