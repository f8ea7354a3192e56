"""Who the bot is: mention gates need its open_id."""

from __future__ import annotations

import random
from typing import Final

import structlog
import trio

from actors.intake.peers import Peers, call
from actors.messages import gateway, intake
from protocol.platform.outcomes import BotInfo

IDENTITY_FIRST_S: Final = 1.0
IDENTITY_MAX_S: Final = 60.0

log = structlog.get_logger()


async def learn_bot(peers: Peers, rng: random.Random) -> None:
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
