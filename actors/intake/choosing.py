"""``/mode``, ``/model``, ``/effort``, ``/commands``: asked of the session a chat is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from actors.intake.peers import COMMAND_WITHIN_S, Peers
from actors.kit.mailbox import ask_or
from actors.messages import ownership
from protocol import strings
from protocol.routing import choosing
from protocol.routing.command import Name
from protocol.routing.roster import SessionView
from protocol.strings import Text
from protocol.wire import messages as wire

CHOSEN_WITHIN_S: Final = 10.0
KINDS: Final[Mapping[Name, wire.OptionKind]] = {
    Name.MODE: "mode",
    Name.MODEL: "model",
    Name.EFFORT: "effort",
}


class Choosing:
    def __init__(self, peers: Peers) -> None:
        self._to = peers

    async def commands(self, current: SessionView | None) -> Text:
        """List the agent's own slash commands."""
        if current is None:
            return strings.NO_CURRENT_SESSION
        return choosing.commands(await self._offer(current), current.session.alias)

    async def choose(
        self,
        kind: wire.OptionKind,
        current: SessionView | None,
        word: str,
        *,
        admin: bool,
        group: bool,
    ) -> Text:
        """Show what there is to choose, or choose it; in a group only for admins."""
        if current is None:
            return strings.NO_CURRENT_SESSION
        option = choosing.option_of(await self._offer(current), kind)
        if option is None:
            return choosing.NONE_OFFERED[kind].format(alias=current.session.alias)
        if not word:
            return choosing.listing(option, kind)
        choice = choosing.choice_of(option, word)
        if choice is None:
            return strings.CHOICE_UNKNOWN.format(word=word)
        if not admin and (group or choosing.skips_approvals(choice)):
            return strings.CHOICE_NOT_ALLOWED
        chosen: wire.Chosen = await ask_or(
            self._to.ownership_tx,
            lambda reply: ownership.Choose(
                session_id=current.session.session_id,
                option=option.id,
                choice=choice.id,
                reply=reply,
            ),
            within_s=CHOSEN_WITHIN_S,
            otherwise=lambda reason: wire.Chosen(n=0, ok=False, error=reason),
        )
        if not chosen.ok:
            return strings.CHOICE_FAILED.format(reason=chosen.error or "?")
        return choosing.NAMES[kind].format(value=choice.name)

    async def _offer(self, current: SessionView) -> wire.Offer | None:
        nothing: wire.Offer | None = None
        return await ask_or(
            self._to.ownership_tx,
            lambda reply: ownership.FindOptions(session_id=current.session.session_id, reply=reply),
            within_s=COMMAND_WITHIN_S,
            otherwise=lambda _reason: nothing,
        )
