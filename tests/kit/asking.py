"""Questions as tests ask them."""

from __future__ import annotations

from typing import Any

from actors.kit.mailbox import Answer, Reply


def gone_asker() -> Reply[Any]:
    """Return the way back to one who has given up asking."""
    answer: Answer[Any] = Answer()
    answer.close()
    return Reply(answer)
