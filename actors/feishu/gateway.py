"""The gateway: every HTTP call to the platform for one account, within its rate budget.

A call waits for its share of the budget, by priority, and is then made in a child of
its own. A card waits with a permit and makes its plan when it has one, so that what
goes out is the freshest; everybody else lets the gateway wait.

No call leaves the budget while as many are under way as may be: so a slow platform is
met by priority too, and what it held up does not arrive in one burst.
"""

from __future__ import annotations

import itertools
from typing import Final

import msgspec
import structlog
import trio

from actors.feishu import calls
from actors.feishu.http import CONNECTIONS_MAX, Platform, Transport
from actors.feishu.monthly import MonthlyCount
from actors.kit.mailbox import drain
from actors.messages import gateway
from protocol.ids import AccountId
from protocol.platform.budget import PER_CARD_SECOND, PER_CHAT_SECOND, Budget, Want
from protocol.platform.monthly import TICK_PRIORITY, allowed_priority
from protocol.platform.outcomes import Accepted, NoAnswer, Outcome, RateLimited, Rejected

CALLS_AT_ONCE_MAX: Final = CONNECTIONS_MAX
"""So no call ever waits for a connection inside the HTTP client, where nobody sees it."""
FORGET_IDLE_S: Final = 60.0
COUNT_EVERY_S: Final = 15.0
_CARD_APIS: Final = frozenset(
    {
        gateway.Api.UPDATE_CARD,
        gateway.Api.CARD_SETTINGS,
        gateway.Api.ELEMENT_CONTENT,
        gateway.Api.BATCH_UPDATE,
        gateway.Api.PATCH_ELEMENT,
    }
)

log = structlog.get_logger()


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    base_url: str
    app_id: str
    app_secret: str
    monthly_calls: int | None = None
    """None: as many as it takes."""

    def __repr__(self) -> str:
        return f"GatewaySettings({self.account}, {self.base_url}, {self.app_id})"


async def run(
    settings: GatewaySettings,
    inbox: trio.MemoryReceiveChannel[gateway.GatewayMessage],
    month: MonthlyCount | None = None,
    *,
    transport: Transport | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, or nobody can ask any more; calls under way are then cut.

    Whoever waits gets ``ActorGone``.
    """
    platform_of = Platform(settings.base_url, settings.app_id, settings.app_secret, transport)
    async with platform_of as platform:
        with inbox:
            try:
                async with trio.open_nursery() as nursery:
                    actor = _Gateway(settings, platform, nursery)
                    nursery.start_soon(actor.spend)
                    if month is not None and settings.monthly_calls is not None:
                        nursery.start_soon(actor.keep_to_month, month, settings.monthly_calls)
                    task_status.started()
                    try:
                        async for message in inbox:
                            actor.handle(message)
                    finally:
                        actor.drop_waiting()
                    nursery.cancel_scope.cancel(reason="nobody can ask any more")
            finally:
                drain(inbox)


class _Gateway:
    def __init__(
        self, settings: GatewaySettings, platform: Platform, nursery: trio.Nursery
    ) -> None:
        self._settings = settings
        self._platform = platform
        self._nursery = nursery
        self._budget: Budget[int] = Budget()
        self._waiters: dict[int, gateway.Permit | gateway.Call] = {}
        self._numbers = itertools.count(1)
        self._changed = trio.Event()
        self._at_once = trio.CapacityLimiter(CALLS_AT_ONCE_MAX)
        self._under_way = 0
        self._calls = 0
        self._rate_limited = 0
        self._last_error: str | None = None

    def handle(self, message: gateway.GatewayMessage) -> None:
        match message:
            case gateway.Permit(apis=apis, card_id=card_id, priority=priority):
                self._wait(message, Want(api=apis[0], priority=priority, resource=card_id))
            case gateway.Call(permit=None, operation=operation, priority=priority):
                call = self._build(operation)
                self._wait(
                    message,
                    Want(
                        api=call.api,
                        priority=priority,
                        resource=call.resource,
                        resource_per_second=PER_CARD_SECOND
                        if call.api in _CARD_APIS
                        else PER_CHAT_SECOND,
                    ),
                )
            case gateway.Call():
                self._start(message)
            case gateway.Statistics():
                with message.reply:
                    message.reply.send(
                        gateway.GatewayStatistics(
                            calls=self._calls,
                            rate_limited=self._rate_limited,
                            last_error=self._last_error,
                            waiting=self._budget.waiting,
                        )
                    )

    async def keep_to_month(self, month: MonthlyCount, budget: int) -> None:
        """Count what is called, and let the month's budget decide what still is."""
        counted, allowed = 0, -1
        while True:
            made, counted = self._calls - counted, self._calls
            used = await month.add(made)
            now_allowed = allowed_priority(used, budget)
            if now_allowed != allowed:
                allowed = now_allowed
                self._budget.allow_up_to(allowed)
                self._changed.set()
                if allowed < TICK_PRIORITY:
                    log.warning(
                        "feishu.monthly_budget",
                        account=self._settings.account,
                        used=used,
                        budget=budget,
                        still_made=gateway.Priority(allowed).name.lower(),
                    )
            await trio.sleep(COUNT_EVERY_S)

    def _build(self, operation: gateway.Operation) -> calls.HttpCall:
        return calls.build(operation, app_id=self._settings.app_id, app_secret="")

    def _wait(self, message: gateway.Permit | gateway.Call, want: Want) -> None:
        number = next(self._numbers)
        if not self._budget.wait(number, want):
            log.error("feishu.budget_full", account=self._settings.account, api=want.api)
            if isinstance(message, gateway.Call):
                message.reply.send(NoAnswer(reason="too many calls wait for the rate budget"))
            else:
                message.reply.close()
            return
        self._waiters[number] = message
        self._changed.set()

    def drop_waiting(self) -> None:
        """Close the replies of those who wait for their share: it will not come."""
        for message in self._waiters.values():
            message.reply.close()
        self._waiters.clear()

    async def spend(self) -> None:
        """Let those go whose share has come, for ever."""
        forget_at = trio.current_time() + FORGET_IDLE_S
        while True:
            now, ready, again_at = trio.current_time(), None, None
            if self._under_way < CALLS_AT_ONCE_MAX:
                ready, again_at = self._budget.next_ready(now)
            if ready is not None:
                number, want = ready
                message = self._waiters.pop(number)
                if message.reply.abandoned:
                    self._budget.refund(want)
                else:
                    self._go(message, number)
                continue
            if now >= forget_at:
                self._budget.forget_idle(now)
                forget_at = now + FORGET_IDLE_S
            self._changed = trio.Event()
            with trio.move_on_at(forget_at if again_at is None else min(again_at, forget_at)):
                await self._changed.wait()

    def _go(self, message: gateway.Permit | gateway.Call, number: int) -> None:
        if isinstance(message, gateway.Permit):
            message.reply.send(gateway.Granted(permit=number, api=message.apis[0]))
        else:
            self._start(message)

    def _start(self, message: gateway.Call) -> None:
        self._under_way += 1
        self._nursery.start_soon(self._perform, message)

    async def _perform(self, message: gateway.Call) -> None:
        with message.reply:
            # Permits given out just before may make it a few more than there are connections.
            async with self._at_once:
                outcome = await self._platform.perform(message.operation)
            self._under_way -= 1
            self._changed.set()
            self._calls += 1
            self._learn(message.operation, outcome)
            message.reply.send(outcome)

    def _learn(self, operation: gateway.Operation, outcome: Outcome) -> None:
        if isinstance(outcome, Accepted):
            return
        self._last_error = describe(outcome)
        if not isinstance(outcome, RateLimited):
            return
        self._rate_limited += 1
        call = self._build(operation)
        now = trio.current_time()
        # 99991400 counts an API of the app; the other codes one card, chat or message.
        if outcome.code == gateway.API_LIMIT_CODE or call.resource is None:
            self._budget.limited(call.api, outcome.retry_after_s, now)
        else:
            self._budget.limited_resource(call.resource, outcome.retry_after_s, now)
        log.warning(
            "feishu.rate_limited",
            account=self._settings.account,
            api=call.api,
            code=outcome.code,
            retry_after_s=outcome.retry_after_s,
        )


def describe(outcome: Outcome) -> str:
    """Describe in a few words what came of a call, for status and log."""
    match outcome:
        case Rejected(code=code, message=message):
            return f"{type(outcome).__name__} {code}: {message}"[:300]
        case NoAnswer(reason=reason):
            return f"NoAnswer: {reason}"[:300]
    return type(outcome).__name__
