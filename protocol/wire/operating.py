"""Tools that only an operator's connection may call, beside the channel's own five.

Not part of protocol version 1: the command line and the daemon are of one version.
"""

from __future__ import annotations

from typing import Final

PAIR_LIST: Final = "larkd_pair_list"
PAIR_APPROVE: Final = "larkd_pair_approve"
"""``{"code": str}``"""
PAIR_REVOKE: Final = "larkd_pair_revoke"
"""``{"subject": str}``: an open_id, a chat_id, or a code."""
OVERVIEW: Final = "larkd_overview"
"""No arguments; an observer may ask it, too. Its answer holds no text of a message."""
