"""The daemon's side of one proxy connection, as a state machine without I/O.

It starts in ``opening``. A valid ``register`` is handed up to be admitted; the
answer brings it to ``registered`` or to its end. It knows which turns the session
may speak of, and answers everything else the contract names an answer for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import TurnId
from protocol.wire import messages as wire

REPORTED_TURNS_MAX: Final = 1_024
"""Turns whose ``unknown_turn`` was said already; the oldest is forgotten first."""

Verify = Callable[[str, str, str], bool]
"""``verify(proof, session_id, role)``: does the proof hold for this link's nonce?"""


class LinkState(Enum):
    OPENING = auto()
    ADMITTING = auto()
    REGISTERED = auto()
    OVER = auto()


class Step(Struct, frozen=True, kw_only=True):
    """One thing the link has to do because of what was received."""


class Say(Step, frozen=True, kw_only=True):
    message: wire.FromDaemon


class Close(Step, frozen=True, kw_only=True):
    """Say this last, then close."""

    message: wire.Error | wire.Refused


class Admit(Step, frozen=True, kw_only=True):
    """The proof holds: ask whether the session may come in."""

    register: wire.Register


class Acknowledge(Step, frozen=True, kw_only=True):
    ack: wire.Ack


class UseTool(Step, frozen=True, kw_only=True):
    tool: wire.Tool


class TurnSaid(Step, frozen=True, kw_only=True):
    """Something about a turn that this session was given and has not ended."""

    message: wire.TurnMessage


class AskPermission(Step, frozen=True, kw_only=True):
    request: wire.PermissionRequest


class ClosePermission(Step, frozen=True, kw_only=True):
    """The agent's question was decided elsewhere."""

    closed: wire.PermissionClosed


class LinkMachine:
    """Feed it bodies of frames with :meth:`receive`; do the steps it returns, in order."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self._turns: set[TurnId] = set()
        self._reported: OrderedDict[TurnId, None] = OrderedDict()
        self.state = LinkState.OPENING

    # ── what the rest of the house decided ──────────────────────────────────

    def admitted(self) -> None:
        """The session is in."""
        if self.state is not LinkState.ADMITTING:
            raise LocalProtocolError(f"admitted while {self.state.name}")
        self.state = LinkState.REGISTERED

    def open_turn(self, turn_id: TurnId) -> None:
        """The session may speak of this turn until it ends it or :meth:`close_turn`."""
        self._turns.add(turn_id)

    def close_turn(self, turn_id: TurnId) -> None:
        self._turns.discard(turn_id)

    # ── what the peer sent ──────────────────────────────────────────────────

    def receive(self, body: bytes) -> Step | None:
        """Take the body of one frame; return what is to be done about it.

        Never raises for anything a peer can send.
        """
        try:
            message = wire.decode_from_proxy(body)
        except wire.BadFrame as torn:
            return self._over(torn)
        except (wire.UnknownMessage, wire.InvalidMessage) as wrong:
            return Say(
                message=wire.Error(
                    code="unknown_message"
                    if isinstance(wrong, wire.UnknownMessage)
                    else "invalid_message",
                    message=str(wrong),
                    fatal=False,
                )
            )
        match message:
            case wire.Ping():
                return Say(message=wire.Pong(n=message.n))
            case wire.Pong():
                return None
            case wire.Register():
                return self._register(message)
        if self.state is not LinkState.REGISTERED:
            return self._too_early(message)
        return self._registered(message)

    def torn(self, fault: RemoteProtocolError) -> Close:
        """The stream itself is out of step (a claimed length beyond the limit)."""
        return self._over(fault)

    def register_timeout(self) -> Close:
        self.state = LinkState.OVER
        return Close(
            message=wire.Refused(
                code="register_timeout",
                message="no register within 10 s of connecting; connect again and send it first",
            )
        )

    def _over(self, fault: RemoteProtocolError) -> Close:
        self.state = LinkState.OVER
        return Close(message=wire.Error(code="bad_frame", message=str(fault), fatal=True))

    def _register(self, register: wire.Register) -> Step:
        if self.state is not LinkState.OPENING:
            return Say(
                message=wire.Error(
                    code="already_registered",
                    message="this connection is registered; open another for another session",
                    fatal=False,
                )
            )
        refusal = self._refusal(register)
        if refusal is not None:
            self.state = LinkState.OVER
            return Close(message=refusal)
        self.state = LinkState.ADMITTING
        return Admit(register=register)

    def _refusal(self, register: wire.Register) -> wire.Refused | None:
        if register.protocol != wire.PROTOCOL_VERSION:
            return wire.Refused(
                code="unsupported_protocol",
                message=f"this daemon speaks protocol {wire.PROTOCOL_VERSION},"
                f" not {register.protocol}; install matching versions of daemon and proxy",
            )
        if not wire.SESSION_ID_PATTERN.fullmatch(register.session_id):
            return wire.Refused(
                code="invalid_session_id",
                message="session_id must be 1 to 128 of A-Z a-z 0-9 . _ : -",
            )
        if not self._verify(register.proof, register.session_id, register.role):
            return wire.Refused(
                code="bad_proof",
                message=f"the proof does not hold for role {register.role}; compute it from"
                f" this connection's nonce with tokens/{register.role}.token"
                " of the daemon's state directory",
            )
        return None

    @staticmethod
    def _too_early(message: wire.FromProxy) -> Say:
        if isinstance(message, wire.Tool):
            return Say(message=wire.ToolResult(id=message.id, ok=False, error=wire.NOT_REGISTERED))
        return Say(
            message=wire.Error(
                code="not_registered",
                message=f"{message.__struct_config__.tag} before register; send register first",
                fatal=False,
                turn_id=(getattr(message, "turn_id", None) or "")[:256] or None,
            )
        )

    def _registered(self, message: wire.FromProxy) -> Step | None:
        match message:
            case wire.Ack():
                return Acknowledge(ack=message)
            case wire.Tool():
                return UseTool(tool=message)
            case wire.PermissionRequest():
                return AskPermission(request=message)
            case wire.PermissionClosed():
                return ClosePermission(closed=message)
            case wire.Delta() | wire.ToolEvent() | wire.Plan() | wire.Usage() | wire.TurnEnd():
                return self._turn_said(message)
            case _:
                return None

    def _turn_said(self, message: wire.TurnMessage) -> Step | None:
        turn_id = TurnId(message.turn_id)
        if turn_id in self._turns:
            if isinstance(message, wire.TurnEnd):
                self._turns.discard(turn_id)
            return TurnSaid(message=message)
        if turn_id in self._reported:
            return None
        self._reported[turn_id] = None
        if len(self._reported) > REPORTED_TURNS_MAX:
            self._reported.popitem(last=False)
        return Say(
            message=wire.Error(
                code="unknown_turn",
                message="this turn has ended, or was never given to this session",
                fatal=False,
                turn_id=message.turn_id[:256],
            )
        )


def join_deltas(steps: Iterable[Step]) -> list[Step]:
    """Join consecutive deltas of one turn and channel into one, keeping all order.

    One read of the socket often brings many; the card then takes them as one.
    """
    joined: list[Step] = []
    texts: list[str] = []

    def flush() -> None:
        if len(texts) > 1:
            last = joined[-1]
            assert isinstance(last, TurnSaid)
            assert isinstance(last.message, wire.Delta)
            joined[-1] = TurnSaid(
                message=wire.Delta(
                    turn_id=last.message.turn_id,
                    text="".join(texts),
                    channel=last.message.channel,
                )
            )
        texts.clear()

    for step in steps:
        delta = step.message if isinstance(step, TurnSaid) else None
        if not isinstance(delta, wire.Delta):
            flush()
            joined.append(step)
            continue
        last = joined[-1] if joined else None
        before = last.message if isinstance(last, TurnSaid) else None
        if (
            texts
            and isinstance(before, wire.Delta)
            and (before.turn_id, before.channel) == (delta.turn_id, delta.channel)
        ):
            texts.append(delta.text)
            continue
        flush()
        joined.append(step)
        texts.append(delta.text)
    flush()
    return joined
