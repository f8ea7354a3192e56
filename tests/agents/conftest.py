"""The table of what each agent was seen to do, below the test report."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.agents.installed import Agent

_ID: Final = re.compile(r"::test_(?P<ability>\w+)\[(?P<agent>[\w-]+)\]$")
_SIGNS: Final = {"passed": "yes", "failed": "FAILED", "skipped": "no"}

REMARK: Final = "remark"
"""What a test records of its agent for the table, in the agent's own words."""

_seen: dict[str, dict[str, str]] = {}
_reasons: dict[str, list[str]] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What an agent itself does not do is left out with its reason."""
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            agent: object = item.callspec.params.get("agent")
            if not isinstance(agent, Agent) or agent.missing is not None:
                continue
            why = agent.cannot.get(item.originalname)
            if why is not None:
                item.add_marker(pytest.mark.skip(reason=why))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call":
        for key, value in report.user_properties:
            if key == REMARK:
                _reasons.setdefault("Claude Code", []).append(str(value))
    at = _ID.search(report.nodeid)
    if at is None or (report.when != "call" and report.passed):
        return
    ability, agent = at["ability"].replace("_", " "), at["agent"]
    _seen.setdefault(ability, {})[agent] = _SIGNS[report.outcome]
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        known = _reasons.setdefault(agent, [])
        if reason not in known:
            known.append(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    agents = list(dict.fromkeys(agent for row in _seen.values() for agent in row))
    if not agents and not _reasons:
        return
    width = max(map(len, _seen), default=0)
    terminalreporter.section("agents")
    terminalreporter.line("".join((" " * width, *(f"  {agent:>8}" for agent in agents))))
    for ability, row in _seen.items():
        cells = "".join(f"  {row.get(agent, ''):>8}" for agent in agents)
        terminalreporter.line(f"{ability:<{width}}{cells}")
    for agent, reasons in _reasons.items():
        for reason in reasons:
            terminalreporter.line(f"{agent}: {reason}")
