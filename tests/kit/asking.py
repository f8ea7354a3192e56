"""Questions as tests ask them."""

from __future__ import annotations

from typing import Any

import trio

from actors.kit.mailbox import Reply


def gone_asker() -> Reply[Any]:
    """Return the way back to one who has given up asking."""
    tx, rx = trio.open_memory_channel[Any](1)
    rx.close()
    return Reply(tx)
