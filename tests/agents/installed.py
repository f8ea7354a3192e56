"""The agents that ``make agents`` installs: their commands, and a home of their own each.

No agent sees the home of whoever runs the tests, and none can reach a network: each is
pointed at the stand-in models on loopback.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

ROOT: Final = Path(os.environ.get("LARKD_AGENTS_DIR", Path(__file__).parents[2] / ".agents"))
"""Where ``make agents`` puts them."""
BIN: Final = ROOT / "node_modules" / ".bin"
KEY: Final = "not-a-real-key"
ASKING_SERVER: Final = {
    "command": sys.executable,
    "args": [str(Path(__file__).with_name("asking_server.py"))],
}
"""Of MCP, for agents that pass on what such a server elicits."""


class Agent(Struct, frozen=True, kw_only=True):
    """One agent: how it is started, and what its home must hold."""

    name: str
    command: tuple[str, ...]
    prepare: Callable[[Path, str], dict[str, str]]
    """Fill a home, given the models' address; return the environment that names both."""
    mode: str
    """One of its modes, that it is not in."""
    model: str = ""
    """One of its models, that it does not use; empty: it has no other that needs no login."""
    write_mode: str = ""
    """The mode in which it asks before it writes below its directory; empty: in its first."""
    cannot: Mapping[str, str] = {}
    """Tests of what the agent itself does not do → why."""
    keeps_unanswered: bool = True
    """Whether a prompt that was cut short by a kill is in the conversation it loads."""
    by_minute: bool = False
    """Whether it loses a conversation that is loaded in the minute in which it was begun: it
    names its file by the minute, and begins that anew on loading."""

    @property
    def missing(self) -> str | None:
        """Why it can't be run here, with the remedy."""
        if (BIN / self.command[0]).exists():
            return None
        return f"{self.command[0]} is not installed: run `make agents` (it needs npm)"

    def line(self) -> list[str]:
        return [str(BIN / self.command[0]), *self.command[1:]]


def environment(home: Path) -> dict[str, str]:
    """Return what every agent gets: a home of its own and the newer Node first."""
    return {
        "HOME": str(home),
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
    }


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def claude_environment(home: Path, models: str) -> dict[str, str]:
    settings = {"hasCompletedOnboarding": True, "mcpServers": {"asker": ASKING_SERVER}}
    _write(home / ".claude.json", json.dumps({"hasCompletedOnboarding": True}))
    _write(home / ".claude" / ".claude.json", json.dumps(settings))
    return {
        "ANTHROPIC_BASE_URL": models,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def _gemini(home: Path, models: str) -> dict[str, str]:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
        "model": {"name": "gemini-2.5-flash"},
    }
    _write(home / ".gemini" / "settings.json", json.dumps(settings))
    return {"GEMINI_API_KEY": KEY, "GOOGLE_GEMINI_BASE_URL": models}


def _qwen(home: Path, models: str) -> dict[str, str]:
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        # It knows by the name of a model whether that takes pictures; of this one it knows none.
        "model": {"generationConfig": {"modalities": {"image": True}}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"disableAutoUpdate": True},
    }
    _write(home / ".qwen" / "settings.json", json.dumps(settings))
    return {
        "OPENAI_API_KEY": KEY,
        "OPENAI_BASE_URL": f"{models}/v1",
        "OPENAI_MODEL": "stand-in",
    }


def _opencode(home: Path, models: str) -> dict[str, str]:
    settings = {
        "$schema": "https://opencode.ai/config.json",
        "model": "anthropic/claude-sonnet-4-5",
        "autoupdate": False,
        "share": "disabled",
        "permission": {"bash": "ask", "edit": "ask"},
        "provider": {"anthropic": {"options": {"baseURL": f"{models}/v1", "apiKey": KEY}}},
    }
    _write(home / ".config" / "opencode" / "opencode.json", json.dumps(settings))
    return {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_LSP_DOWNLOAD": "1"}


def _codex(home: Path, models: str) -> dict[str, str]:
    settings = f"""
model = "stand-in"
model_provider = "stand-in"
approval_policy = "on-request"
sandbox_mode = "read-only"

[features]
default_mode_request_user_input = true

[model_providers.stand-in]
name = "stand-in"
base_url = "{models}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
"""
    _write(home / ".codex" / "config.toml", settings)
    # Its default mode lets a model of its own review what others ask people for.
    return {
        "CODEX_HOME": str(home / ".codex"),
        "OPENAI_API_KEY": KEY,
        "INITIAL_AGENT_MODE": "workspace-write",
    }


_STAYS_ASLEEP: Final = {
    "test_an_agent_that_wakes_up_is_shown": "it does not go on by itself after a prompt"
}
_ASKS_NOTHING: Final = {
    "test_a_question_is_answered_on_a_card": "it was not seen to elicit anything over ACP",
    "test_an_mcp_server_beyond_it_asks_on_a_card": "it was not seen to elicit anything over ACP",
}

AGENTS: Final = (
    Agent(
        name="claude",
        command=("claude-agent-acp",),
        prepare=claude_environment,
        mode="plan",
        model="haiku",
    ),
    Agent(
        name="gemini",
        command=("gemini", "--acp"),
        prepare=_gemini,
        mode="plan",
        model="gemini-2.5-pro",
        keeps_unanswered=False,
        by_minute=True,
        cannot=_STAYS_ASLEEP | _ASKS_NOTHING,
    ),
    Agent(
        name="qwen",
        command=("qwen", "--acp"),
        prepare=_qwen,
        mode="plan",
        cannot=_STAYS_ASLEEP | _ASKS_NOTHING,
    ),
    Agent(
        name="opencode",
        command=("opencode", "acp"),
        prepare=_opencode,
        mode="plan",
        cannot=_STAYS_ASLEEP | _ASKS_NOTHING,
    ),
    Agent(
        name="codex",
        command=("codex-acp",),
        prepare=_codex,
        mode="read-only",
        model="gpt-5.6-sol",
        write_mode="read-only",
        cannot=_STAYS_ASLEEP
        | {
            "test_an_mcp_server_beyond_it_asks_on_a_card": "its model was shown no tool of a server"
        },
    ),
)
