"""Approvals: what agents ask permission for, shown in the chat and decided by a press.

One actor owns every open request. It answers at once, whatever the platform does; the
card of each request is the work of a child, from its sending to its last state.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
import structlog
import trio

from actors.approvals.card import ApprovalCard
from actors.approvals.closing import close_what_was_left
from actors.approvals.peers import Peers
from actors.kit.mailbox import offer
from actors.messages import approvals, intake, link
from protocol.cards import approval, approval_card
from protocol.cards.approval import Approval, Decided, NotTaken, Origin
from protocol.ids import AccountId, ChatId, ConnectionId, MessageId, TurnId
from protocol.routing.access import Policy
from protocol.strings import Text, on_card
from protocol.wire import messages as wire

OPEN_MAX: Final = 512
"""Requests open at once; one more is answered ``cancelled``, so that no agent waits."""
UNSENT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of files that the platform has not taken yet."""
KEY_BYTES: Final = 12
SECRET_BYTES: Final = 32
VALID_S: Final = 60 * 60.0
ADMINS_MAX: Final = 8
"""Asked at once where no turn names a person."""
LOOK_CHARACTERS_MAX: Final = 2_000
"""Of a title and of a detail, for who only looks; the card shows the whole."""

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
            for intake_tx in peers.intakes:
                # Kept until it is taken: without the gate every request is a stranger's.
                nursery.start_soon(intake_tx.send, intake.ReportAccess())
            task_status.started()
            try:
                async for message in inbox:
                    actor.handle(message)
            finally:
                actor.leave()


class _Open(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A request as one person is shown it, who asked, and its card."""

    approval: Approval
    connection_id: ConnectionId
    turn_id: TurnId | None
    link: trio.MemorySendChannel[link.LinkMessage]
    card: ApprovalCard

    @property
    def asked_by(self) -> tuple[ConnectionId, str]:
        """What is the same for all who are shown the request."""
        return self.connection_id, self.approval.request.request_id


class _Approvals:
    def __init__(self, peers: Peers, nursery: trio.Nursery) -> None:
        self._peers = peers
        self._nursery = nursery
        self._secret = peers.random_bytes(SECRET_BYTES)
        self._open: dict[str, _Open] = {}
        self._policies: dict[AccountId, Policy] = {}

    def handle(self, message: approvals.ApprovalsMessage) -> None:
        match message:
            case approvals.Ask():
                self._ask(message)
            case approvals.Pressed(reply=reply):
                with reply:
                    if not reply.abandoned:  # else its person was notified that it is too late
                        reply.send(self._press(message))
            case approvals.AccessIs():
                self._access_is(message)
            case approvals.Closed(connection_id=connection_id, request_id=request_id):
                for each in self._all():
                    if each.asked_by == (connection_id, request_id):
                        self._close(each, on_card.APPROVAL_ELSEWHERE)
            case approvals.TurnOver(connection_id=connection_id, turn_id=turn_id):
                for each in self._all():
                    if (each.connection_id, each.turn_id) == (connection_id, turn_id):
                        self._close(each, on_card.APPROVAL_STOPPED, answer=True)
            case approvals.ConnectionOver(connection_id=connection_id):
                for each in self._all():
                    if each.connection_id == connection_id:
                        self._close(each, on_card.APPROVAL_STOPPED)
            case approvals.AllConnectionsOver():
                for each in self._all():
                    self._close(each, on_card.APPROVAL_STOPPED)
            case approvals.Look(reply=reply):
                with reply:
                    reply.send(tuple(self._asked_now()))
            case approvals.Expired(key=key, shown=shown):
                if key in self._open:
                    why = on_card.APPROVAL_EXPIRED if shown else on_card.APPROVAL_NOT_SHOWN
                    self._close(self._open[key], why, answer=True)

    def leave(self) -> None:
        """Answer every agent that waits: after a crash nobody else would."""
        for each in self._all():
            self._close(each, on_card.APPROVAL_STOPPED, answer=True)

    def _all(self) -> list[_Open]:
        return list(self._open.values())

    def _asked_now(self) -> Iterator[approvals.AskedNow]:
        seen: set[tuple[ConnectionId, str]] = set()
        for each in self._all():
            if each.asked_by in seen:
                continue
            seen.add(each.asked_by)
            asked = each.approval
            start = asked.shown.start
            cut = asked.shown.beside or len(start) > LOOK_CHARACTERS_MAX
            yield approvals.AskedNow(
                account=asked.place.account,
                chat_id=asked.place.chat_id,
                session_id=asked.session_id,
                alias=asked.alias,
                title=asked.request.title[:LOOK_CHARACTERS_MAX],
                detail=start[:LOOK_CHARACTERS_MAX] + "…" * cut or None,
                of_admins=asked.of_admins,
                expires_at_ms=asked.expires_at_ms,
            )

    # ── asked ───────────────────────────────────────────────────────────────

    def _ask(self, ask: approvals.Ask) -> None:
        request = ask.request
        if any(each.asked_by == (ask.connection_id, request.request_id) for each in self._all()):
            return  # asked twice: one card, one verdict
        of_admins, places = self._places(ask)
        full = len(self._open) >= OPEN_MAX or self._unsent_bytes() > UNSENT_BYTES_MAX
        if full or not places:
            log.warning(
                "approval.not_asked",
                session=ask.session_id,
                options=len(request.options),
                people=len(places),
            )
            cancelled = wire.PermissionVerdict(request_id=request.request_id, outcome="cancelled")
            offer(ask.link, cancelled)
            return
        for place in places:
            self._show(ask, place, of_admins=of_admins)

    def _unsent_bytes(self) -> int:
        return sum(len(each.card.file or b"") for each in self._all())

    def _places(self, ask: approvals.Ask) -> tuple[bool, list[Origin]]:
        """Return whether only admins decide, and where to ask: with each of them, then."""
        account = (
            ask.place.account if ask.place else ask.account or next(iter(self._peers.gateways))
        )
        policy = self._policies.get(account, Policy())
        if ask.place is not None and not approval.is_strangers(ask.place, policy):
            return False, [ask.place]
        return (
            True,
            [
                Origin(
                    account=account,
                    chat_id=ChatId(admin),  # the platform finds their direct chat
                    message_id=MessageId(""),
                    sender_id=admin,
                    chat_type="p2p",
                    lease_epoch=ask.place.lease_epoch if ask.place else 0,
                )
                for admin in sorted(policy.admins)[:ADMINS_MAX]
            ],
        )

    def _show(self, ask: approvals.Ask, place: Origin, *, of_admins: bool) -> None:
        asked = Approval(
            key=self._peers.random_bytes(KEY_BYTES).hex(),
            session_id=ask.session_id,
            alias=ask.alias,
            place=place,
            request=ask.request,
            shown=ask.shown,
            expires_at_ms=self._peers.now_ms() + int(VALID_S * 1000),
            of_admins=of_admins,
        )
        opening = approval_card.open_card(asked, self._secret)
        card = ApprovalCard(asked, opening, ask.file, self._peers)
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
            chat=place.chat_id,
            request=asked.key,
        )

    # ── decided ─────────────────────────────────────────────────────────────

    def _press(self, pressed: approvals.Pressed) -> intake.Toast:
        press = pressed.press
        held = self._open.get(press.key)
        if held is None:
            return _toast("info", on_card.TOAST_TOO_LATE)
        now_ms = self._peers.now_ms()
        match approval.judge(held.approval, press, pressed.policy, self._secret, now_ms):
            case NotTaken(toast=toast):
                log.warning("approval.press_refused", request=press.key, by=press.by)
                return _toast("warning", toast)
            case Decided(option=option):
                offer(
                    held.link,
                    wire.PermissionVerdict(
                        request_id=held.approval.request.request_id,
                        outcome="selected",
                        option_id=option.id,
                        by=press.by,
                    ),
                )
                del self._open[press.key]
                held.card.end(approval_card.chosen_card(held.approval, option, press.by))
                for other in self._all():
                    if other.asked_by == held.asked_by:
                        self._close(other, on_card.APPROVAL_ELSEWHERE)
                log.info("approval.decided", request=press.key, by=press.by, option=option.kind)
                allowed = approval.allows(option)
                return _toast(
                    "success" if allowed else "info",
                    on_card.TOAST_ALLOWED if allowed else on_card.TOAST_REJECTED,
                )

    def _access_is(self, access: approvals.AccessIs) -> None:
        self._policies[access.account] = access.policy
        for each in self._all():
            place = each.approval.place
            if place.account == access.account and not approval.may_decide(
                each.approval, place.sender_id, access.policy
            ):
                self._close(each, on_card.APPROVAL_STOPPED, answer=True)

    def _close(self, held: _Open, why: Text, *, answer: bool = False) -> None:
        """End what one person was shown and did not decide.

        Once nobody is left who could, *answer* the agent so that it does not wait.
        """
        self._open.pop(held.approval.key, None)
        held.card.end(approval_card.closed_card(held.approval, why))
        log.info("approval.closed", request=held.approval.key, reason=why.en)
        if answer and not any(each.asked_by == held.asked_by for each in self._all()):
            cancelled = wire.PermissionVerdict(
                request_id=held.approval.request.request_id, outcome="cancelled"
            )
            offer(held.link, cancelled)


def _toast(kind: str, text: Text) -> intake.Toast:
    return intake.Toast(kind=kind, en=text.en, zh=text.zh)
