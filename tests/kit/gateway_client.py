"""A gateway beside a sandbox platform in one process, and what tests ask of the two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from actors.feishu import gateway as gateway_actor
from actors.kit.mailbox import ask
from actors.messages import gateway
from actors.messages.gateway import Priority
from protocol.ids import AccountId, CardId, ChatId
from protocol.platform.outcomes import CardCreated, Outcome
from tests.kit.daemon import Platform, open_platform

ACCOUNT = AccountId("main")
MAILBOX = 1_000
WITHIN_S = 300.0
"""Of virtual time mostly: what is waited for in vain shows as this."""
ELEMENT = "/open-apis/cardkit/v1/cards/:card_id/elements/:element_id/content"
CARDS = "/open-apis/cardkit/v1/cards"
TOKEN = "/open-apis/auth/v3/tenant_access_token/internal"
REACTIONS = "/open-apis/im/v1/messages/:message_id/reactions"
BOT_INFO = "/open-apis/bot/v3/info"
CARD_JSON = msgspec.json.encode(
    {
        "schema": "2.0",
        "config": {"streaming_mode": True, "summary": {"content": "…"}},
        "body": {
            "elements": [{"tag": "markdown", "element_id": "answer", "content": "a"}],
        },
    }
).decode()


class GatewayClient:
    """Asks the gateway, and asks the platform what reached it."""

    def __init__(
        self, platform: Platform, mailbox: trio.MemorySendChannel[gateway.GatewayMessage]
    ) -> None:
        self.platform = platform
        self.mailbox = mailbox

    async def call(
        self,
        operation: gateway.Operation,
        priority: Priority = Priority.CREATE,
        permit: int | None = None,
    ) -> Outcome:
        outcome: Outcome = await ask(
            self.mailbox,
            lambda reply: gateway.Call(
                operation=operation, priority=priority, permit=permit, reply=reply
            ),
            within_s=WITHIN_S,
        )
        return outcome

    async def together(self, *operations: gateway.Operation) -> list[Outcome]:
        """Make calls at the same time; return what came of each, in their order."""
        outcomes: list[Outcome | None] = [None] * len(operations)

        async def one(number: int) -> None:
            outcomes[number] = await self.call(operations[number])

        async with trio.open_nursery() as nursery:
            for number in range(len(operations)):
                nursery.start_soon(one, number)
        return [outcome for outcome in outcomes if outcome is not None]

    async def state(self) -> gateway.GatewayStatistics:
        state: gateway.GatewayStatistics = await ask(
            self.mailbox, lambda reply: gateway.Statistics(reply=reply), within_s=WITHIN_S
        )
        return state

    async def arrived(self, template: str = "") -> list[dict[str, Any]]:
        """Return the calls the platform got, of one API or of all."""
        calls: list[dict[str, Any]] = await self.platform.get("calls", since=0)
        return [call for call in calls if template in ("", call["template"])]

    async def fault(self, template: str, kind: str, **more: Any) -> None:
        await self.platform.post("faults", match={"template": template}, kind=kind, **more)

    async def card(self) -> CardId:
        created = await self.call(gateway.CreateCard(card_json=CARD_JSON))
        assert isinstance(created, CardCreated)
        return created.card_id

    async def chat_id(self) -> ChatId:
        return ChatId((await self.platform.chat())["chat_id"])


@asynccontextmanager
async def open_gateway(
    *,
    app_secret: str | None = None,
    fresh: Callable[[], bool] | None = None,
    careful: bool = False,
    **sandbox: Any,
) -> AsyncIterator[GatewayClient]:
    async with open_platform(**sandbox) as platform, trio.open_nursery() as nursery:
        tx, rx = trio.open_memory_channel[gateway.GatewayMessage](MAILBOX)
        with tx:
            app = platform.running.settings
            await nursery.start(
                gateway_actor.run,
                gateway_actor.GatewaySettings(
                    account=ACCOUNT,
                    base_url=platform.base_url,
                    app_id=app.app_id,
                    app_secret=app_secret or app.app_secret,
                    fresh=fresh,
                    careful=careful,
                ),
                rx,
            )
            yield GatewayClient(platform, tx)
        nursery.cancel_scope.cancel()


def content(card_id: CardId, text: str, sequence: int) -> gateway.ElementContent:
    return gateway.ElementContent(
        card_id=card_id,
        element_id="answer",
        content=text,
        sequence=sequence,
        uuid=f"{card_id}-{sequence}",
    )
