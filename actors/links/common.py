"""What all links of one run of the listener have in common."""

from __future__ import annotations

import msgspec

from actors.links.capacity import Places
from actors.links.notices import EndNotices
from actors.messages import approvals
from protocol.wire.auth import WrongProofs


class Common(msgspec.Struct, frozen=True, kw_only=True):
    wrong_proofs: WrongProofs
    places: Places
    over: EndNotices[approvals.ApprovalsMessage] | None
    """The ends of turns and connections whose agents asked for something; None: nobody is asked."""
