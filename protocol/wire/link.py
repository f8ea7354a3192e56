"""The daemon's side of one proxy connection, as a state machine without I/O.

It starts in ``opening``. A valid ``register`` is handed up to be admitted; the
answer brings it to ``registered`` or to its end. It knows which turns the session
may send messages of, and answers everything else the contract names an answer for.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import TurnId
from protocol.wire import codec, vocabulary
from protocol.wire import messages as wire
from protocol.wire.auth import Verified
from protocol.wire.framing import FrameBody
from protocol.wire.steps import bounded

EARLY_ERRORS_MAX: Final = 16
"""Errors before registration that the link outlives; the next one closes it."""
REPORTED_TURNS_MAX: Final = 1_024
"""Turns whose ``unknown_turn`` was sent already; the oldest is forgotten first."""

Verify = Callable[[wire.Register], Verified | None]
"""``verify(register)``: does its proof hold for this link's nonce?"""


class LinkState(Enum):
    OPENING = auto()
    ADMITTING = auto()
    REGISTERED = auto()
    OVER = auto()


class LinkStep(Struct, frozen=True, kw_only=True):
    """One thing the link has to do because of what was received."""


class Send(LinkStep, frozen=True, kw_only=True):
    message: wire.FromDaemon


class CloseLink(LinkStep, frozen=True, kw_only=True):
    """Send this last, then close."""

    message: wire.Error | wire.Refused


class Admit(LinkStep, frozen=True, kw_only=True):
    """The proof holds: ask whether the session may come in."""

    register: wire.Register
    verified: Verified


Request = (
    wire.Ack
    | wire.Tool
    | wire.TurnOpen
    | wire.OptionsOffer
    | wire.Chosen
    | wire.Conversation
    | wire.Resumed
    | wire.PermissionRequest
    | wire.PermissionClosed
    | wire.AnswerTaken
)
"""Messages of a registered session that are passed on as they are."""

Received = LinkStep | Request | wire.TurnMessage
"""What one frame comes to."""


class LinkMachine:
    """Feed it bodies of frames with :meth:`receive`; do the steps it returns, in order."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify
        self._turns: set[TurnId] = set()
        self._reported: OrderedDict[TurnId, None] = OrderedDict()
        self._early_errors = 0
        self._has_session = True
        self.state = LinkState.OPENING

    # ── what the other actors decided ──────────────────────────────────

    def admitted(self, *, has_session: bool = True) -> None:
        """It is in. Without a session, an observer or operator may call tools and no more."""
        if self.state is not LinkState.ADMITTING:
            raise LocalProtocolError(f"admitted while {self.state.name}")
        self.state = LinkState.REGISTERED
        self._has_session = has_session

    def open_turn(self, turn_id: TurnId) -> None:
        """The session may send messages of this turn until it ends it or :meth:`close_turn`."""
        self._turns.add(turn_id)

    def close_turn(self, turn_id: TurnId) -> None:
        self._turns.discard(turn_id)

    def refuse_turn(self, turn_id: str, why: str) -> Send:
        """A turn of its own may not be opened; what it sends of it is dropped silently."""
        self._report(TurnId(turn_id))
        return Send(
            message=wire.Error(code="turn_refused", message=why, fatal=False, turn_id=turn_id[:256])
        )

    def _open(self, wish: wire.TurnOpen) -> LinkStep | wire.TurnOpen | None:
        turn_id = TurnId(wish.turn_id)
        if turn_id in self._turns or turn_id in self._reported:
            return None  # an id used before
        if not vocabulary.OWN_TURN_ID_PATTERN.fullmatch(wish.turn_id):
            return self.refuse_turn(
                wish.turn_id, "turn_id must be own- and 1 to 64 of A-Z a-z 0-9 . _ -"
            )
        return wish

    # ── what the peer sent ──────────────────────────────────────────────────

    def receive(self, body: FrameBody) -> Received | None:
        """Take the body of one frame; return what is to be done about it.

        Never raises for anything a peer can send.
        """
        try:
            message = codec.decode_from_proxy(body)
        except codec.BadFrame as torn:
            return self._over(torn)
        except (codec.UnknownMessage, codec.InvalidMessage) as wrong:
            return self._error(
                "unknown_message" if isinstance(wrong, codec.UnknownMessage) else "invalid_message",
                str(wrong),
            )
        match message:
            case wire.Ping():
                return Send(message=wire.Pong(n=message.n))
            case wire.Pong():
                return None
            case wire.Register():
                return self._register(message)
        if self.state is not LinkState.REGISTERED:
            return self._too_early(message)
        return self._registered(message)

    def refused(self, wrong: codec.InvalidMessage) -> Send | CloseLink:
        """A message was not even decoded: it holds more than any of the contract can."""
        return self._error("invalid_message", str(wrong))

    def torn(self, fault: RemoteProtocolError) -> CloseLink:
        """The stream itself is out of step (a claimed length beyond the limit)."""
        return self._over(fault)

    def register_timeout(self) -> CloseLink:
        self.state = LinkState.OVER
        return CloseLink(
            message=wire.Refused(
                code="register_timeout",
                message="no register within 10 s of connecting; connect again and send it first",
            )
        )

    def _over(self, fault: RemoteProtocolError) -> CloseLink:
        self.state = LinkState.OVER
        return CloseLink(message=wire.Error(code="bad_frame", message=str(fault), fatal=True))

    def _register(self, register: wire.Register) -> LinkStep:
        if self.state is not LinkState.OPENING:
            return Send(
                message=wire.Error(
                    code="already_registered",
                    message="this connection is registered; open another for another session",
                    fatal=False,
                )
            )
        verified = self._checked(register)
        if isinstance(verified, wire.Refused):
            self.state = LinkState.OVER
            return CloseLink(message=verified)
        self.state = LinkState.ADMITTING
        return Admit(register=register, verified=verified)

    def _checked(self, register: wire.Register) -> Verified | wire.Refused:
        if register.protocol != vocabulary.PROTOCOL_VERSION:
            return wire.Refused(
                code="unsupported_protocol",
                message=f"this daemon speaks protocol {vocabulary.PROTOCOL_VERSION},"
                f" not {register.protocol}; install matching versions of daemon and proxy",
            )
        if not vocabulary.SESSION_ID_PATTERN.fullmatch(register.session_id):
            return wire.Refused(
                code="invalid_session_id",
                message="session_id must be 1 to 128 of A-Z a-z 0-9 . _ : -",
            )
        return self._verify(register) or wire.Refused(
            code="bad_proof",
            message=f"the proof does not hold for role {register.role}; compute it from"
            f" this connection's nonce with tokens/{register.role}.token"
            " of the daemon's state directory",
        )

    def _too_early(self, message: wire.FromProxy) -> Send | CloseLink:
        if isinstance(message, wire.Tool) and not self._tries_too_much():
            return Send(
                message=wire.ToolResult(id=message.id, ok=False, error=vocabulary.NOT_REGISTERED)
            )
        return self._error(
            "not_registered",
            f"{message.__struct_config__.tag} before register; send register first",
            turn_id=(getattr(message, "turn_id", None) or "")[:256] or None,
        )

    def _error(
        self, code: vocabulary.ErrorCode, text: str, turn_id: str | None = None
    ) -> Send | CloseLink:
        """Answer with an error; who has registered nothing may make a few of them only."""
        if self.state is not LinkState.REGISTERED and self._tries_too_much():
            self.state = LinkState.OVER
            text = f"{text}; too many errors before register"
            return CloseLink(
                message=wire.Error(code=code, message=text, fatal=True, turn_id=turn_id)
            )
        return Send(message=wire.Error(code=code, message=text, fatal=False, turn_id=turn_id))

    def _tries_too_much(self) -> bool:
        self._early_errors += 1
        return self._early_errors > EARLY_ERRORS_MAX

    def _registered(self, message: wire.FromProxy) -> Received | None:
        if not (self._has_session or isinstance(message, wire.Tool)):
            return self._of_no_session(message)
        match message:
            case wire.TurnOpen():
                return self._open(message)
            case wire.Delta() | wire.ToolEvent() | wire.Plan() | wire.Usage() | wire.TurnEnd():
                return self._of_turn(message)
            case wire.Ping() | wire.Pong() | wire.Register():
                return None  # taken before
            case _:
                return message

    def _of_no_session(self, message: wire.FromProxy) -> Received | None:
        """Who only looks, or operates, sends nothing for a session, whatever id it registered."""
        match message:
            case wire.TurnOpen(turn_id=turn_id) if TurnId(turn_id) not in self._reported:
                return self.refuse_turn(turn_id, "an observer or operator opens no turns")
            case wire.Delta() | wire.ToolEvent() | wire.Plan() | wire.Usage() | wire.TurnEnd():
                return self._of_turn(message)
            case wire.PermissionRequest(request_id=request_id):
                verdict = wire.PermissionVerdict(request_id=request_id, outcome="cancelled")
                return Send(message=verdict)
        return None

    def _of_turn(self, message: wire.TurnMessage) -> Received | None:
        turn_id = TurnId(message.turn_id)
        if turn_id in self._turns:
            if isinstance(message, wire.TurnEnd):
                self._turns.discard(turn_id)
                if vocabulary.OWN_TURN_ID_PATTERN.fullmatch(turn_id):
                    self._report(turn_id)
            return bounded(message)
        if turn_id in self._reported:
            return None
        self._report(turn_id)
        return Send(
            message=wire.Error(
                code="unknown_turn",
                message="this turn has ended, or was never given to this session",
                fatal=False,
                turn_id=message.turn_id[:256],
            )
        )

    def _report(self, turn_id: TurnId) -> None:
        """From now on what is sent of this turn is dropped silently."""
        self._reported[turn_id] = None
        if len(self._reported) > REPORTED_TURNS_MAX:
            self._reported.popitem(last=False)


def join_deltas(messages: list[wire.TurnMessage]) -> list[wire.TurnMessage]:
    """Join consecutive deltas of one turn and channel into one, keeping all order.

    One read of the socket often brings many; the card then takes them as one.
    """
    if len(messages) == 1:
        return messages
    joined: list[wire.TurnMessage] = []
    for key, group in itertools.groupby(messages, _delta_key):
        run = list(group)
        if key is None or len(run) == 1:
            joined += run
            continue
        turn_id, channel = key
        text = "".join(one.text for one in run if isinstance(one, wire.Delta))
        joined.append(wire.Delta(turn_id=turn_id, text=text, channel=channel))
    return joined


def _delta_key(message: wire.TurnMessage) -> tuple[str, vocabulary.DeltaChannel] | None:
    return (message.turn_id, message.channel) if isinstance(message, wire.Delta) else None
