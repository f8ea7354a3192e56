"""What the command line may ask of every account's intake: the ``larkd pair`` tools.

They are for operators only; a session that names one is refused: there is no such tool.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import trio

from actors.kit.mailbox import ask_or
from actors.messages import intake, ownership
from protocol.ids import AccountId
from protocol.wire import operating

ASK_WITHIN_S: Final = 4.0
"""Of each account; an intake that waits for its journal answers late."""

IntakeSenders = Mapping[AccountId, trio.MemorySendChannel[intake.IntakeMessage]]
ToolAnswer = ownership.ToolDone | ownership.ToolFailed
OperatorTool = Callable[[Mapping[str, Any]], Awaitable[ToolAnswer]]


def operator_tools(intakes: IntakeSenders) -> dict[str, OperatorTool]:
    """Return the tools by name."""

    async def list_pairings(_args: Mapping[str, Any]) -> ToolAnswer:
        return await _list(intakes)

    async def approve(args: Mapping[str, Any]) -> ToolAnswer:
        code = args.get("code")
        if not isinstance(code, str) or not code.strip():
            return ownership.ToolFailed(error="code must be a non-empty string")
        return await _first(
            intakes,
            lambda intake_tx: _ask(
                intake_tx, lambda reply: intake.ApprovePairing(code=code, reply=reply)
            ),
            f"no pairing code {code} is waiting; codes are valid for an hour: larkd pair list",
        )

    async def revoke(args: Mapping[str, Any]) -> ToolAnswer:
        subject = args.get("subject")
        if not isinstance(subject, str) or not subject.strip():
            return ownership.ToolFailed(error="subject must be a non-empty string")
        return await _first(
            intakes,
            lambda intake_tx: _ask(
                intake_tx, lambda reply: intake.RevokePairing(subject=subject, reply=reply)
            ),
            f"{subject} is not paired, and no code: larkd pair list",
        )

    return {
        operating.PAIR_LIST: list_pairings,
        operating.PAIR_APPROVE: approve,
        operating.PAIR_REVOKE: revoke,
    }


async def _list(intakes: IntakeSenders) -> ToolAnswer:
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
) -> ToolAnswer:
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
