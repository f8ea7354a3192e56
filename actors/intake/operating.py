"""What the command line may ask of every account's intake: the ``larkd pair`` tools.

They are for operators only; a session that names one is refused: there is no such tool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from actors.kit.mailbox import Reply, ask_or
from actors.messages import intake, ownership
from protocol.ids import AccountId
from protocol.wire import operating

ASK_WITHIN_S: Final = 4.0
"""Of each account; an intake that waits for its journal answers late."""

IntakeSenders = Mapping[AccountId, trio.MemorySendChannel[intake.IntakeMessage]]


def operator_tools(intakes: IntakeSenders) -> dict[str, ownership.OperatorTool]:
    """Return the tools by name."""

    async def list_pairings(_args: Mapping[str, Any]) -> ownership.ToolAnswer:
        return await _list(intakes)

    return {
        operating.PAIR_LIST: list_pairings,
        operating.PAIR_APPROVE: _of_one(
            intakes,
            "code",
            lambda code, reply: intake.ApprovePairing(code=code, reply=reply),
            "no pairing code {} is waiting; codes are valid for an hour",
        ),
        operating.PAIR_REVOKE: _of_one(
            intakes,
            "subject",
            lambda subject, reply: intake.RevokePairing(subject=subject, reply=reply),
            "{} is not paired, and no code",
        ),
    }


def _of_one(
    intakes: IntakeSenders,
    argument: str,
    build: Callable[[str, Reply[intake.PairingResult]], intake.IntakeMessage],
    otherwise: str,
) -> ownership.OperatorTool:
    """Return the tool that asks each account about one argument until it is the one meant."""

    async def run(args: Mapping[str, Any]) -> ownership.ToolAnswer:
        value = args.get(argument)
        if not isinstance(value, str) or not value.strip():
            return ownership.ToolFailed(error=f"{argument} must be a non-empty string")
        return await _first(
            intakes,
            lambda intake_tx: _ask(intake_tx, lambda reply: build(value, reply)),
            otherwise.format(value),
        )

    return run


async def _list(intakes: IntakeSenders) -> ownership.ToolAnswer:
    found: dict[str, Any] = {}
    for account, intake_tx in intakes.items():
        answer: intake.Pairings | str = await ask_or(
            intake_tx,
            lambda reply: intake.ListPairings(reply=reply),
            within_s=ASK_WITHIN_S,
            otherwise=lambda reason: reason,
        )
        if isinstance(answer, str):
            return ownership.ToolFailed(error=f"account {account} did not answer: {answer}")
        book = answer.book
        found[account] = {
            "pending": [
                {
                    "code": request.code,
                    "kind": request.kind,
                    "open_id": request.open_id,
                    "chat_id": request.chat_id,
                    "made_at": request.made_at_ms,
                    "shown": request.shown,
                    "name": request.name or None,
                    "chat_name": request.chat_name or None,
                }
                for request in book.requests
            ],
            "users": sorted(book.users),
            "groups": sorted(book.groups),
            "admins": sorted(book.admins),
            "names": dict(book.names),
        }
    return ownership.ToolDone(result=found)


IntakeSender = trio.MemorySendChannel[intake.IntakeMessage]


async def _ask(
    intake_tx: IntakeSender, build: Callable[[Any], intake.IntakeMessage]
) -> intake.PairingResult | str:
    answer: intake.PairingResult | str = await ask_or(
        intake_tx, build, within_s=ASK_WITHIN_S, otherwise=lambda reason: reason
    )
    return answer


async def _first(
    intakes: IntakeSenders,
    put: Callable[[IntakeSender], Awaitable[intake.PairingResult | str]],
    otherwise: str,
) -> ownership.ToolAnswer:
    """Ask one account after the other until one knows what is meant."""
    silent: list[str] = []
    for account, intake_tx in intakes.items():
        answer = await put(intake_tx)
        if isinstance(answer, str):
            silent.append(f"account {account} did not answer: {answer}")
        elif answer.text is not None:
            where = f" (account {account})" if len(intakes) > 1 else ""
            return ownership.ToolDone(result=answer.text + where)
    return ownership.ToolFailed(error="; ".join(silent) or otherwise)
