"""Who the bot is: mention gates need its open_id."""

from __future__ import annotations

import random
from typing import Final

import structlog

from actors.intake.peers import Peers
from actors.kit.retry import Pauses, Tries, while_it_helps
from actors.messages import gateway, intake
from protocol.platform.outcomes import BotInfo, Outcome

PAUSES: Final = Pauses(first_s=1.0, max_s=60.0)

log = structlog.get_logger()


async def learn_bot(peers: Peers, rng: random.Random) -> None:
    """Ask who the bot is, for ever with backoff; mention gates need its open_id."""

    def again_after_s(outcome: Outcome, pause_s: float) -> float | None:
        if isinstance(outcome, BotInfo):
            return None
        log.info("feishu.bot_unknown", outcome=type(outcome).__name__, again_in_s=pause_s)
        return pause_s * (1 + rng.random() / 4)

    found = await while_it_helps(
        lambda: peers.call(gateway.GetBotInfo(), gateway.Priority.CREATE),
        Tries(again_after_s=again_after_s, pauses=PAUSES, within_s=None),
    )
    assert isinstance(found, BotInfo)
    await peers.intake_tx.send(intake.BotKnown(open_id=found.open_id))
