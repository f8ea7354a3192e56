"""The daemon's side of one proxy connection, without a socket."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import LocalProtocolError
from protocol.ids import TurnId
from protocol.wire import codec
from protocol.wire import messages as wire
from protocol.wire.auth import Verified
from protocol.wire.link import (
    EARLY_ERRORS_MAX,
    REPORTED_TURNS_MAX,
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

WRONG_SESSION_ID = "session_id must be 1 to 128 of A-Z a-z 0-9 . _ : -"


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
    assert step.verified == Verified("session", None)
    link.admitted()
    assert link.state is LinkState.REGISTERED


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            {"protocol": 0, "proof": "bad"},
            "unsupported_protocol",
            "this daemon speaks protocol 1, not 0; install matching versions of daemon and proxy",
        ),
        ({"session_id": "", "proof": "bad"}, "invalid_session_id", WRONG_SESSION_ID),
        ({"session_id": "a/b"}, "invalid_session_id", WRONG_SESSION_ID),
        ({"session_id": "ü"}, "invalid_session_id", WRONG_SESSION_ID),
        ({"session_id": "s\n"}, "invalid_session_id", WRONG_SESSION_ID),
        (
            {"proof": "bad"},
            "bad_proof",
            (
                "the proof does not hold for role session; compute it from this connection's nonce"
                " with tokens/session.token of the daemon's state directory"
            ),
        ),
    ],
)
def test_a_refused_register_ends_the_link_and_names_the_remedy(
    change: dict[str, Any], code: str, message: str
) -> None:
    link = machine()
    step = link.receive(body(**REGISTER | change))
    assert step == CloseLink(message=wire.Refused(code=code, message=message))
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
    error = wire.Error(
        code="already_registered",
        message="this connection is registered; open another for another session",
        fatal=False,
    )
    assert registered.receive(body(**REGISTER)) == Send(message=error)
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


def test_what_comes_before_registering_is_named_with_its_turn() -> None:
    link = machine()
    early = error_of(link.receive(body(t="delta", turn_id="t" * 300, text="x")))
    assert early == wire.Error(
        code="not_registered",
        message="delta before register; send register first",
        fatal=False,
        turn_id="t" * 256,
    )
    assert error_of(link.receive(body(t="ack", event_id="e", attempt=1))).turn_id is None


def test_who_registers_nothing_in_time_is_refused() -> None:
    link = machine()
    step = link.register_timeout()
    assert step.message == wire.Refused(
        code="register_timeout",
        message="no register within 10 s of connecting; connect again and send it first",
    )
    assert link.state is LinkState.OVER


def test_a_turn_that_is_over_is_named_once(registered: LinkMachine) -> None:
    late = error_of(registered.receive(body(t="delta", turn_id="t" * 300, text="x")))
    assert late == wire.Error(
        code="unknown_turn",
        message="this turn has ended, or was never given to this session",
        fatal=False,
        turn_id="t" * 256,
    )
    for number in range(REPORTED_TURNS_MAX):
        assert registered.receive(body(t="delta", turn_id=f"t{number}", text="x")) is not None
    assert registered.receive(body(t="delta", turn_id="t0", text="x")) is None
    assert registered.receive(body(t="delta", turn_id="t" * 300, text="x")) is not None


def test_a_session_opens_turns_of_its_own_once(registered: LinkMachine) -> None:
    wish = body(t="turn_open", turn_id="own-1", chat_id="oc_1")
    assert isinstance(registered.receive(wish), wire.TurnOpen)
    registered.open_turn(TurnId("own-1"))
    assert registered.receive(wish) is None
    end = body(t="turn_end", turn_id="own-1", status="complete")
    assert isinstance(registered.receive(end), wire.TurnEnd)
    assert registered.receive(end) is None
    assert registered.receive(wish) is None, "an id that was used is used up"


def test_a_turn_of_its_own_that_can_t_be_opened_is_refused_and_then_dropped(
    registered: LinkMachine,
) -> None:
    wrong = error_of(registered.receive(body(t="turn_open", turn_id="x" * 300, chat_id="oc_1")))
    assert wrong == wire.Error(
        code="turn_refused",
        message="turn_id must be own- and 1 to 64 of A-Z a-z 0-9 . _ -",
        fatal=False,
        turn_id="x" * 256,
    )
    assert registered.receive(body(t="delta", turn_id="x" * 300, text="x")) is None
    refusal = registered.refuse_turn("own-2", "no chat")
    assert error_of(refusal).message == "no chat"
    assert registered.receive(body(t="delta", turn_id="own-2", text="x")) is None


def test_a_turn_that_the_lane_has_closed_is_unknown(registered: LinkMachine) -> None:
    registered.open_turn(TurnId("t1"))
    registered.close_turn(TurnId("t1"))
    registered.close_turn(TurnId("t1"))
    late = registered.receive(body(t="delta", turn_id="t1", text="x"))
    assert error_of(late).code == "unknown_turn"


def test_who_is_no_session_opens_no_turns_and_asks_no_permission() -> None:
    link = LinkMachine(lambda _register: Verified("observer", None))
    assert isinstance(link.receive(body(**REGISTER | {"role": "observer"})), Admit)
    link.admitted(has_session=False)
    wish = body(t="turn_open", turn_id="own-1", chat_id="oc_1")
    assert error_of(link.receive(wish)) == wire.Error(
        code="turn_refused",
        message="an observer or operator opens no turns",
        fatal=False,
        turn_id="own-1",
    )
    assert link.receive(wish) is None
    assert link.receive(body(t="delta", turn_id="own-1", text="x")) is None
    assert error_of(link.receive(body(t="delta", turn_id="t1", text="x"))).code == "unknown_turn"
    asked = link.receive(body(t="permission_request", request_id="r", title="rm", options=[]))
    assert asked == Send(message=wire.PermissionVerdict(request_id="r", outcome="cancelled"))
    assert link.receive(body(t="ack", event_id="e", attempt=1)) is None
    assert isinstance(link.receive(body(t="tool", id=1, name="x")), wire.Tool)


def test_what_holds_too_much_is_an_error_and_a_torn_stream_is_the_end(
    registered: LinkMachine,
) -> None:
    wrong = error_of(registered.refused(codec.InvalidMessage("too many values")))
    assert (wrong.code, wrong.message, wrong.fatal) == ("invalid_message", "too many values", False)
    torn = error_of(registered.torn(codec.BadFrame("too long")))
    assert (torn.code, torn.message, torn.fatal) == ("bad_frame", "too long", True)
    assert registered.state is LinkState.OVER


def test_who_never_registers_may_be_wrong_a_few_times() -> None:
    link = machine()
    early = body(t="delta", turn_id="t" * 300, text="x")
    why = "delta before register; send register first"
    for _ in range(EARLY_ERRORS_MAX):
        assert link.receive(early) == Send(
            message=wire.Error(code="not_registered", message=why, fatal=False, turn_id="t" * 256)
        )
    assert link.receive(early) == CloseLink(
        message=wire.Error(
            code="not_registered",
            message=f"{why}; too many errors before register",
            fatal=True,
            turn_id="t" * 256,
        )
    )
    assert link.state is LinkState.OVER


def test_a_message_of_another_protocol_is_named_as_unknown(registered: LinkMachine) -> None:
    error = error_of(registered.receive(body(t="of_tomorrow")))
    assert (error.code, error.fatal) == ("unknown_message", False)
    assert "of_tomorrow" in error.message
