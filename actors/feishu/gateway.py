"""The gateway: every HTTP call to the platform for one account, within its rate budget.

A call waits for its share of the budget, by priority, and is then made in a child of
its own. A card waits with a permit and makes its plan when it has one, so that what
goes out is the freshest; everybody else lets the gateway wait.

No call leaves the budget while as many are under way as may be: so a slow platform is
met by priority too, and what it held up does not arrive in one burst.

Where another machine may take over (:class:`GatewaySettings.fresh`), nothing is called
while this one may have lost its claim, and what is under way is cut.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import trio

from actors.feishu import calls
from actors.feishu.call_counts import CallCounts
from actors.feishu.download import InThread
from actors.feishu.exchange import Transport
from actors.feishu.http import CONNECTIONS_MAX, Platform
from actors.feishu.monthly import MonthlyCount
from actors.kit.clock import next_multiple
from actors.kit.mailbox import drain
from actors.messages import gateway
from actors.messages.gateway import Api
from protocol.ids import AccountId
from protocol.platform.api_budget import Limits, Shares
from protocol.platform.budget import PER_CARD_SECOND, PER_CHAT_SECOND, Budget, Ready, Want
from protocol.platform.monthly import TICK_PRIORITY, allowed_priority
from protocol.platform.outcomes import NoAnswer, Outcome, RateLimited, Rejected
from protocol.platform.window import NEVER

CALLS_AT_ONCE_MAX: Final = CONNECTIONS_MAX
"""So no call ever waits for a connection inside the HTTP client, where nobody sees it."""
TEXT_AT_ONCE_MAX: Final = CALLS_AT_ONCE_MAX * 3 // 4
"""The others are kept for what is more urgent: text whose calls all hang holds up no end."""
FORGET_IDLE_S: Final = 60.0
COUNT_EVERY_S: Final = 15.0
FRESH_EVERY_S: Final = 0.2
"""How often a frozen claim is looked for: calls under way are to be cut within a second."""
SHARES: Final[dict[str, Shares]] = {
    Api.ELEMENT_CONTENT: Shares(spread=1.0),
    Api.BATCH_UPDATE: Shares(spread=1.0),
    Api.PATCH_ELEMENT: Shares(spread=1.0),
    Api.UPDATE_CARD: Shares(text=0.5, second=0.5, text_burst=4),
}
"""No end goes by the first three. Ends and structure keep half of the fourth, and most of
each second of it: forty turns that end together have capacity for their ends at once."""
TOGETHER_S: Final = 0.05
"""Who waits for the budget goes at multiples of it: each time the loop wakes from idle costs as
much as a call or two."""
_CARD_APIS: Final = frozenset({*gateway.TEXT_APIS, Api.CARD_SETTINGS})

log = structlog.get_logger()


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    account: AccountId
    base_url: str
    app_id: str
    app_secret: str
    monthly_calls: int | None = None
    """None: as many as it takes."""
    limits: Limits = Limits()
    fresh: Callable[[], bool] | None = None
    """Whether this process still holds its claim; None: nobody else can take it."""
    in_thread: InThread = trio.to_thread.run_sync
    """Runs what waits for the disk: of what messages carry."""
    careful: bool = False
    """Whether another process may have used up the budgets of the minute before."""

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
    platform_of = Platform(
        settings.base_url, settings.app_id, settings.app_secret, transport, settings.in_thread
    )
    async with platform_of as platform:
        with inbox:
            try:
                async with trio.open_nursery() as nursery:
                    actor = _Gateway(settings, platform, nursery)
                    nursery.start_soon(actor.spend)
                    if settings.fresh is not None:
                        nursery.start_soon(actor.cut_when_frozen, settings.fresh)
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
        self._budget: Budget[int] = Budget(
            settings.limits,
            SHARES,
            used_up_at=trio.current_time() if settings.careful else None,
        )
        self._waiters: dict[int, gateway.Permit | gateway.Call] = {}
        self._granted: OrderedDict[int, tuple[float, Ready[int]]] = OrderedDict()
        self._numbers = itertools.count(1)
        self._changed = trio.Event()
        self._at_once = trio.CapacityLimiter(CALLS_AT_ONCE_MAX)
        self._under_way: set[trio.CancelScope] = set()
        self._counts = CallCounts()

    def handle(self, message: gateway.GatewayMessage) -> None:
        match message:
            case gateway.Permit(apis=apis, card_id=card_id, priority=priority):
                self._wait(message, Want(apis=apis, priority=priority, resource=card_id))
            case gateway.Call(permit=permit):
                try:
                    want = self._want_of(message)
                except calls.InvalidIdError as wrong:
                    message.reply.send(Rejected(code=0, message=str(wrong)))
                    return
                granted = None if permit is None else self._take_granted(permit, want.apis[0])
                if granted is not None:
                    self._start(message, granted)
                else:
                    self._wait(message, want)
            case gateway.Statistics():
                with message.reply:
                    message.reply.send(
                        self._counts.statistics(
                            waiting=self._budget.waiting,
                            under_way=len(self._under_way),
                            used=self._budget.used(trio.current_time()),
                        )
                    )

    def _want_of(self, message: gateway.Call) -> Want:
        call = calls.build(message.operation, app_id=self._settings.app_id, app_secret="")
        return Want(
            apis=(call.api,),
            priority=message.priority,
            resource=call.resource,
            resource_per_second=PER_CARD_SECOND if call.api in _CARD_APIS else PER_CHAT_SECOND,
        )

    def _take_granted(self, permit: int, api: str) -> Ready[int] | None:
        """Return the permit, if it is still valid, and for this API."""
        _, granted = self._granted.pop(permit, (0.0, None))
        if granted is not None and api != granted.api:
            self._budget.refund(granted, trio.current_time())
            self._changed.set()
            return None
        return granted

    async def keep_to_month(self, month: MonthlyCount, budget: int) -> None:
        """Count what is called, and let the month's budget decide what still is."""
        counted, allowed = 0, -1
        while True:
            made, counted = self._counts.calls - counted, self._counts.calls
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

    def _wait(self, message: gateway.Permit | gateway.Call, want: Want) -> None:
        number, others_wait = next(self._numbers), self._budget.has_waiter(want)
        if not self._budget.wait(number, want, trio.current_time()):
            log.error("feishu.budget_full", account=self._settings.account, api=want.apis[0])
            if isinstance(message, gateway.Call):
                message.reply.send(NoAnswer(reason="too many calls wait for the rate budget"))
            else:
                message.reply.close()
            return
        self._waiters[number] = message
        if not others_wait:
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
            now = trio.current_time()
            again_at = self._void_permits(now)
            if self._is_frozen():
                again_at = now + FRESH_EVERY_S
            elif len(self._under_way) < CALLS_AT_ONCE_MAX:
                is_busy = len(self._under_way) >= TEXT_AT_ONCE_MAX
                most = gateway.Priority.CREATE if is_busy else None
                ready, ready_at = self._budget.next_ready(now, most)
                if ready is not None:
                    self._go(ready)
                    continue
                if ready_at is not None:
                    again_at = min(again_at, next_multiple(ready_at, TOGETHER_S))
            if now >= forget_at:
                self._budget.forget_idle(now)
                forget_at = now + FORGET_IDLE_S
            self._changed = trio.Event()
            with trio.move_on_at(min(again_at, forget_at)):
                await self._changed.wait()

    def _go(self, ready: Ready[int]) -> None:
        message, now = self._waiters.pop(ready.waiter), trio.current_time()
        if message.reply.abandoned:
            self._budget.refund(ready, now)
        elif isinstance(message, gateway.Call):
            self._start(message, ready)
        else:
            self._granted[ready.waiter] = (now + gateway.PERMIT_VALID_S, ready)
            message.reply.send(
                gateway.Granted(
                    permit=ready.waiter,
                    api=Api(ready.api),
                    text_every_s=self._budget.text_every_s(gateway.TEXT_APIS, now),
                )
            )

    def _void_permits(self, now: float) -> float:
        """Take back permits that were not used in time; return when the next one is over."""
        while self._granted:
            number, (valid_until, granted) = next(iter(self._granted.items()))
            if valid_until > now:
                return valid_until
            del self._granted[number]
            self._budget.refund(granted, now)
        return NEVER

    def _is_frozen(self) -> bool:
        return self._settings.fresh is not None and not self._settings.fresh()

    async def cut_when_frozen(self, fresh: Callable[[], bool]) -> None:
        """End the calls under way as soon as another process may have taken over."""
        while True:
            await trio.sleep(FRESH_EVERY_S)
            if not fresh():
                for scope in self._under_way:
                    scope.cancel(reason="the claim is not fresh")

    def _start(self, message: gateway.Call, ready: Ready[int]) -> None:
        scope = trio.CancelScope()
        self._under_way.add(scope)
        self._nursery.start_soon(self._perform, message, ready, scope)

    async def _perform(
        self, message: gateway.Call, ready: Ready[int], scope: trio.CancelScope
    ) -> None:
        with message.reply:
            outcome: Outcome = NoAnswer(reason="another node may hold the cluster")
            began = trio.current_time()
            # Permits given out just before may make it a few more than there are connections.
            with scope:
                if not self._at_once.available_tokens:
                    await self._at_once.acquire_on_behalf_of(scope)
                else:  # no checkpoint, which is a turn of the loop
                    self._at_once.acquire_on_behalf_of_nowait(scope)
                try:
                    if not self._is_frozen():
                        outcome = await self._platform.perform(
                            message.operation, message.answer_within_s
                        )
                finally:
                    self._at_once.release_on_behalf_of(scope)
            now = trio.current_time()
            if self._budget.awaits_answer or len(self._under_way) >= TEXT_AT_ONCE_MAX:
                self._changed.set()
            self._under_way.discard(scope)
            if isinstance(outcome, NoAnswer):
                self._budget.lost(ready, now)
            else:
                self._budget.answered(ready, now)
            self._counts.add(ready.api, outcome, now - began, describe(outcome))
            if isinstance(outcome, RateLimited):
                self._learn(message, ready, outcome)
            message.reply.send(outcome)

    def _learn(self, message: gateway.Call, ready: Ready[int], outcome: RateLimited) -> None:
        now = trio.current_time()
        # 99991400 counts an API of the app; the other codes one card, chat or message.
        resource = ready.want.resource
        if outcome.code == gateway.API_LIMIT_CODE or resource is None:
            self._budget.limited(ready.api, message.priority, outcome.retry_after_s, now)
        else:
            self._budget.limited_resource(resource, message.priority, outcome.retry_after_s, now)
        log.warning(
            "feishu.rate_limited",
            account=self._settings.account,
            api=ready.api,
            code=outcome.code,
            retry_after_s=outcome.retry_after_s,
        )


def describe(outcome: Outcome) -> str:
    """Describe in a few words what came of a call, for status and log."""
    match outcome:
        case Rejected(code=code, message=message):
            return f"{message} (code {code})"[:300]
        case NoAnswer(reason=reason):
            return f"no answer: {reason}"[:300]
    return type(outcome).__name__
