"""The daemon's side of one proxy connection, without a socket."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.ids import TurnId
from protocol.wire import messages as wire
from protocol.wire.auth import Verified
from protocol.wire.link import (
    Admit,
    CloseLink,
    LinkMachine,
    LinkState,
    Send,
    join_deltas,
)

REGISTER = {
    "t": "register",
    "protocol": 1,
    "session_id": "s-1",
    "role": "session",
    "proof": "good",
    "pid": 1,
    "proxy_version": "1",
}


def body(**message: Any) -> bytes:
    return msgspec.msgpack.encode(message)


def machine() -> LinkMachine:
    return LinkMachine(
        lambda register: Verified("session", None) if register.proof == "good" else None
    )


@pytest.fixture
def registered() -> LinkMachine:
    link = machine()
    assert isinstance(link.receive(body(**REGISTER)), Admit)
    link.admitted()
    return link


def error_of(step: object) -> wire.Error:
    assert isinstance(step, Send | CloseLink)
    assert isinstance(step.message, wire.Error)
    return step.message


def test_a_valid_register_asks_to_be_admitted() -> None:
    link = machine()
    step = link.receive(body(**REGISTER))
    assert isinstance(step, Admit)
    assert step.register.metadata == {}
    link.admitted()
    assert link.state is LinkState.REGISTERED


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"protocol": 0, "proof": "bad"}, "unsupported_protocol"),
        ({"session_id": "", "proof": "bad"}, "invalid_session_id"),
        ({"session_id": "a/b"}, "invalid_session_id"),
        ({"session_id": "ü"}, "invalid_session_id"),
        ({"session_id": "s\n"}, "invalid_session_id"),
        ({"proof": "bad"}, "bad_proof"),
    ],
)
def test_a_refused_register_ends_the_link(change: dict[str, Any], code: str) -> None:
    link = machine()
    step = link.receive(body(**REGISTER | change))
    assert isinstance(step, CloseLink)
    assert isinstance(step.message, wire.Refused)
    assert step.message.code == code
    assert link.state is LinkState.OVER


@pytest.mark.parametrize(
    "change",
    [
        {"role": "king"},
        {"metadata": {"k" * 65: "v"}},
        {"metadata": {"k": "v" * 1025}},
        {"metadata": {str(n): "v" for n in range(33)}},
        {"capabilities": "turns"},
        {"pid": "1"},
    ],
)
def test_a_register_with_wrong_fields_may_be_sent_again(change: dict[str, Any]) -> None:
    link = machine()
    error = error_of(link.receive(body(**REGISTER | change)))
    assert (error.code, error.fatal) == ("invalid_message", False)
    assert "register" in error.message
    assert next(iter(change)) in error.message
    assert isinstance(link.receive(body(**REGISTER)), Admit)


def test_a_second_register_is_an_error_that_ends_nothing(registered: LinkMachine) -> None:
    assert error_of(registered.receive(body(**REGISTER))).code == "already_registered"
    assert registered.state is LinkState.REGISTERED


def test_before_registration_little_is_answered() -> None:
    link = machine()
    assert isinstance(link.receive(body(t="ping", n=1)), Send)
    assert link.receive(body(t="pong", n=1)) is None
    early = error_of(link.receive(body(t="ack", event_id="e", attempt=1)))
    assert (early.code, early.fatal) == ("not_registered", False)
    tool = link.receive(body(t="tool", id=3, name="x", args={}))
    assert isinstance(tool, Send)
    assert tool.message == wire.ToolResult(id=3, ok=False, error="channel proxy is not registered")


def test_what_a_registered_session_may_send(registered: LinkMachine) -> None:
    assert isinstance(registered.receive(body(t="ack", event_id="e", attempt=1)), wire.Ack)
    assert isinstance(registered.receive(body(t="tool", id=1, name="x")), wire.Tool)
    asked = registered.receive(body(t="permission_request", request_id="r", title="rm", options=[]))
    assert isinstance(asked, wire.PermissionRequest)


def test_a_turn_is_known_until_its_end_and_unknown_once(registered: LinkMachine) -> None:
    delta = body(t="delta", turn_id="t1", text="x")
    registered.open_turn(TurnId("t1"))
    assert isinstance(registered.receive(delta), wire.Delta)
    end = registered.receive(body(t="turn_end", turn_id="t1", status="complete"))
    assert isinstance(end, wire.TurnEnd)
    late = error_of(registered.receive(delta))
    assert (late.code, late.turn_id, late.fatal) == ("unknown_turn", "t1", False)
    assert registered.receive(delta) is None


def test_admitting_what_did_not_register_is_our_own_bug() -> None:
    with pytest.raises(LocalProtocolError):
        machine().admitted()


@given(st.binary(max_size=200))
def test_any_body_is_answered_and_never_raises(junk: bytes) -> None:
    step = machine().receive(junk)
    assert step is None or isinstance(step, Send | CloseLink | Admit)


def delta(text: str, turn: str = "t", channel: Any = "answer") -> wire.TurnMessage:
    return wire.Delta(turn_id=turn, text=text, channel=channel)


END: wire.TurnMessage = wire.TurnEnd(turn_id="t", status="complete")


def test_consecutive_deltas_of_one_turn_and_channel_become_one() -> None:
    steps = [delta("a"), delta("b"), delta("c", channel="reasoning"), delta("d"), END, delta("e")]
    assert join_deltas(steps) == [
        delta("ab"),
        delta("c", channel="reasoning"),
        delta("d"),
        END,
        delta("e"),
    ]
    assert join_deltas([delta("a", "t1"), delta("b", "t2"), delta("c", "t2")]) == [
        delta("a", "t1"),
        delta("bc", "t2"),
    ]


@given(
    st.lists(
        st.builds(
            delta,
            st.text(max_size=3),
            st.sampled_from(["t1", "t2"]),
            st.sampled_from(["answer", "reasoning"]),
        )
        | st.just(END)
    )
)
def test_joining_keeps_every_character_in_order(steps: list[wire.TurnMessage]) -> None:
    def characters(of: list[wire.TurnMessage]) -> list[tuple[str, str, str]]:
        return [
            (one.turn_id, one.channel, character)
            for one in of
            if isinstance(one, wire.Delta)
            for character in one.text
        ]

    joined = join_deltas(steps)
    assert characters(joined) == characters(steps)
    assert joined.count(END) == steps.count(END)
