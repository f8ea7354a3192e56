"""What the two that larkd is compared with do alike in real and in virtual time."""

from __future__ import annotations

CREATE_EVERY_S = 0.025
"""Below the platform's 50 a second: neither paces what it creates."""
TURNS_A_PROCESS = 25
"""Of one process that runs the other libraries: in one for all, its processor time would be what
is measured, since they make a client and its TLS context for each call."""
FIXED_PAUSE_S = 0.8
"""Between two updates of a card, where the pause is fixed."""
