"""The lease against a naive model of itself, written from the contract page alone.

The model is a list of live sessions and five variables. It shares no code with
``protocol.routing.lease``; its checks stand in the order in which the page gives them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.ids import ConnectionId, PlaceKey, SessionId
from protocol.routing import channel_tools, lease, targets
from protocol.routing.channel_tools import ToolError
from protocol.routing.lease import OwnershipState, Session
from protocol.wire.vocabulary import Role
from tests.kit.sizes import examples

Map = dict[str, Any]

NAMES = st.sampled_from(("a", "b", "c", "d"))
ROLES = st.sampled_from(("dispatcher", "session"))
WHO = st.integers(0, 11)
"""One of the live sessions, counted round."""
CHATS = st.sampled_from(("oc_1", "oc_2"))
METADATA = st.dictionaries(
    st.sampled_from(("teammate_name", "cwd", "team")),
    st.sampled_from(("Ann", "Bob", "ann", "/src/api", '"无"')),
    max_size=3,
)
SESSION_ID = st.fixed_dictionaries({"session_id": st.one_of(NAMES, NAMES, st.just("ghost"))})
MATCH = st.fixed_dictionaries({"match": METADATA.filter(bool)})
MALFORMED = st.sampled_from(
    (
        {"session_id": ""},
        {"session_id": None},
        {"session_id": ["a"]},
        {"session_id": "a", "match": {"team": "Ann"}},
        {"session_id": None, "match": None},
        {"match": {}},
        {"match": None},
        {"match": "Ann"},
        {"match": ["team", "Ann"]},
        {"match": {"team": None}},
        {"match": {"team": "Ann", "cwd": 7}},
        {"match": {1: "Ann"}},
    )
)
SELECTORS = st.one_of(st.just({}), SESSION_ID, SESSION_ID, SESSION_ID, MATCH, MATCH, MALFORMED)
CHATS_TOO = st.sampled_from(({}, {}, {"chats": True}, {"chats": False}, {"chats": "yes"}))


class Refused(Exception):
    pass


class Model:
    """Ownership as the page states it."""

    def __init__(self) -> None:
        self.live: list[Map] = []
        self.owner: str | None = None
        self.dispatcher: str | None = None
        self.granted: str | None = None
        self.epoch = 0
        self.bindings: dict[str, str] = {}

    def find(self, name: str | None) -> Map | None:
        return next((one for one in self.live if one["id"] == name), None)

    def live_dispatcher(self) -> Map | None:
        found = self.find(self.dispatcher)
        return found if found and found["role"] == "dispatcher" else None

    def set_owner(self, name: str) -> None:
        if name != self.owner:
            self.owner, self.granted, self.epoch = name, None, self.epoch + 1

    def next_dispatcher(self) -> None:
        for one in self.live:  # the latest registered is the last
            if one["role"] == "dispatcher":
                self.dispatcher = one["id"]

    def register(self, name: str, role: str, metadata: Map) -> None:
        self.live = [one for one in self.live if one["id"] != name]
        self.live.append({"id": name, "role": role, "metadata": metadata})
        if role == "dispatcher":
            previous, self.dispatcher = self.dispatcher, name
            if self.owner is None or self.owner == previous:
                self.set_owner(name)
        elif self.dispatcher == name:
            self.next_dispatcher()

    def disconnect(self, name: str) -> None:
        self.live = [one for one in self.live if one["id"] != name]
        if self.dispatcher == name:
            self.next_dispatcher()

    def restart(self) -> None:
        self.live = []

    def target(self) -> str | None:
        found = self.live_dispatcher() if self.owner is None else self.find(self.owner)
        return found["id"] if found else None

    def target_of(self, chat: str) -> str | None:
        if chat not in self.bindings:
            return self.target()
        found = self.find(self.bindings[chat])
        return found["id"] if found else None

    # ── tools ───────────────────────────────────────────────────────────────

    def select(self, args: Map) -> Map | None:
        if "session_id" in args and "match" in args:
            raise Refused("pass only one of session_id / match")
        if "session_id" in args:
            name = args["session_id"]
            if type(name) is not str or name == "":
                raise Refused("session_id must be a non-empty string")
            if self.find(name) is None:
                raise Refused(f"no live channel proxy session: {name}")
            return self.find(name)
        if "match" not in args:
            return None
        match = args["match"]
        if (
            type(match) is not dict
            or match == {}
            or [pair for pair in match.items() if [type(part) for part in pair] != [str, str]]
        ):
            raise Refused("match must be a non-empty object whose values are all strings")
        shown = json.dumps(match, ensure_ascii=False, separators=(",", ":"))
        found = [one for one in self.live if one["metadata"] | match == one["metadata"]]
        if found == []:
            raise Refused(f"no live channel proxy matching: {shown}")
        if len(found) > 1:
            names = ", ".join(one["id"] for one in found)
            raise Refused(
                f"ambiguous match: {shown}; candidates: {names}; pass session_id to disambiguate"
            )
        return found[0]

    def grant(self, caller: Map, args: Map) -> str:
        if caller["role"] != "dispatcher":
            raise Refused("only the dispatcher may grant channel ownership")
        target = self.select(args)
        if target is None:
            raise Refused("session_id or match is required")
        if target["role"] == "dispatcher":
            raise Refused("dispatcher already owns the default channel target")
        self.granted = target["id"]
        return f"Feishu channel acquire grant issued to {target['id']}."

    def acquire(self, caller: Map, args: Map) -> str:
        target = self.select(args) or caller
        if caller["role"] != "dispatcher" and target is not caller:
            raise Refused("only the dispatcher may assign channel ownership to another session")
        if caller["role"] != "dispatcher" and caller["id"] not in (self.granted, self.owner):
            raise Refused("channel ownership was not granted by the dispatcher")
        self.set_owner(target["id"])
        if self.granted == target["id"]:
            self.granted = None
        return f"Feishu channel owner is now {target['id']} ({target['role']}, epoch {self.epoch})."

    def return_to_dispatcher(self, caller: Map, _args: Map) -> str:
        if caller["role"] != "dispatcher" and caller["id"] != self.owner:
            raise Refused("only the current owner may return the channel to dispatcher")
        return self.back_to_dispatcher("returned to")

    def reclaim(self, caller: Map, args: Map) -> str:
        if caller["role"] != "dispatcher":
            raise Refused("only the dispatcher may reclaim channel ownership")
        if self.live_dispatcher() is None:
            self.dispatcher = caller["id"]
        text = self.back_to_dispatcher("reclaimed by")
        if args.get("chats") is True:
            self.bindings = {}
        return text

    def back_to_dispatcher(self, how: str) -> str:
        found = self.live_dispatcher()
        if found is None:
            raise Refused("no live dispatcher channel proxy is registered")
        self.set_owner(found["id"])
        self.granted = None
        return f"Feishu channel owner {how} dispatcher {found['id']} (epoch {self.epoch})."


FIRST: tuple[tuple[str, Role], ...] = (("a", "dispatcher"), ("b", "session"), ("c", "session"))
somebody_is_live = precondition(lambda self: self.model.live)
every_session_is_live = precondition(lambda self: len(self.model.live) > 2)
"""Or the roster would be empty most of the time."""


class LeaseAgainstModel(RuleBasedStateMachine):
    @initialize()
    def a_dispatcher_and_two_more(self) -> None:
        self.state = OwnershipState()
        self.model = Model()
        self.connections = 0
        for name, role in FIRST:
            self.register(name, role, {"team": "Ann"})

    def live(self, who: int) -> Map:
        return self.model.live[who % len(self.model.live)]

    def connection(self, name: str) -> ConnectionId:
        return self.state.sessions[SessionId(name)].connection_id

    @rule(name=NAMES, role=ROLES, metadata=METADATA)
    def register(self, name: str, role: Role, metadata: dict[str, str]) -> None:
        self.connections += 1
        older = self.state.sessions.get(SessionId(name))
        taken = [one.alias for one in self.state.sessions.values() if one is not older]
        session = Session(
            session_id=SessionId(name),
            connection_id=ConnectionId(self.connections),
            role=role,
            alias=lease.choose_alias(SessionId(name), metadata, taken),
            pid=self.connections,
            proxy_version="1",
            metadata=metadata,
            capabilities=(),
            connected_at_ms=self.connections,
        )
        self.state, replaced = lease.register(self.state, session)
        assert replaced is older
        self.model.register(name, role, metadata)

    @every_session_is_live
    @rule(who=WHO, stored=st.sampled_from((True, True, False)))
    def disconnect(self, who: int, stored: bool) -> None:
        """When the journal fails, the roster moves on all the same."""
        name = self.live(who)["id"]
        after, gone = lease.disconnect(self.state, self.connection(name))
        assert gone is not None
        assert gone.session_id == name
        if stored:
            self.state = after
            self.model.disconnect(name)
        else:
            self.state = OwnershipState(lease=self.state.lease, sessions=after.sessions)
            self.model.live.remove(self.live(who))

    @somebody_is_live
    @rule(who=WHO, role=ROLES)
    def a_replaced_connection_ends(self, who: int, role: Role) -> None:
        name = self.live(who)["id"]
        older = self.connection(name)
        self.register(name, role, {})
        assert lease.disconnect(self.state, older) == (self.state, None)

    @every_session_is_live
    @rule()
    def restart(self) -> None:
        self.state = OwnershipState(lease=self.state.lease)
        self.model.restart()

    @rule(chat=CHATS, name=st.none() | NAMES)
    def bind(self, chat: str, name: str | None) -> None:
        self.state = lease.bind(
            self.state, PlaceKey(chat), None if name is None else SessionId(name)
        )
        self.model.bindings.pop(chat, None)
        if name is not None:
            self.model.bindings[chat] = name

    @somebody_is_live
    @rule(who=WHO, selector=SELECTORS)
    def grant(self, who: int, selector: Map) -> None:
        self.call(who, "grant", selector)

    @somebody_is_live
    @rule(who=WHO, selector=SELECTORS)
    def acquire(self, who: int, selector: Map) -> None:
        self.call(who, "acquire", selector)

    @somebody_is_live
    @rule(who=WHO, whom=WHO)
    def grant_to_somebody_live(self, who: int, whom: int) -> None:
        self.call(who, "grant", {"session_id": self.live(whom)["id"]})

    @somebody_is_live
    @rule(who=WHO, whom=WHO)
    def acquire_for_somebody_live(self, who: int, whom: int) -> None:
        self.call(who, "acquire", {"session_id": self.live(whom)["id"]})

    @somebody_is_live
    @rule(who=WHO)
    def acquire_for_itself(self, who: int) -> None:
        self.call(who, "acquire", {})

    @somebody_is_live
    @rule(who=WHO)
    def return_to_dispatcher(self, who: int) -> None:
        self.call(who, "return_to_dispatcher", {})

    @somebody_is_live
    @rule(who=WHO, args=CHATS_TOO)
    def reclaim(self, who: int, args: Map) -> None:
        self.call(who, "reclaim", args)

    def call(self, who: int, tool: str, args: Map) -> None:
        before = self.state
        model_caller = self.live(who)
        session = before.sessions[SessionId(model_caller["id"])]
        expected = refusal = answered = None
        try:
            expected = getattr(self.model, tool)(model_caller, args)
        except Refused as refused:
            refusal = str(refused)
        try:
            self.state, answered = channel_tools.call_tool(
                before, session, f"feishu_channel_{tool}", args
            )
        except ToolError as refused:
            answered = str(refused)
            assert self.state is before
        assert answered == (expected if refusal is None else refusal)

    @invariant()
    def the_lease_is_as_the_model_has_it(self) -> None:
        if not hasattr(self, "model"):
            return
        answered = channel_tools.describe(self.state)
        assert (
            answered["owner_session_id"],
            answered["dispatcher_session_id"],
            answered["granted_session_id"],
            answered["effective_target_session_id"],
            answered["lease_epoch"],
            answered["bindings"],
        ) == (
            self.model.owner,
            self.model.dispatcher,
            self.model.granted,
            self.model.target(),
            self.model.epoch,
            self.model.bindings,
        )
        assert [
            {"id": one["sessionId"], "role": one["role"], "metadata": one["metadata"]}
            for one in answered["sessions"]
        ] == self.model.live
        aliases = [one["alias"] for one in answered["sessions"]]
        assert len(set(aliases)) == len(aliases)
        for chat in ("oc_1", "oc_2"):
            assert targets.target_of(self.state, PlaceKey(chat)) == self.model.target_of(chat)


TestLeaseAgainstModel = LeaseAgainstModel.TestCase
TestLeaseAgainstModel.settings = settings(
    max_examples=examples(80, nightly=4_000), stateful_step_count=60
)
