"""Who is let in beside the configuration: pairing codes, approvals, and the account's book.

Part of the intake, which alone changes the book of its account. A change is stored
before anybody is notified of it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog
import trio

from actors.intake.answers import Answers
from actors.intake.peers import Peers
from actors.intake.rows import store
from actors.messages import approvals, gateway, intake, journal
from protocol.ids import AccountId, idempotency_key
from protocol.platform.events import MessageReceived
from protocol.platform.outcomes import ChatFound, ChatMembersFound, MessageSent, Outcome
from protocol.quoted import quoted
from protocol.routing import pairing
from protocol.routing.access import PairingKind, Policy
from protocol.routing.pairing import AccessBook
from protocol.strings import Text, in_chat

log = structlog.get_logger()


class Pairing:
    """The gate's policy as it is now, and how it changes."""

    def __init__(
        self,
        account: AccountId,
        configured: Policy,
        peers: Peers,
        answers: Answers,
        *,
        now_ms: Callable[[], int],
        mint: Callable[[], str],
    ) -> None:
        self._account = account
        self._configured = configured
        self._to = peers
        self._answers = answers
        self._now_ms = now_ms
        self._mint = mint
        self._book = AccessBook()
        self.policy = configured

    async def load(self) -> None:
        """Take the book as the journal has it."""
        book: AccessBook | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.LoadAccess(account=self._account, reply=reply),
        )
        assert isinstance(book, AccessBook)
        self._keep(book)
        await self.report()

    # ── strangers ───────────────────────────────────────────────────────────

    def show_code(
        self, message: MessageReceived, kind: PairingKind, nursery: trio.Nursery
    ) -> str | None:
        """Let a stranger have a code, in a task of its own; return why there is none."""
        book, request = pairing.show(
            self._book,
            kind,
            message.sender_id,
            message.chat_id,
            now_ms=self._now_ms(),
            mint=self._mint,
        )
        if isinstance(request, pairing.Silence):
            return request.reason
        self._keep(book)
        nursery.start_soon(self._send_code, message, request)
        return None

    async def _send_code(self, message: MessageReceived, request: pairing.PairingRequest) -> None:
        text = in_chat.PAIRING_GROUP if request.kind == "group" else in_chat.PAIRING_DIRECT
        operation = self._answers.reply(message, text.format(code=request.code), "pairing")
        outcome = await self._to.call(operation, gateway.Priority.CREATE)
        sent = isinstance(outcome, MessageSent)
        if not sent:
            log.warning(
                "pairing.code_not_sent", chat=message.chat_id, outcome=type(outcome).__name__
            )
        await self._to.intake_tx.send(intake.CodeSent(request=request, sent=sent))
        if sent and not request.subject_name:
            await self._find_names(request)

    async def _find_names(self, request: pairing.PairingRequest) -> None:
        """Ask who it is, for the operator who is to let them in."""
        chat_id, name, chat_name = request.chat_id, "", ""
        members = await self._read(gateway.GetChatMembers(chat_id=chat_id))
        if isinstance(members, ChatMembersFound):
            name = members.names.get(request.open_id, "")
        if request.kind == "group":
            chat = await self._read(gateway.GetChat(chat_id=chat_id))
            chat_name = chat.name if isinstance(chat, ChatFound) else ""
        if name or chat_name:
            named = intake.CodeNamed(code=request.code, name=name, chat_name=chat_name)
            await self._to.intake_tx.send(named)

    async def _read(self, operation: gateway.Operation) -> Outcome:
        return await self._to.call(operation, gateway.Priority.TICK)

    async def code_sent(self, message: intake.CodeSent | intake.CodeNamed) -> None:
        """Store a code once its message is out; one that nobody saw is forgotten."""
        if isinstance(message, intake.CodeNamed):
            await self._store(
                pairing.named(self._book, message.code, message.name, message.chat_name)
            )
            return
        if not message.sent:
            self._keep(pairing.not_shown(self._book, message.request))
            return
        await self._store(self._book)
        log.info(
            "pairing.code_shown",
            account=self._account,
            kind=message.request.kind,
            chat=message.request.chat_id,
            sender=message.request.open_id,
        )

    # ── approvals ───────────────────────────────────────────────────────────

    def may_pair(self, message: MessageReceived) -> bool:
        """Whether this is an admin's direct chat, where ``/pair`` is accepted."""
        return message.chat_type == "p2p" and message.sender_id in self.policy.admins

    async def command(self, args: tuple[str, ...]) -> Text:
        """Carry out ``/pair <code>`` of an admin; return the answer."""
        if len(args) != 1:
            return in_chat.PAIR_USAGE
        approved = await self._approve(args[0], makes_first_admin=False)
        if approved is None:
            return in_chat.PAIR_UNKNOWN.format(code=args[0][:32])
        request = approved.request
        name = quoted(request.subject_name)
        subject = f"{name} ({request.subject})" if name else request.subject
        return in_chat.PAIR_APPROVED.format(subject=subject)

    async def operate(
        self, wish: intake.ListPairings | intake.ApprovePairing | intake.RevokePairing
    ) -> None:
        """Do what the command line asks, and answer it; nothing for one who waits no longer."""
        if wish.reply.abandoned:
            wish.reply.close()
            return
        match wish:
            case intake.ListPairings(reply=reply):
                with reply:
                    requests = pairing.pending(self._book, self._now_ms())
                    reply.send(intake.Pairings(book=_with(self._book, requests)))
            case intake.ApprovePairing(code=code, reply=reply):
                with reply:
                    approved = await self._approve(code, makes_first_admin=True)
                    reply.send(
                        intake.PairingResult(
                            text=None
                            if approved is None
                            else pairing.approved_text(approved, self._now_ms())
                        )
                    )
            case intake.RevokePairing(subject=subject, reply=reply):
                with reply:
                    reply.send(intake.PairingResult(text=await self._revoke(subject)))

    async def _approve(
        self, code: str, *, makes_first_admin: bool
    ) -> pairing.PairingApproved | None:
        book, approved = pairing.approve(
            self._book,
            self._configured,
            code,
            now_ms=self._now_ms(),
            makes_first_admin=makes_first_admin,
        )
        if approved is None:
            return None
        await self._store(book)
        request = approved.request
        log.info(
            "pairing.approved",
            account=self._account,
            kind=request.kind,
            subject=request.subject,
            became_admin=approved.became_admin,
        )
        text = in_chat.PAIRED_GROUP if request.kind == "group" else in_chat.PAIRED_DIRECT
        self._answers.post(
            request.chat_id, text, idempotency_key("paired", request.code, request.made_at_ms)
        )
        return approved

    async def _revoke(self, subject: str) -> str | None:
        policy = self._configured
        configured = subject in policy.allow_from | policy.admins | policy.groups.keys()
        book, changed = pairing.revoke(self._book, subject)
        if changed:
            await self._store(book)
            log.info("pairing.revoked", account=self._account, subject=subject)
        if configured:
            return (
                f"{subject} is let in by the configuration;"
                " take it out of allowFrom, admins or groups"
            )
        return f"revoked {subject}" if changed else None

    async def _store(self, book: AccessBook) -> None:
        done: journal.Done | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.SaveAccess(account=self._account, book=book, reply=reply),
        )
        assert isinstance(done, journal.Done)
        self._keep(book)
        await self.report()

    async def report(self) -> None:
        """Let the approvals know the gate: who was let out has no open request any more."""
        await self._to.approvals_tx.send(
            approvals.AccessIs(account=self._account, policy=self.policy)
        )

    def _keep(self, book: AccessBook) -> None:
        self._book = book
        self.policy = pairing.in_force(self._configured, book)


def _with(book: AccessBook, requests: tuple[pairing.PairingRequest, ...]) -> AccessBook:
    return msgspec.structs.replace(book, requests=requests)
