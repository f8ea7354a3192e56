"""``/mode``, ``/model``, ``/effort``, ``/commands``: asked of the session a chat is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import trio

from actors.intake.answers import CardAnswer, ChatAnswer
from actors.intake.peers import ASK_WITHIN_S, COMMAND_WITHIN_S, Peers
from actors.intake.stop import Stopper, toast
from actors.kit.mailbox import Reply, ask_or
from actors.messages import gateway, intake, ownership
from protocol.cards.choice_card import Asked, ChoicePress, choice_card
from protocol.ids import MessageId, OpenId, SessionId
from protocol.platform.events import MessageReceived
from protocol.routing import choosing
from protocol.routing.command import Name
from protocol.routing.roster import SessionView
from protocol.strings import Text, about_agents, in_chat, on_card
from protocol.wire import messages as wire
from protocol.wire import vocabulary

CHOSEN_WITHIN_S: Final = 10.0
KINDS: Final[Mapping[Name, vocabulary.OptionKind]] = {
    Name.MODE: "mode",
    Name.MODEL: "model",
    Name.EFFORT: "effort",
}


class Choosing:
    def __init__(self, peers: Peers, stopper: Stopper) -> None:
        self._to = peers
        self._stopper = stopper

    async def commands(self, current: SessionView | None) -> Text:
        """List the agent's own slash commands."""
        if current is None:
            return in_chat.NO_CURRENT_SESSION
        return choosing.commands(
            await self._offer(current.session.session_id, COMMAND_WITHIN_S), current.session.alias
        )

    async def choose(
        self,
        kind: vocabulary.OptionKind,
        current: SessionView | None,
        word: str,
        message: MessageReceived,
    ) -> ChatAnswer:
        """Show a card of what there is to choose, or choose it; in a group only for admins."""
        if current is None:
            return in_chat.NO_CURRENT_SESSION
        session_id = current.session.session_id
        option = choosing.option_of(await self._offer(session_id, COMMAND_WITHIN_S), kind)
        if option is None:
            return choosing.NONE_OFFERED[kind].format(alias=current.session.alias)
        if not word:
            asked = Asked(
                session_id=session_id,
                kind=kind,
                chat_id=message.chat_id,
                chat_type=message.chat_type,
            )
            return CardAnswer(choice_card(option, asked))
        choice = choosing.choice_of(option, word)
        if choice is None:
            return about_agents.CHOICE_UNKNOWN.format(word=word)
        if not self._may(choice, message.sender_id, message.chat_type):
            return about_agents.CHOICE_NOT_ALLOWED
        return (await self._set(session_id, option, choice, kind))[1]

    async def press(
        self, press: ChoicePress, message_id: MessageId | None, reply: Reply[intake.Toast | None]
    ) -> None:
        """Choose what a button stands for; the card shows then what holds.

        The platform wants its answer within 3 s; an agent may take 10 s to set it.
        """
        asked = press.asked
        option = choosing.option_of(await self._offer(asked.session_id, ASK_WITHIN_S), asked.kind)
        choices = option.choices if option is not None else ()
        choice = next((one for one in choices if one.id == press.choice), None)
        if option is None or choice is None:
            reply.send(toast("warning", on_card.TOAST_UNKNOWN))
            return
        admitted = self._stopper.may_choose(press.by, asked.chat_id, asked.chat_type)
        if not admitted or not self._may(choice, press.by, asked.chat_type):
            reply.send(toast("warning", about_agents.CHOICE_NOT_ALLOWED))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_answer_late, reply)
            done, text = await self._set(asked.session_id, option, choice, asked.kind)
            nursery.cancel_scope.cancel(reason="it is set, or not")
        reply.send(toast("success" if done else "error", text))
        if done and message_id is not None:
            chosen = msgspec.structs.replace(option, value=choice.id)
            patch = gateway.PatchMessage(
                message_id=message_id, content_json=choice_card(chosen, asked)
            )
            await self._to.call(patch, gateway.Priority.FINAL)

    def _may(self, choice: wire.Choice, by: OpenId, chat_type: str) -> bool:
        restricted = chat_type != "p2p" or choosing.skips_approvals(choice)
        return not restricted or self._stopper.is_admin(by)

    async def _set(
        self,
        session_id: SessionId,
        option: wire.Option,
        choice: wire.Choice,
        kind: vocabulary.OptionKind,
    ) -> tuple[bool, Text]:
        """Have the session's agent set it; return whether it did, and what to answer."""
        chosen: wire.Chosen = await ask_or(
            self._to.ownership_tx,
            lambda reply: ownership.PassChoice(
                session_id=session_id, option=option.id, choice=choice.id, reply=reply
            ),
            within_s=CHOSEN_WITHIN_S,
            otherwise=lambda reason: wire.Chosen(n=0, ok=False, error=reason),
        )
        if not chosen.ok:
            return False, about_agents.CHOICE_FAILED.format(reason=chosen.error or "?")
        return True, choosing.NAMES[kind].format(value=choice.name)

    async def _offer(self, session_id: SessionId, within_s: float) -> wire.OptionsOffer | None:
        nothing: wire.OptionsOffer | None = None
        return await ask_or(
            self._to.ownership_tx,
            lambda reply: ownership.FindOptions(session_id=session_id, reply=reply),
            within_s=within_s,
            otherwise=lambda _reason: nothing,
        )


async def _answer_late(reply: Reply[intake.Toast | None]) -> None:
    """Answer that it is under way, before the platform shows the person an error."""
    await trio.sleep(ASK_WITHIN_S)
    reply.send(toast("info", about_agents.CHOICE_UNDER_WAY))
