"""Intake: from a committed event to a row a session may be given.

One per account. It owns the order of inbound events: they are taken one by one in
order of receipt, so per-chat order holds by itself. The gate decides who may speak;
a stop word or command is the daemon's own; everything else becomes ready in
the journal, and ownership is notified.

At start, and when the bot has learnt who it is, it takes what is still
``received`` in the journal. Every step can be repeated without harm.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeGuard

import msgspec
import structlog
import trio

from actors.intake.answers import Answers
from actors.intake.attachments import Fetcher
from actors.intake.commands import Commands
from actors.intake.marks import WaitingMarks
from actors.intake.pairing import Pairing
from actors.intake.peers import Peers, call
from actors.intake.prompts import Prompts
from actors.intake.rows import close_row, store
from actors.intake.stop import Stopper
from actors.kit.mailbox import offer
from actors.messages import gateway, intake, journal, lane, ownership
from protocol import strings
from protocol.errors import RemoteProtocolError
from protocol.ids import (
    AccountId,
    ChatId,
    MessageId,
    OpenId,
    RowId,
)
from protocol.platform.comments import Place, place_of
from protocol.platform.content import Content, read_content
from protocol.platform.events import (
    CommentAdded,
    MessageReceived,
    decode_comment,
    decode_message,
    decode_recalled,
)
from protocol.platform.outcomes import BotInfo
from protocol.routing import access, command
from protocol.routing.delivery import Inbound, RowState
from protocol.routing.roster import ReplyMode

PAGE_ROWS: Final = 200
BATCH_EVENTS_MAX: Final = 64
"""Events taken before what is ready among them is committed: a fraction of a commit's time."""
HELD_MS_MAX: Final = 10 * 60 * 1_000
"""How long a group's message waits for the bot to know itself."""
IDENTITY_FIRST_S: Final = 1.0
IDENTITY_MAX_S: Final = 60.0

log = structlog.get_logger()


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    policy: access.Policy
    language: strings.Language
    session_reply_mode: ReplyMode
    agents: tuple[str, ...]
    """Names of the agents that can be started from a chat."""
    attachments: Path
    """Where what messages carry is saved: a private directory."""
    mint_code: Callable[[], str]
    """A new pairing code, from a cryptographic source."""


async def run(
    settings: IntakeSettings,
    inbox: trio.MemoryReceiveChannel[intake.IntakeMessage],
    peers: Peers,
    *,
    now_ms: Callable[[], int],
    rng: random.Random,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Started once what the journal still held is on its way."""
    with inbox:
        async with trio.open_nursery() as nursery:
            actor = _Intake(settings, peers, nursery, now_ms)
            nursery.start_soon(_learn_bot, peers, rng)
            await actor.open()
            task_status.started()
            async for message in inbox:
                await actor.handle(message)
                await actor.handle_waiting(inbox)


async def _learn_bot(
    peers: Peers,
    rng: random.Random,
) -> None:
    """Ask who the bot is, for ever with backoff; mention gates need its open_id."""
    pause_s = IDENTITY_FIRST_S
    while True:
        outcome = await call(peers.gateway_tx, gateway.GetBotInfo(), gateway.Priority.CREATE)
        if isinstance(outcome, BotInfo):
            await peers.intake_tx.send(intake.BotKnown(open_id=outcome.open_id))
            return
        log.info("feishu.bot_unknown", outcome=type(outcome).__name__, again_in_s=pause_s)
        await trio.sleep(pause_s * (1 + rng.random() / 4))
        pause_s = min(pause_s * 2, IDENTITY_MAX_S)


class _Intake:
    def __init__(
        self,
        settings: IntakeSettings,
        peers: Peers,
        nursery: trio.Nursery,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._to = peers
        self._answers = Answers(nursery, peers.gateway_tx, settings.language)
        self._pairing = Pairing(
            settings.account,
            settings.policy,
            peers,
            self._answers,
            now_ms=now_ms,
            mint=settings.mint_code,
        )
        self._stopper = Stopper(peers, self._answers, lambda: self._pairing.policy.admins)
        self._marks = WaitingMarks(peers, self._answers, nursery)
        self._commands = Commands(
            peers,
            self._answers,
            self._stopper,
            self._marks,
            agents=settings.agents,
            reply_mode=settings.session_reply_mode,
            now_ms=now_ms,
        )
        self._nursery = nursery
        self._now_ms = now_ms
        self._bot: OpenId | None = None
        self._refusals: Counter[str] = Counter()
        self._prompts = Prompts(
            settings.account,
            peers,
            self._answers,
            self._marks,
            fetcher=Fetcher(peers, settings.attachments),
            nursery=nursery,
            now_ms=now_ms,
        )

    async def open(self) -> None:
        """Know who was paired, then take what an earlier run left."""
        await self._pairing.load()
        await self.recover_unprepared()

    async def handle_waiting(self, inbox: trio.MemoryReceiveChannel[intake.IntakeMessage]) -> None:
        """Take what else has arrived, then make all prompts among it ready together."""
        for _ in range(BATCH_EVENTS_MAX):
            try:
                message = inbox.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            await self.handle(message)
        await self._prompts.make_ready()

    async def handle(self, message: intake.IntakeMessage) -> None:
        match message:
            case intake.Arrived(inbound=inbound):
                await self._take(inbound)
            case intake.CardAction(inbound=inbound):
                with message.reply:
                    message.reply.send(await self._stopper.press(inbound))
                await self._close(inbound.row_id, RowState.COMMAND, "card action")
            case intake.BotKnown(open_id=open_id):
                self._bot = open_id
                await self.recover_unprepared()
            case intake.Recover():
                await self.recover_unprepared()
            case intake.ContentFetched():
                if self._prompts.completed(message):
                    await self.recover_unprepared()
            case intake.RefusalSent():
                if await self._prompts.refused(message):
                    await self.recover_unprepared()
            case intake.MarkPlaced():
                self._marks.was_put(message)
            case intake.TurnBegan(message_id=message_id):
                self._marks.clear(message_id)
            case intake.CodeSent():
                await self._pairing.code_sent(message)
            case intake.ListPairings() | intake.ApprovePairing() | intake.RevokePairing():
                await self._pairing.operate(message)

    async def recover_unprepared(self) -> None:
        """Take every row still ``received``, oldest first."""
        after = RowId(0)
        while True:
            page = await self._unprepared(after)
            for inbound in page:
                await self._take(inbound)
                after = inbound.row_id
            await self._prompts.make_ready()
            if len(page) < PAGE_ROWS:
                return

    async def _unprepared(self, after: RowId) -> tuple[Inbound, ...]:
        page: tuple[Inbound, ...] | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.Unprepared(
                account=self._settings.account, after_row=after, limit=PAGE_ROWS, reply=reply
            ),
        )
        assert not isinstance(page, journal.Failed)
        return page

    async def _take(self, inbound: Inbound) -> None:
        try:
            match inbound.kind:
                case "message":
                    await self._message(inbound, decode_message(inbound.payload))
                case "recalled":
                    await self._prompts.make_ready()
                    await self._recall(decode_recalled(inbound.payload).message_id)
                    await self._close(inbound.row_id, RowState.COMMAND, "recall")
                case "comment":
                    await self._comment(inbound, decode_comment(inbound.payload))
                case "card_action":
                    # Its three seconds are over: it was committed just before a crash.
                    await self._close(inbound.row_id, RowState.EXPIRED, "card action")
                case "other":
                    await self._close(inbound.row_id, RowState.COMMAND, "not acted upon")
        except RemoteProtocolError as unreadable:
            log.warning(
                "feishu.event.unreadable", event_id=inbound.event_id, reason=str(unreadable)
            )
            await self._close(inbound.row_id, RowState.REFUSED, str(unreadable)[:500])

    # ── messages ────────────────────────────────────────────────────────────

    async def _message(self, inbound: Inbound, message: MessageReceived) -> None:
        content = read_content(message.message_type, message.content, message.mentions)
        wanted = self._wanted(message, content)
        if self._pairing.may_pair(message) and _is_pair(wanted):
            # Before the gate: who may let others in need not be let in.
            await self._pairing.command(message, wanted.args)
            await self._close(inbound.row_id, RowState.COMMAND, "pair")
            return
        match self._decide(message):
            case access.Admitted():
                pass
            case access.Held(reason=reason):
                if self._now_ms() - inbound.received_at_ms > HELD_MS_MAX:
                    await self._refuse(inbound, message, message.chat_id, reason)
                return
            case access.Dropped(reason=reason):
                await self._refuse(inbound, message, message.chat_id, reason)
                return
            case access.NeedsPairing(kind=kind):
                silence = self._pairing.show_code(message, kind, self._nursery)
                why = silence or f"{kind} pairing required"
                await self._refuse(inbound, message, message.chat_id, why)
                return
        if _is_pair(wanted):
            self._answers.send(message.message_id, message.chat_id, strings.PAIR_NOT_HERE, "pair")
            await self._close(inbound.row_id, RowState.COMMAND, "pair")
            return
        if isinstance(wanted, command.Prompt):
            await self._prompts.take(inbound, message, content)
            return
        await self._prompts.make_ready()  # what came before it stays before it
        if isinstance(wanted, command.Command):
            await self._commands.run(message, wanted)
        else:
            await self._stopper.word(message, always_answer=False)
        await self._close(inbound.row_id, RowState.COMMAND, None)

    async def _comment(self, inbound: Inbound, comment: CommentAdded) -> None:
        """A comment of a document that mentions the bot: a direct message, to the gate."""
        place = Place(comment.file_type, comment.file_token, comment.comment_id)
        if not comment.mentions_bot or place_of(place.chat_id) is None:
            await self._close(inbound.row_id, RowState.COMMAND, "not acted upon")
            return
        approach = access.Approach(
            sender_id=comment.sender_id, chat_id=place.chat_id, chat_type="p2p"
        )
        match access.decide(self._pairing.policy, approach, self._bot):
            case access.Admitted():
                await self._prompts.take_comment(inbound, comment)
            case access.Dropped(reason=reason) | access.Held(reason=reason):
                await self._refuse(inbound, comment, place.chat_id, reason)
            case access.NeedsPairing():  # no code can be shown to one person there
                await self._refuse(inbound, comment, place.chat_id, access.NOT_ON_ALLOWLIST)

    async def _recall(self, message_id: MessageId) -> None:
        """A prompt that waits never starts; a turn that runs is stopped."""
        answer: journal.Done | journal.Failed = await store(
            self._to.journal_tx,
            lambda reply: journal.DropMessage(
                account=self._settings.account,
                message_key=message_id,
                note="recalled",
                at_ms=self._now_ms(),
                reply=reply,
            ),
        )
        assert isinstance(answer, journal.Done)
        self._marks.clear(message_id)
        if not answer.changed:
            await self._to.lanes_tx.send(lane.MessageRecalled(message_id=message_id))

    def _decide(self, message: MessageReceived) -> access.Decision:
        mentioned = {each.open_id for each in message.mentions if each.open_id}
        approach = access.Approach(
            sender_id=message.sender_id,
            chat_id=message.chat_id,
            chat_type=message.chat_type,
            mentions=frozenset(mentioned),
            sender_is_bot=message.sender_type not in ("user", ""),
        )
        return access.decide(self._pairing.policy, approach, self._bot)

    def _wanted(
        self, message: MessageReceived, content: Content
    ) -> command.StopWord | command.Command | command.Prompt:
        if content.own_text is None:
            return command.Prompt()
        bot_keys = [each.key for each in message.mentions if each.open_id == self._bot]
        return command.parse(content.own_text, bot_keys=bot_keys)

    async def _refuse(
        self,
        inbound: Inbound,
        source: MessageReceived | CommentAdded,
        chat_id: ChatId,
        reason: str,
    ) -> None:
        log.info(
            "feishu.message.refused",
            account=self._settings.account,
            chat=chat_id,
            event_id=inbound.event_id,
            sender=source.sender_id,
            reason=reason,
        )
        self._refusals[reason] += 1
        offer(  # dropped when full: the next one has all of it
            self._to.ownership_tx,
            ownership.Refusals(account=self._settings.account, by_reason=dict(self._refusals)),
        )
        await self._close(inbound.row_id, RowState.REFUSED, reason)

    async def _close(self, row_id: RowId, state: RowState, note: str | None) -> None:
        await close_row(self._to.journal_tx, row_id, state, note, self._now_ms())


def _is_pair(
    wanted: command.StopWord | command.Command | command.Prompt,
) -> TypeGuard[command.Command]:
    return isinstance(wanted, command.Command) and wanted.name is command.Name.PAIR
