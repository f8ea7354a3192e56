"""Ownership, rule by rule and string by string, as ``protocol/routing`` decides it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.ids import ConnectionId, PlaceKey, SessionId
from protocol.routing import channel_tools, lease, targets
from protocol.routing.channel_tools import ToolError
from protocol.routing.lease import LeaseState, OwnershipState, Session
from protocol.wire.vocabulary import Role


class Setup:
    """A state with the sessions that were let in, driven by name."""

    def __init__(self) -> None:
        self.state = OwnershipState()
        self._connections = 0

    def join(self, name: str, role: Role = "session", **metadata: str) -> Session:
        self._connections += 1
        taken = [one.alias for one in self.state.sessions.values() if one.session_id != name]
        session = Session(
            session_id=SessionId(name),
            connection_id=ConnectionId(self._connections),
            role=role,
            alias=lease.choose_alias(SessionId(name), metadata, taken),
            pid=1,
            proxy_version="1",
            metadata=metadata,
            capabilities=(),
            connected_at_ms=0,
        )
        self.state, _ = lease.register(self.state, session)
        return session

    def leave(self, name: str) -> None:
        connection_id = self.state.sessions[SessionId(name)].connection_id
        self.state, _ = lease.disconnect(self.state, connection_id)

    def call(self, caller: str, tool: str, **args: Any) -> str:
        session = self.state.sessions[SessionId(caller)]
        self.state, text = channel_tools.call_tool(
            self.state, session, f"feishu_channel_{tool}", args
        )
        return text

    @property
    def owner(self) -> str | None:
        return self.state.lease.owner

    @property
    def epoch(self) -> int:
        return self.state.lease.epoch


@pytest.fixture
def setup() -> Setup:
    return Setup()


def test_a_dispatcher_owns_the_channel_nobody_owns(setup: Setup) -> None:
    setup.join("teammate")
    assert (setup.owner, setup.epoch) == (None, 0)
    setup.join("boss", "dispatcher")
    assert (setup.owner, setup.epoch) == ("boss", 1)
    assert targets.effective_target(setup.state) == "boss"


def test_the_same_dispatcher_registering_again_changes_no_epoch(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("boss", "dispatcher")
    assert (setup.owner, setup.epoch) == ("boss", 1)
    assert len(setup.state.sessions) == 1


def test_a_second_dispatcher_takes_over_and_the_first_can_reclaim(setup: Setup) -> None:
    setup.join("first", "dispatcher")
    setup.join("second", "dispatcher")
    assert (setup.owner, setup.epoch) == ("second", 2)
    setup.leave("second")
    assert setup.state.lease.dispatcher == "first"
    assert (setup.owner, setup.epoch) == ("second", 2)
    assert targets.effective_target(setup.state) is None
    text = setup.call("first", "reclaim")
    assert text == "Feishu channel owner reclaimed by dispatcher first (epoch 3)."


def test_a_teammate_who_owns_stays_owner_when_a_dispatcher_registers(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.call("boss", "acquire", session_id="mate")
    setup.join("boss", "dispatcher")
    assert (setup.owner, setup.epoch) == ("mate", 2)
    assert setup.state.lease.dispatcher == "boss"


def test_the_owner_offline_is_nobodys_turn(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.call("boss", "acquire", session_id="mate")
    setup.leave("mate")
    assert setup.owner == "mate"
    assert targets.effective_target(setup.state) is None
    setup.join("mate")
    assert targets.effective_target(setup.state) == "mate"
    assert setup.epoch == 2


def test_who_owns_the_channel_already_uses_up_its_grant(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.call("boss", "acquire", session_id="mate")
    setup.call("boss", "grant", session_id="mate")
    assert setup.call("mate", "acquire") == "Feishu channel owner is now mate (session, epoch 2)."
    assert setup.state.lease.granted is None


def test_a_grant_lets_its_target_acquire_once(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    assert (
        setup.call("boss", "grant", session_id="mate")
        == "Feishu channel acquire grant issued to mate."
    )
    assert setup.call("mate", "acquire") == "Feishu channel owner is now mate (session, epoch 2)."
    assert setup.state.lease.granted is None
    assert (
        setup.call("mate", "return_to_dispatcher")
        == "Feishu channel owner returned to dispatcher boss (epoch 3)."
    )
    with pytest.raises(ToolError, match=r"^channel ownership was not granted by the dispatcher$"):
        setup.call("mate", "acquire")


def test_a_new_grant_overwrites_the_old(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("a")
    setup.join("b")
    setup.call("boss", "grant", session_id="a")
    setup.call("boss", "grant", session_id="b")
    with pytest.raises(ToolError):
        setup.call("a", "acquire")
    assert setup.call("b", "acquire").startswith("Feishu channel owner is now b")


def test_any_change_of_owner_clears_the_grant(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("t")
    setup.join("u")
    setup.call("boss", "grant", session_id="t")
    setup.call("boss", "acquire", session_id="u")
    assert setup.state.lease.granted is None


def test_a_grant_outlives_a_reconnect_of_its_target(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.call("boss", "grant", session_id="mate")
    setup.leave("mate")
    setup.join("mate")
    assert setup.call("mate", "acquire") == "Feishu channel owner is now mate (session, epoch 2)."


def test_the_owner_acquiring_again_succeeds_and_changes_nothing(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.call("boss", "acquire", session_id="mate")
    before = setup.state
    assert setup.call("mate", "acquire") == "Feishu channel owner is now mate (session, epoch 2)."
    assert setup.state == before


def test_reclaim_by_the_owner_keeps_the_epoch_and_can_end_bindings(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.state = lease.bind(setup.state, PlaceKey("oc_1"), SessionId("mate"))
    assert targets.target_of(setup.state, PlaceKey("oc_1")) == "mate"
    setup.call("boss", "reclaim")
    assert targets.target_of(setup.state, PlaceKey("oc_1")) == "mate"
    text = setup.call("boss", "reclaim", chats=True)
    assert text == "Feishu channel owner reclaimed by dispatcher boss (epoch 1)."
    assert targets.target_of(setup.state, PlaceKey("oc_1")) == "boss"


def test_a_bound_chat_waits_for_its_session(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.state = lease.bind(setup.state, PlaceKey("oc_1"), SessionId("mate"))
    setup.leave("mate")
    assert targets.target_of(setup.state, PlaceKey("oc_1")) is None
    assert targets.target_of(setup.state, PlaceKey("oc_2")) == "boss"


def test_return_with_the_dispatcher_offline_changes_nothing(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.call("boss", "acquire", session_id="mate")
    setup.leave("boss")
    before = setup.state
    with pytest.raises(ToolError, match=r"^no live dispatcher channel proxy is registered$"):
        setup.call("mate", "return_to_dispatcher")
    assert setup.state == before


def test_after_a_restart_a_live_dispatcher_can_reclaim_from_a_dead_one(setup: Setup) -> None:
    setup.state = OwnershipState(
        lease=LeaseState(owner=SessionId("mate"), dispatcher=SessionId("old"), epoch=7)
    )
    setup.join("new", "dispatcher")
    assert setup.owner == "mate"
    assert (
        setup.call("new", "reclaim")
        == "Feishu channel owner reclaimed by dispatcher new (epoch 8)."
    )
    assert (setup.owner, setup.state.lease.dispatcher) == ("new", "new")


def test_a_live_dispatcher_the_lease_does_not_name_reclaims_and_is_named(setup: Setup) -> None:
    """The lease names one who left while nothing could be stored."""
    setup.join("boss", "dispatcher")
    setup.join("mate")
    setup.call("boss", "acquire", session_id="mate")
    gone = msgspec.structs.replace(setup.state.lease, dispatcher=SessionId("gone"))
    setup.state = lease.with_lease(setup.state, gone)
    assert (
        setup.call("boss", "reclaim")
        == "Feishu channel owner reclaimed by dispatcher boss (epoch 3)."
    )
    assert (setup.owner, setup.state.lease.dispatcher) == ("boss", "boss")


def test_a_dispatcher_who_reclaims_gives_the_channel_to_the_live_one_the_lease_names(
    setup: Setup,
) -> None:
    setup.join("boss", "dispatcher")
    setup.join("deputy", "dispatcher")
    assert (
        setup.call("boss", "reclaim")
        == "Feishu channel owner reclaimed by dispatcher deputy (epoch 2)."
    )
    assert (setup.owner, setup.state.lease.dispatcher) == ("deputy", "deputy")


REFUSALS = [
    ("mate", "grant", {"session_id": "boss"}, "only the dispatcher may grant channel ownership"),
    ("boss", "grant", {}, "session_id or match is required"),
    (
        "boss",
        "grant",
        {"session_id": "boss"},
        "dispatcher already owns the default channel target",
    ),
    (
        "boss",
        "grant",
        {"session_id": "a", "match": {"k": "v"}},
        "pass only one of session_id / match",
    ),
    ("boss", "grant", {"session_id": ""}, "session_id must be a non-empty string"),
    ("boss", "acquire", {"session_id": 5}, "session_id must be a non-empty string"),
    ("boss", "acquire", {"session_id": "ghost"}, "no live channel proxy session: ghost"),
    (
        "boss",
        "acquire",
        {"match": {}},
        "match must be a non-empty object whose values are all strings",
    ),
    (
        "boss",
        "acquire",
        {"match": {"teammate_name": 1}},
        "match must be a non-empty object whose values are all strings",
    ),
    (
        "boss",
        "acquire",
        {"match": "mate"},
        "match must be a non-empty object whose values are all strings",
    ),
    (
        "boss",
        "acquire",
        {"match": {"teammate_name": "无"}},
        'no live channel proxy matching: {"teammate_name":"无"}',
    ),
    (
        "boss",
        "acquire",
        {"match": {"team": "red"}},
        'ambiguous match: {"team":"red"}; candidates: mate, other; pass session_id to disambiguate',
    ),
    (
        "mate",
        "acquire",
        {"session_id": "other"},
        "only the dispatcher may assign channel ownership to another session",
    ),
    ("mate", "acquire", {}, "channel ownership was not granted by the dispatcher"),
    (
        "mate",
        "return_to_dispatcher",
        {},
        "only the current owner may return the channel to dispatcher",
    ),
    ("mate", "reclaim", {}, "only the dispatcher may reclaim channel ownership"),
    ("boss", "dance", {}, "Unknown tool: feishu_channel_dance"),
]


@pytest.mark.parametrize(("caller", "tool", "args", "text"), REFUSALS)
def test_a_refusal_names_why_and_changes_nothing(
    setup: Setup, caller: str, tool: str, args: dict[str, Any], text: str
) -> None:
    setup.join("boss", "dispatcher")
    setup.join("mate", team="red", teammate_name="mate")
    setup.join("other", team="red", teammate_name="other")
    before = setup.state
    with pytest.raises(ToolError) as refused:
        setup.call(caller, tool, **args)
    assert str(refused.value) == text
    assert setup.state == before


def test_match_needs_every_key_and_ignores_the_rest(setup: Setup) -> None:
    setup.join("boss", "dispatcher")
    setup.join("a", team="red", teammate_name="Ann")
    setup.join("b", team="red", teammate_name="Bob", cwd="/x")
    text = setup.call("boss", "acquire", match={"team": "red", "teammate_name": "Bob"})
    assert text == "Feishu channel owner is now b (session, epoch 2)."


@pytest.mark.parametrize(
    ("metadata", "alias"),
    [
        ({"alias": "Front End"}, "front-end"),
        ({"teammate_name": "Zoë"}, "zoë"),
        ({"alias": "前端 小组"}, "前端-小组"),
        ({"alias": "Straße №7 (٣)"}, "strasse-7-٣-"),
        ({"alias": "हिन्दी"}, "हिन्दी"),
        ({"alias": "e\u0301te\u0301"}, "été"),
        ({"alias": "a<at>b\n\u202ec"}, "a-at-b-c"),
        ({"alias": "x" * 100}, "x" * 64),
        ({"cwd": "/home/ann/Api.Server/"}, "api.server"),
        ({"alias": "", "cwd": "/"}, "sess:1"),
        ({}, "sess:1"),
    ],
)
def test_an_alias_comes_from_what_people_know(metadata: dict[str, str], alias: str) -> None:
    expected = alias.replace(":", "-")
    assert lease.choose_alias(SessionId("sess:1"), metadata, ()) == expected


def test_aliases_are_unique_among_the_living() -> None:
    chosen: list[str] = []
    for number in range(3):
        chosen.append(lease.choose_alias(SessionId(f"s{number}"), {"alias": "api"}, chosen))
    assert chosen == ["api", "api-2", "api-3"]
    long = "长" * 64
    assert lease.choose_alias(SessionId("s"), {"alias": long}, [long]) == "长" * 62 + "-2"


def test_status_names_what_each_proxy_is(setup: Setup) -> None:
    setup.join("boss", "dispatcher", cwd="/w")
    (shown,) = channel_tools.describe(setup.state)["sessions"]
    assert (shown["proxyVersion"], shown["pid"], shown["metadata"]) == ("1", 1, {"cwd": "/w"})
