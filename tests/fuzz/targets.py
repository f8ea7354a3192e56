"""Each boundary's readers, given whatever bytes: only what they document may be raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from actors.feishu.frames import decode_frame
from protocol.agents import acp, jsonrpc, mcp
from protocol.agents.acp_options import AgentOptions
from protocol.cards import approval, approval_card, choice_card, question
from protocol.cards.turn import Turn
from protocol.errors import RemoteProtocolError
from protocol.ids import TurnId
from protocol.platform import events
from protocol.platform.content import read_content
from protocol.platform.longconn import Receiver
from protocol.platform.outcomes import ClientConfig
from protocol.routing import command
from protocol.routing.alias import clean
from protocol.wire import messages as wire
from protocol.wire.auth import Keyring, Verified
from protocol.wire.codec import InvalidMessage
from protocol.wire.framing import FrameReader, frame
from protocol.wire.link import Admit, CloseLink, LinkMachine, Send
from protocol.wire.pieces import in_pieces
from protocol.wire.weighing import VALUES_MAX, weigh
from tests.fuzz import corpus

_ASKED: Final = question.Question(
    question="q",
    options=(question.AnswerOption(label="a"), question.AnswerOption(label="b")),
)
_KEYS: Final = Keyring({"dispatcher": b"d", "session": b"s", "observer": b"o"})


def frames(data: bytes) -> None:
    """A registered proxy's stream: whatever is taken is shown on a card."""
    machine = LinkMachine(lambda _register: Verified("session", None))
    machine.receive(msgspec.msgpack.encode(corpus.FROM_PROXY[2]))
    machine.admitted()
    machine.open_turn(TurnId("turn_1"))
    turn = Turn(0.0)
    _read(machine, data, turn)


def registrations(data: bytes) -> None:
    """A stranger's stream, with the tokens as they are."""
    _read(LinkMachine(lambda register: _KEYS.verify(b"n" * 32, register)), data, Turn(0.0))


def _read(machine: LinkMachine, data: bytes, turn: Turn) -> None:
    reader = FrameReader()
    reader.feed(data)
    try:
        for body in reader:
            try:
                for _ in weigh(body, VALUES_MAX):
                    pass
            except InvalidMessage as wrong:
                machine.refused(wrong)
                continue
            _do(machine, machine.receive(body), turn)
    except RemoteProtocolError as fault:
        machine.torn(fault)


def _do(machine: LinkMachine, received: object, turn: Turn) -> None:
    match received:
        case Send(message=message) | CloseLink(message=message):
            assert len(frame(message)) < 64 * 1024
        case Admit(register=register):
            clean(register.metadata.get("alias", "x"))
            machine.admitted()
        case wire.PermissionRequest():
            if approval.is_askable(received):
                approval_card.read(received)
        case wire.Delta() | wire.ToolEvent() | wire.Plan() | wire.Usage() | wire.TurnEnd():
            for piece in in_pieces(received):
                turn.apply(piece, 1.0)


def long_connection(data: bytes) -> None:
    receiver = Receiver(ClientConfig())
    try:
        receiver.receive(decode_frame(data), now=1.0)
    except RemoteProtocolError:
        return


def pushed_events(data: bytes) -> None:
    readers = (
        events.read_envelope,
        events.decode_recalled,
        events.decode_comment,
        events.decode_card_action,
    )
    for read in readers:
        try:
            found = read(data)
        except RemoteProtocolError:
            continue
        if isinstance(found, events.CardAction):
            approval.read_press(found.value, found.operator_id, found.chat_id)
            choice_card.read_press(found)
            question.question_of(found.value)
            asked = question.Question(
                question="q",
                options=(question.AnswerOption(label="a"), question.AnswerOption(label="b")),
            )
            question.read_answers((asked,), found.form_value)
    try:
        message = events.decode_message(data)
    except RemoteProtocolError:
        return
    content = read_content(message.message_type, message.content, message.mentions)
    msgspec.json.encode(content.markdown)
    assert all("/" not in one.name and one.name not in (".", "..") for one in content.attachments)
    if content.own_text is not None:
        command.parse(content.own_text, bot_keys=["@_user_1"])


def acp_lines(data: bytes) -> None:
    for line in _lines(data):
        options = AgentOptions()
        options.take_session(line)
        options.take_update(line)
        frame(options.offer())
        acp.opens_a_turn(line)
        acp.read_abilities(line)
        for update in acp.translate(line, "turn_1"):
            frame(update)
        asked = acp.read_question(line)
        if asked is not None:
            msgspec.json.encode(asked.title)
        acp.ending(line.get("stopReason"))
        acp.refusal_text(line.get("code"), "m", line.get("data"), acp.Abilities())


def mcp_lines(data: bytes) -> None:
    for line in _lines(data):
        params = jsonrpc.params_of(line)
        jsonrpc.encode(jsonrpc.result(1, mcp.initialize_result(params)))
        request = mcp.permission_request(params)
        if request is not None:
            frame(request)
        mcp.verdict_words(str(line.get("method")))
        jsonrpc.encode(mcp.tool_result(line.get("params")))


def _lines(data: bytes) -> list[jsonrpc.JsonRpcMessage]:
    found: list[jsonrpc.JsonRpcMessage] = []
    lines = jsonrpc.LineReader(1_000_000)
    for part in (data[: len(data) // 2], data[len(data) // 2 :], b"\n"):
        for line in lines.feed(part):
            if isinstance(line, jsonrpc.LineTooLong):
                continue
            try:
                found.append(jsonrpc.decode(line))
            except jsonrpc.NotAnObject:
                continue
    return found


def _json(values: tuple[Mapping[str, Any], ...]) -> list[bytes]:
    return [json.dumps(one).encode() for one in values]


TARGETS: Final[Mapping[str, tuple[Callable[[bytes], None], list[bytes]]]] = {
    "frames": (frames, [corpus.framed(one) for one in corpus.FROM_PROXY]),
    "registrations": (registrations, [corpus.framed(one) for one in corpus.FROM_PROXY]),
    "long_connection": (long_connection, corpus.long_connection()),
    "pushed_events": (pushed_events, _json(corpus.EVENTS)),
    "acp_lines": (acp_lines, _json(corpus.ACP)),
    "mcp_lines": (mcp_lines, _json(corpus.MCP)),
}
