"""Frames of the long connection: joining, acking, and what refusals mean."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.platform import longconn
from protocol.platform.longconn import (
    DATA,
    Complete,
    Frame,
    Ignored,
    Incomplete,
    PongFrame,
    Receiver,
)
from protocol.platform.outcomes import ClientConfig
from tests.kit.cutting import pieces

CONFIG = ClientConfig(
    reconnect_count=-1, reconnect_interval_s=90, reconnect_nonce_s=25, ping_interval_s=60
)


def push(payload: bytes | None, **headers: str) -> Frame:
    """A data frame as the platform sends it, complete unless *headers* differ."""
    named = {"type": "event", "message_id": "push-1", "sum": "1", "seq": "0", "trace_id": "e"}
    return Frame(
        seq_id=7,
        log_id=2**64 - 1,
        service=33554678,
        method=DATA,
        headers=tuple((named | headers).items()),
        payload=payload,
    )


def split(payload: bytes, cuts: list[int], message_id: str = "push-1") -> list[Frame]:
    """The frames that carry *payload* cut at *cuts*."""
    parts = pieces(payload, cuts)
    return [
        push(part, message_id=message_id, sum=str(len(parts)), seq=str(number))
        for number, part in enumerate(parts)
    ]


def held_by(fragments: longconn.Fragments) -> tuple[int, int]:
    """Return how many incomplete events it holds, and how many bytes of them."""
    sets = fragments._sets.values()
    return len(sets), sum(len(part) for one in sets for part in one.parts.values())


class TestJoining:
    @given(payload=st.binary(max_size=200), data=st.data())
    def test_any_split_in_any_order_gives_the_event_once(
        self, payload: bytes, data: st.DataObject
    ) -> None:
        cuts = data.draw(st.lists(st.integers(0, len(payload)), max_size=8))
        frames = data.draw(st.permutations(split(payload, cuts)))
        receiver = Receiver(CONFIG)
        *before, last = [receiver.receive(frame, now=0.0) for frame in frames]
        assert all(isinstance(each, Incomplete) for each in before)
        assert last == Complete(payload=payload, frame=frames[-1])

    @given(data=st.data())
    def test_events_in_fragments_may_be_interleaved(self, data: st.DataObject) -> None:
        payloads = [b"first event", b"second one", b"and a third"]
        frames = data.draw(
            st.permutations(
                [
                    frame
                    for number, payload in enumerate(payloads)
                    for frame in split(payload, [3, 6], message_id=f"push-{number}")
                ]
            )
        )
        receiver = Receiver(CONFIG)
        received = [receiver.receive(frame, now=0.0) for frame in frames]
        assert sorted(each.payload for each in received if isinstance(each, Complete)) == sorted(
            payloads
        )

    def test_the_same_fragment_twice_counts_once(self) -> None:
        first, second = split(b"ab", [1])
        fragments = longconn.Fragments()
        for _ in range(2):
            assert isinstance(
                fragments.add(first, dict(first.headers), now=0.0), longconn.Incomplete
            )
        assert held_by(fragments) == (1, 1)
        assert fragments.add(second, dict(second.headers), now=0.0) == Complete(
            payload=b"ab", frame=second
        )
        assert held_by(fragments) == (0, 0)

    def test_a_fragment_missing_for_too_long_loses_the_set(self) -> None:
        first, second = split(b"ab", [1])
        receiver = Receiver(CONFIG)
        receiver.receive(first, now=0.0)
        late = receiver.receive(second, now=longconn.FRAGMENT_KEPT_S)
        assert isinstance(late, Incomplete), "the first half is forgotten, and was never acked"

    def test_every_fragment_gives_the_set_time(self) -> None:
        one, two, three = split(b"abc", [1, 2])
        receiver = Receiver(CONFIG)
        receiver.receive(one, now=0.0)
        receiver.receive(two, now=longconn.FRAGMENT_KEPT_S - 1)
        assert isinstance(receiver.receive(three, now=longconn.FRAGMENT_KEPT_S + 1), Complete)

    def test_the_number_of_incomplete_events_has_an_end(self) -> None:
        fragments = longconn.Fragments()
        for number in range(longconn.INCOMPLETE_SETS_MAX + 5):
            (first, _) = split(b"ab", [1], message_id=f"push-{number}")
            fragments.add(first, dict(first.headers), now=0.0)
        assert held_by(fragments)[0] == longconn.INCOMPLETE_SETS_MAX
        (_, oldest) = split(b"ab", [1], message_id="push-0")
        assert isinstance(fragments.add(oldest, dict(oldest.headers), now=0.0), Incomplete)

    def test_the_bytes_of_incomplete_events_have_an_end(self) -> None:
        fragments = longconn.Fragments()
        half = longconn.INCOMPLETE_BYTES_MAX // 2
        for number in range(4):
            frame = push(bytes(half), message_id=f"push-{number}", sum="2", seq="0")
            fragments.add(frame, dict(frame.headers), now=0.0)
        assert held_by(fragments) == (2, longconn.INCOMPLETE_BYTES_MAX)

    @given(
        pushes=st.lists(
            st.tuples(
                st.integers(0, 3), st.integers(1, 4), st.integers(0, 4), st.binary(max_size=3)
            ),
            max_size=40,
        )
    )
    def test_the_count_of_bytes_is_true_after_anything(
        self, pushes: list[tuple[int, int, int, bytes]]
    ) -> None:
        fragments = longconn.Fragments()
        for now, (name, total, seq, payload) in enumerate(pushes):
            frame = push(payload, message_id=str(name), sum=str(total), seq=str(seq))
            fragments.add(frame, dict(frame.headers), now=float(now))
            assert held_by(fragments)[1] == fragments._bytes
        fragments.add(push(b""), {}, now=1e6)
        assert held_by(fragments) == (0, 0)


class TestKinds:
    def test_a_pong_configures_the_link(self) -> None:
        receiver = Receiver(CONFIG)
        payload = json.dumps(
            {
                "ReconnectCount": 3,
                "ReconnectInterval": 4,
                "ReconnectNonce": 5,
                "PingInterval": 6,
                "Unknown": [],
            }
        ).encode()
        expected = ClientConfig(
            reconnect_count=3, reconnect_interval_s=4, reconnect_nonce_s=5, ping_interval_s=6
        )
        assert receiver.receive(control("pong", payload), now=0.0) == PongFrame(
            client_config=expected
        )
        assert receiver.client_config == expected

    @pytest.mark.parametrize(
        "payload",
        [None, b"", b"{}", b"junk", b"[]", b'{"PingInterval":"6"}', b'{"PingInterval":null}'],
    )
    def test_a_pong_that_carries_nothing_changes_nothing(self, payload: bytes | None) -> None:
        receiver = Receiver(CONFIG)
        assert receiver.receive(control("pong", payload), now=0.0) == PongFrame(
            client_config=CONFIG
        )

    def test_numbers_no_daemon_can_live_with_are_bounded(self) -> None:
        wild = ClientConfig(reconnect_interval_s=10**9, reconnect_nonce_s=-5, ping_interval_s=0)
        assert longconn.bounded(wild) == ClientConfig(
            reconnect_interval_s=3_600, reconnect_nonce_s=0, ping_interval_s=1
        )

    def test_a_ping_of_the_server_is_normal(self) -> None:
        assert Receiver(CONFIG).receive(control("ping", None), now=0.0) == Ignored(
            reason="control frame 'ping'", expected=True
        )

    @pytest.mark.parametrize(
        "frame",
        [
            push(b"{}", type="card"),
            push(b"{}", type="later"),
            Frame(service=1, method=DATA),
            Frame(service=1, method=2, headers=(("type", "event"),)),
            push(b"{}", sum="0"),
            push(b"{}", sum="-1"),
            push(b"{}", sum="x"),
            push(b"{}", sum="1", seq="1"),
            push(b"{}", sum="2", seq="9" * 4_400),
            push(b"{}", sum=str(longconn.FRAGMENTS_MAX + 1)),
            push(b"{}", sum="2", message_id=""),
            push(bytes(longconn.INCOMPLETE_BYTES_MAX + 1), sum="2"),
        ],
    )
    def test_what_cannot_be_acted_upon_is_ignored_with_a_reason(self, frame: Frame) -> None:
        received = Receiver(CONFIG).receive(frame, now=0.0)
        assert isinstance(received, Ignored)
        assert received.reason
        assert not received.expected
        assert len(received.reason) < 200

    def test_an_event_without_counting_headers_is_whole(self) -> None:
        frame = Frame(service=1, method=DATA, headers=(("type", "event"),), payload=b"{}")
        assert Receiver(CONFIG).receive(frame, now=0.0) == Complete(payload=b"{}", frame=frame)


def control(kind: str, payload: bytes | None) -> Frame:
    return Frame(service=1, method=longconn.CONTROL, headers=(("type", kind),), payload=payload)


class TestAnswers:
    def test_an_ack_is_the_frame_with_two_things_changed(self) -> None:
        frame = msgspec.structs.replace(
            push(b'{"an":"event"}', sum="3", seq="2"),
            payload_encoding="e",
            payload_type="t",
            log_id_new="l",
        )
        answer = longconn.ack(frame, took_ms=3)
        assert (answer.seq_id, answer.log_id, answer.service, answer.method) == (
            frame.seq_id,
            frame.log_id,
            frame.service,
            frame.method,
        )
        assert answer.headers == (*frame.headers, ("biz_rt", "3"))
        assert answer.payload == b'{"code":200}'
        assert (answer.payload_encoding, answer.payload_type, answer.log_id_new) == (
            frame.payload_encoding,
            frame.payload_type,
            frame.log_id_new,
        )

    def test_a_callback_is_answered_in_base64(self) -> None:
        answer = longconn.ack(push(b"{}"), took_ms=3, data=b'{"toast":{}}')
        body = json.loads(answer.payload or b"")
        assert body["code"] == 200
        assert base64.b64decode(body["data"]) == b'{"toast":{}}'

    def test_a_push_may_be_refused(self) -> None:
        assert longconn.ack(push(b"{}"), took_ms=0, code=500).payload == b'{"code":500}'

    def test_an_ack_has_one_running_time(self) -> None:
        twice = longconn.ack(longconn.ack(push(b"{}"), took_ms=1), took_ms=2)
        assert [value for name, value in twice.headers if name == "biz_rt"] == ["2"]

    def test_a_ping_names_the_service(self) -> None:
        assert longconn.ping(33554678) == Frame(
            service=33554678, method=longconn.CONTROL, headers=(("type", "ping"),)
        )

    @pytest.mark.parametrize(
        ("query", "service"),
        [
            ("fpid=493&device_id=7&service_id=33554678&ticket=x", 33554678),
            ("device_id=7", 0),
            ("service_id=", 0),
            ("service_id=abc", 0),
            ("service_id=9999999999", 0),
        ],
    )
    def test_the_service_stands_in_the_address(self, query: str, service: int) -> None:
        assert longconn.service_of(f"wss://msg-frontier.feishu.cn/ws/v2?{query}") == service


class TestReconnecting:
    def test_the_first_wait_is_a_fraction_of_the_nonce(self) -> None:
        waits = [
            longconn.reconnect_delay_s(CONFIG, failures=0, fraction=each) for each in (0, 0.5, 1)
        ]
        assert waits == [0, 12.5, 25]

    def test_the_next_ones_are_the_interval(self) -> None:
        assert longconn.reconnect_delay_s(CONFIG, failures=1, fraction=0.5) == 90
        assert longconn.reconnect_delay_s(CONFIG, failures=10_000, fraction=0.5) == 90

    def test_after_the_count_it_is_seldom_and_not_never(self) -> None:
        counted = ClientConfig(reconnect_count=2, reconnect_interval_s=1)
        waits = [
            longconn.reconnect_delay_s(counted, failures=each, fraction=0.5) for each in (1, 2, 3)
        ]
        assert waits == [1, 1, longconn.GIVEN_UP_RETRY_S]

    def test_at_once_is_not_without_end(self) -> None:
        eager = ClientConfig(reconnect_interval_s=0, reconnect_nonce_s=0)
        assert longconn.reconnect_delay_s(eager, failures=0, fraction=0.9) == 0
        assert longconn.reconnect_delay_s(eager, failures=1, fraction=0.9) == longconn.RETRY_MIN_S


class TestRefusals:
    @pytest.mark.parametrize(
        ("headers", "kind"),
        [
            (
                {"handshake-status": "514", "handshake-autherrcode": "1000040350"},
                "connection_limit",
            ),
            ({"handshake-status": "514", "handshake-autherrcode": "1000040346"}, "busy"),
            ({"handshake-status": "514"}, "busy"),
            ({"handshake-status": "403"}, "credentials"),
            ({"handshake-status": "500"}, "busy"),
            ({"handshake-status": "junk", "handshake-autherrcode": "-"}, "busy"),
            ({}, "busy"),
        ],
    )
    def test_refusals_are_distinguished(self, headers: dict[str, str], kind: str) -> None:
        assert longconn.handshake_refused(400, headers).kind == kind

    def test_the_reason_is_what_the_platform_answered(self) -> None:
        refusal = longconn.handshake_refused(
            400, {"handshake-status": "403", "handshake-msg": "app is disabled"}
        )
        assert refusal.reason == "HTTP 400, status 403, code -: app is disabled"
        assert longconn.handshake_refused(502, {}).reason == "HTTP 502, status -, code -: -"

    def test_a_close_may_be_a_refusal(self) -> None:
        refusal = longconn.close_refused(3001, "backbone registered too many conns")
        assert refusal is not None
        assert refusal.kind == "connection_limit"
        assert refusal.reason == "closed with 3001: backbone registered too many conns"
        long = longconn.close_refused(3001, "x" * 300)
        assert long is not None
        assert len(long.reason) == len("closed with 3001: ") + 200
        assert longconn.close_refused(1001, "going away") is None


frames: st.SearchStrategy[Frame] = st.builds(
    Frame,
    service=st.integers(0, 9),
    method=st.integers(-1, 3),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["type", "sum", "seq", "message_id"]),
            st.sampled_from(["event", "pong", "card", "1", "2", "0", "-1", "²", ""])
            | st.text(max_size=3),
        ),
        max_size=6,
    ).map(tuple),
    payload=st.none() | st.binary(max_size=8),
)


@given(junk=st.lists(frames, max_size=20))
def test_no_frame_is_too_odd_to_be_judged(junk: list[Any]) -> None:
    receiver = Receiver(CONFIG)
    for now, frame in enumerate(junk):
        received = receiver.receive(frame, now=float(now))
        assert isinstance(received, PongFrame | Complete | Incomplete | Ignored)
