"""Approvals: what agents ask permission for, shown in the chat and decided by a press.

One actor owns every open request. It answers at once, whatever the platform does; the
card of each request is the work of a child, from its sending to its last state.
"""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
import trio

from actors.approvals.card import ApprovalCard, close_what_was_left
from actors.approvals.peers import Peers
from actors.kit.mailbox import offer
from actors.messages import approvals, intake, link
from protocol import strings
from protocol.cards import approval
from protocol.cards.approval import Approval, Chosen, NotTaken
from protocol.ids import ConnectionId, TurnId
from protocol.strings import Text
from protocol.wire import messages as wire

OPEN_MAX: Final = 512
"""Requests open at once; one more is answered ``cancelled``, so that no agent waits."""
KEY_BYTES: Final = 12
SECRET_BYTES: Final = 32
VALID_S: Final = 60 * 60.0

log = structlog.get_logger()


async def run(
    peers: Peers,
    inbox: trio.MemoryReceiveChannel[approvals.ApprovalsMessage],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; the cards of open requests are closed on the way out."""
    with inbox:
        async with trio.open_nursery() as nursery:
            actor = _Approvals(peers, nursery)
            nursery.start_soon(close_what_was_left, peers)
            task_status.started()
            async for message in inbox:
                actor.handle(message)


class _Open(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A request, who asked, and its card."""

    approval: Approval
    connection_id: ConnectionId
    turn_id: TurnId | None
    link: trio.MemorySendChannel[link.LinkMessage]
    card: ApprovalCard


class _Approvals:
    def __init__(self, peers: Peers, nursery: trio.Nursery) -> None:
        self._peers = peers
        self._nursery = nursery
        self._secret = peers.random_bytes(SECRET_BYTES)
        self._open: dict[str, _Open] = {}

    def handle(self, message: approvals.ApprovalsMessage) -> None:
        match message:
            case approvals.Ask():
                self._ask(message)
            case approvals.Pressed(press=press, reply=reply):
                with reply:
                    reply.send(self._press(press))
            case approvals.Closed(connection_id=connection_id, request_id=request_id):
                for each in self._all():
                    mine = each.connection_id == connection_id
                    if mine and each.approval.request.request_id == request_id:
                        self._close(each, strings.APPROVAL_ELSEWHERE)
            case approvals.TurnOver(turn_id=turn_id):
                for each in self._all():
                    if each.turn_id == turn_id:
                        self._close(each, strings.APPROVAL_STOPPED, answer=True)
            case approvals.ConnectionOver(connection_id=connection_id):
                for each in self._all():
                    if each.connection_id == connection_id:
                        self._close(each, strings.APPROVAL_STOPPED)
            case approvals.Expired(key=key, shown=shown):
                if key in self._open:
                    why = strings.APPROVAL_EXPIRED if shown else strings.APPROVAL_NOT_SHOWN
                    self._close(self._open[key], why, answer=True)

    def _all(self) -> list[_Open]:
        return list(self._open.values())

    def _ask(self, ask: approvals.Ask) -> None:
        request = ask.request
        if any(
            (each.connection_id, each.approval.request.request_id)
            == (ask.connection_id, request.request_id)
            for each in self._open.values()
        ):
            return  # asked twice: one card, one verdict
        if not request.options or len(self._open) >= OPEN_MAX:
            log.warning("approval.not_asked", session=ask.session_id, options=len(request.options))
            cancelled = wire.PermissionVerdict(request_id=request.request_id, outcome="cancelled")
            offer(ask.link, link.Verdict(verdict=cancelled))
            return
        asked = Approval(
            key=self._peers.random_bytes(KEY_BYTES).hex(),
            session_id=ask.session_id,
            alias=ask.alias,
            place=ask.place,
            request=request,
            expires_at_ms=self._peers.now_ms() + int(VALID_S * 1000),
        )
        card = ApprovalCard(asked, approval.open_card(asked, self._secret), self._peers)
        self._open[asked.key] = _Open(
            approval=asked,
            connection_id=ask.connection_id,
            turn_id=ask.turn_id,
            link=ask.link,
            card=card,
        )
        self._nursery.start_soon(card.run, VALID_S)
        log.info(
            "approval.asked",
            session=ask.session_id,
            turn=ask.turn_id,
            chat=ask.place.chat_id,
            request=asked.key,
        )

    def _press(self, press: approval.Press) -> intake.Toast:
        held = self._open.get(press.key)
        if held is None:
            return _toast("info", strings.TOAST_TOO_LATE)
        match approval.judge(held.approval, press, self._secret, self._peers.now_ms()):
            case NotTaken(toast=toast):
                log.warning("approval.press_refused", request=press.key, by=press.by)
                return _toast("warning", toast)
            case Chosen(option=option):
                self._verdict(
                    held,
                    wire.PermissionVerdict(
                        request_id=held.approval.request.request_id,
                        outcome="selected",
                        option_id=option.id,
                        by=press.by,
                    ),
                )
                held.card.end(approval.chosen_card(held.approval, option, press.by))
                log.info("approval.decided", request=press.key, by=press.by, option=option.kind)
                allowed = approval.allows(option)
                return _toast(
                    "success" if allowed else "info",
                    strings.TOAST_ALLOWED if allowed else strings.TOAST_REJECTED,
                )

    def _close(self, held: _Open, why: Text, *, answer: bool = False) -> None:
        """End a request that nobody decided here; *answer* the agent so that it does not wait."""
        if answer:
            self._verdict(
                held,
                wire.PermissionVerdict(
                    request_id=held.approval.request.request_id, outcome="cancelled"
                ),
            )
        self._open.pop(held.approval.key, None)
        held.card.end(approval.closed_card(held.approval, why))
        log.info("approval.closed", request=held.approval.key, reason=why.en)

    def _verdict(self, held: _Open, verdict: wire.PermissionVerdict) -> None:
        self._open.pop(held.approval.key, None)
        offer(held.link, link.Verdict(verdict=verdict))


def _toast(kind: str, text: Text) -> intake.Toast:
    return intake.Toast(kind=kind, en=text.en, zh=text.zh)
