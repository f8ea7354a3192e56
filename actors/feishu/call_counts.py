"""What came of the calls of one account, counted for status and metrics."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from functools import cache

from actors.messages import gateway
from protocol.platform.api_budget import Used
from protocol.platform.outcomes import Accepted, MissingScope, Outcome


class CallCounts:
    """Counts since the gateway began to run."""

    def __init__(self) -> None:
        self.calls = 0
        self._failing: dict[str, str] = {}
        """Of each API whose last call failed: how; the newest stands last."""
        self._missed: dict[str, gateway.Missed] = {}
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def add(self, api: str, outcome: Outcome, took_s: float, description: str) -> None:
        self.calls += 1
        self._outcomes[api, outcome_name(type(outcome))] += 1
        self._seconds[api] += took_s
        self._failing.pop(api, None)
        if isinstance(outcome, Accepted):
            self._missed.pop(api, None)  # granted meanwhile
        else:
            self._failing[api] = description
        if isinstance(outcome, MissingScope) and outcome.grant_url is not None:
            self._missed[api] = gateway.Missed(outcome.scopes, outcome.grant_url)

    def statistics(
        self, *, waiting: int, under_way: int, used: Mapping[str, Used]
    ) -> gateway.GatewayStatistics:
        return gateway.GatewayStatistics(
            calls=self.calls,
            last_error=next(reversed(self._failing.values()), None),
            missed=tuple(dict.fromkeys(self._missed.values())),
            waiting=waiting,
            under_way=under_way,
            outcomes=tuple(
                gateway.OutcomeCount(endpoint=api, outcome=outcome, calls=calls)
                for (api, outcome), calls in sorted(self._outcomes.items())
            ),
            budgets=tuple(
                gateway.BudgetUse(
                    endpoint=api,
                    in_second=of.in_second,
                    second_max=of.second_max,
                    in_minute=of.in_minute,
                    minute_max=of.minute_max,
                    seconds=self._seconds[api],
                )
                for api, of in sorted(used.items())
            ),
        )


@cache
def outcome_name(kind: type[Outcome]) -> str:
    """Return ``accepted``, or the kind of failure, such as ``rate_limited``."""
    if issubclass(kind, Accepted):
        return "accepted"
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
