"""Events of the platform: what is read of them, and what becomes of odd ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import RemoteProtocolError
from protocol.ids import ChatId, EventId, OpenId
from protocol.platform import events
from protocol.routing.access import MISSING_SENDER, Approach, Dropped, Policy, decide
from tests.kit.json_values import json_values

READERS: tuple[Callable[[bytes], object], ...] = (
    events.read_envelope,
    events.decode_message,
    events.decode_recalled,
    events.decode_card_action,
)


def v2(event_type: str, event: Any, **header: Any) -> bytes:
    """An event in the current envelope."""
    head = {
        "event_id": "5e3702a84e847582be8db7fb73283c02",
        "event_type": event_type,
        "create_time": "1608725989000",
        "token": "",
        "app_id": "cli_9f5343c580712544",
        "tenant_key": "2ca1d211f64f6438",
    }
    return json.dumps({"schema": "2.0", "header": head | header, "event": event}).encode()


def message(**changes: Any) -> dict[str, Any]:
    fields = {
        "message_id": "om_5ce6",
        "root_id": "om_root",
        "parent_id": "om_parent",
        "create_time": "1609073151345",
        "update_time": "1687343654666",
        "chat_id": "oc_5ce6",
        "thread_id": "omt_d4be",
        "chat_type": "group",
        "message_type": "text",
        "content": '{"text":"@_user_1 hello"}',
        "mentions": [
            {
                "key": "@_user_1",
                "id": {"union_id": "on_8ed6", "open_id": "ou_bot"},
                "mentioned_type": "bot",
                "name": "Larkd",
            }
        ],
        "user_agent": "Mozilla/5.0",
    }
    sender = {
        "sender_id": {"union_id": "on_8ed6", "user_id": None, "open_id": "ou_84aa"},
        "sender_type": "user",
        "tenant_key": "736588c9260f175e",
    }
    return {"sender": sender, "message": fields | changes}


CARD_PRESS = {
    "operator": {"tenant_key": "2df7", "open_id": "ou_3c14", "union_id": "on_cad4"},
    "token": "c-295e",
    "action": {"value": {"do": "stop"}, "tag": "button", "name": "stop_button"},
    "host": "im_message",
    "context": {"open_message_id": "om_574d", "open_chat_id": "oc_e4d2"},
}


class TestEnvelope:
    def test_a_message_is_known_by_its_message_id(self) -> None:
        envelope = events.read_envelope(v2(events.MESSAGE_RECEIVED, message()))
        assert envelope == events.Envelope(
            event_id=EventId("5e3702a84e847582be8db7fb73283c02"),
            event_type="im.message.receive_v1",
            kind="message",
            message_key="om_5ce6",
            chat_id=ChatId("oc_5ce6"),
        )

    def test_a_recall_has_a_chat_and_no_message_key(self) -> None:
        envelope = events.read_envelope(
            v2(events.MESSAGE_RECALLED, {"message_id": "om_1", "chat_id": "oc_1"})
        )
        assert (envelope.kind, envelope.chat_id, envelope.message_key) == ("recalled", "oc_1", None)

    def test_a_callback_counts_microseconds(self) -> None:
        envelope = events.read_envelope(
            v2(events.CARD_ACTION, CARD_PRESS, create_time="1603977298000000")
        )
        assert envelope.kind == "card_action"
        assert envelope.chat_id == "oc_e4d2"

    def test_the_older_envelope_is_known_by_its_uuid(self) -> None:
        payload = json.dumps(
            {
                "ts": "1502199207.7171419",
                "uuid": "bc447199585340d1f3728d26b1c0297a",
                "token": "",
                "type": "event_callback",
                "event": {"type": "p2p_chat_create", "app_id": "cli_1", "chat_id": "oc_2"},
            }
        ).encode()
        envelope = events.read_envelope(payload)
        assert envelope.event_id == "bc447199585340d1f3728d26b1c0297a"
        assert (envelope.event_type, envelope.kind) == ("p2p_chat_create", "other")
        assert envelope.chat_id == "oc_2"

    @pytest.mark.parametrize("body", [None, 7, "text", [1], {"message": 7}, {"chat_id": 7}])
    def test_an_odd_body_does_not_lose_the_event(self, body: Any) -> None:
        envelope = events.read_envelope(v2("im.message.reaction.created_v1", body))
        assert (envelope.kind, envelope.chat_id) == ("other", None)

    @pytest.mark.parametrize(
        ("payload", "reason"),
        [
            (b"", "not a readable event"),
            (b"[]", "not a readable event"),
            (b'{"schema":"2.0"', "not a readable event"),
            (b'{"schema":"2.0","event":' + b"[" * 100_000, "not a readable event"),
            (b"{}", "neither schema nor uuid"),
            (b'{"schema":"2.0"}', "without header.event_type"),
            (v2("a.b", {}, event_id=None), "without header.event_id"),
            (v2("a.b", {}, event_id=""), "without header.event_id"),
            (v2("a.b", {}, event_id="x" * 257), "257 characters"),
            (v2("", {}), "without header.event_type"),
            (b'{"uuid":"u"}', "without event.type"),
        ],
    )
    def test_what_cannot_be_named_is_an_error(self, payload: bytes, reason: str) -> None:
        with pytest.raises(RemoteProtocolError, match=reason) as caught:
            events.read_envelope(payload)
        assert caught.value.code == "bad_event"

    @pytest.mark.parametrize("time", [None, "", "soon", "9" * 5_000])
    def test_a_time_nobody_can_read_is_no_time(self, time: str | None) -> None:
        payload = v2(events.MESSAGE_RECEIVED, message(create_time=time))
        assert events.decode_message(payload).create_time_ms is None

    def test_a_time_in_microseconds_is_known_by_its_size(self) -> None:
        payload = v2(events.MESSAGE_RECEIVED, message(create_time="1603977298000000"))
        assert events.decode_message(payload).create_time_ms == 1603977298000

    def test_unreadable_bytes_keep_one_name(self) -> None:
        first, again = events.synthetic_event_id(b"junk"), events.synthetic_event_id(b"junk")
        assert first == again != events.synthetic_event_id(b"other junk")


class TestMessage:
    def test_everything_larkd_acts_upon_is_there(self) -> None:
        received = events.decode_message(v2(events.MESSAGE_RECEIVED, message()))
        assert received.message_id == "om_5ce6"
        assert (received.chat_id, received.chat_type) == ("oc_5ce6", "group")
        assert (received.sender_id, received.sender_type) == ("ou_84aa", "user")
        assert (received.root_id, received.parent_id) == ("om_root", "om_parent")
        assert received.thread_id == "omt_d4be"
        assert received.create_time_ms == 1609073151345
        assert json.loads(received.content) == {"text": "@_user_1 hello"}
        assert received.mentions == (
            events.Mention(
                key="@_user_1",
                name="Larkd",
                open_id=OpenId("ou_bot"),
                mentioned_type="bot",
            ),
        )

    @pytest.mark.parametrize(
        ("sent", "meant"), [("p2p", "p2p"), ("group", "group"), ("topic_group", "group")]
    )
    def test_every_chat_that_is_not_direct_is_a_group(self, sent: str, meant: str) -> None:
        payload = v2(events.MESSAGE_RECEIVED, message(chat_type=sent))
        assert events.decode_message(payload).chat_type == meant

    def test_null_and_empty_are_missing(self) -> None:
        bare = message(
            root_id="", parent_id=None, thread_id="", mentions=None, content=None, create_time=None
        )
        received = events.decode_message(v2(events.MESSAGE_RECEIVED, bare))
        assert (received.root_id, received.parent_id, received.thread_id) == (None, None, None)
        assert (received.mentions, received.content, received.create_time_ms) == ((), "", None)

    def test_a_mention_by_bare_id_is_read_too(self) -> None:
        mentioned = message(mentions=[{"key": "@_user_1", "id": "ou_1"}, {"key": "@_user_2"}])
        received = events.decode_message(v2(events.MESSAGE_RECEIVED, mentioned))
        assert [each.open_id for each in received.mentions] == ["ou_1", None]

    @pytest.mark.parametrize("field", ["message_id", "chat_id", "chat_type", "message_type"])
    def test_what_a_message_must_have_is_asked_for(self, field: str) -> None:
        broken = message()
        del broken["message"][field]
        with pytest.raises(RemoteProtocolError, match=field):
            events.decode_message(v2(events.MESSAGE_RECEIVED, broken))

    @pytest.mark.parametrize("sender_id", [{"open_id": ""}, {"open_id": None}, {}, None])
    def test_a_sender_without_an_id_is_for_the_rules_of_access(self, sender_id: object) -> None:
        odd = message()
        odd["sender"]["sender_id"] = sender_id
        read = events.decode_message(v2(events.MESSAGE_RECEIVED, odd))
        assert not read.sender_id
        approach = Approach(
            chat_id=read.chat_id,
            chat_type=read.chat_type,
            sender_id=read.sender_id,
        )
        assert decide(Policy(), approach, None) == Dropped(reason=MISSING_SENDER)

    @pytest.mark.parametrize("key", ["message_id", "chat_id"])
    @pytest.mark.parametrize(
        "evil", ["../../x", "..", "a/b", "om_\u202e1", "om 1", "a\n", "x" * 300]
    )
    def test_ids_that_would_lead_elsewhere_are_refused(self, key: str, evil: str) -> None:
        broken = message()
        broken["message"][key] = evil
        with pytest.raises(RemoteProtocolError, match=key):
            events.decode_message(v2(events.MESSAGE_RECEIVED, broken))


def test_a_recall_names_its_message() -> None:
    body = {
        "message_id": "om_1",
        "chat_id": "oc_1",
        "recall_time": "1615380573411",
        "recall_type": "message_owner",
    }
    recalled = events.decode_recalled(v2(events.MESSAGE_RECALLED, body))
    assert recalled.message_id == "om_1"


class TestCardAction:
    def test_a_press_names_who_did_what_where(self) -> None:
        action = events.decode_card_action(v2(events.CARD_ACTION, CARD_PRESS))
        assert action.operator_id == "ou_3c14"
        assert action.value == {"do": "stop"}
        assert (action.message_id, action.chat_id) == ("om_574d", "oc_e4d2")

    @pytest.mark.parametrize("value", [None, "stop", 7, ["stop"]])
    def test_a_value_that_is_no_object_is_empty(self, value: Any) -> None:
        press = CARD_PRESS | {"action": {"tag": "button", "value": value}}
        assert events.decode_card_action(v2(events.CARD_ACTION, press)).value == {}

    def test_a_form_brings_its_fields(self) -> None:
        press = CARD_PRESS | {
            "action": {
                "tag": "button",
                "form_value": {"reason": "because", "days": ["1", "2"]},
                "options": ["a"],
                "checked": True,
            }
        }
        action = events.decode_card_action(v2(events.CARD_ACTION, press))
        assert action.form_value == {"reason": "because", "days": ["1", "2"]}


JSON_VALUES = json_values(
    "schema", "header", "event", "event_id", "event_type", "message", "uuid", "action"
)


@pytest.mark.parametrize("read", READERS, ids=lambda each: each.__name__)
class TestJunk:
    """Whatever comes, the only error is the one that names whose fault it is."""

    @given(junk=st.binary(max_size=64))
    def test_bytes(self, read: Callable[[bytes], object], junk: bytes) -> None:
        _tolerate(read, junk)

    @given(junk=JSON_VALUES)
    def test_json(self, read: Callable[[bytes], object], junk: Any) -> None:
        _tolerate(read, json.dumps(junk).encode())

    @given(data=st.data())
    def test_an_event_with_bytes_changed(
        self, read: Callable[[bytes], object], data: st.DataObject
    ) -> None:
        payload = bytearray(v2(events.MESSAGE_RECEIVED, message()))
        for _ in range(data.draw(st.integers(1, 4))):
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
        _tolerate(read, bytes(payload))

    def test_half_a_surrogate_pair(self, read: Callable[[bytes], object]) -> None:
        _tolerate(read, v2(events.MESSAGE_RECEIVED, message(content="\ud800 half")))


def _tolerate(read: Callable[[bytes], object], payload: bytes) -> None:
    try:
        read(payload)
    except RemoteProtocolError:
        return
