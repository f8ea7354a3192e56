"""What the stand-in model answers: the first word of the last prompt decides.

Pure. A dialect turns a request of its API into a :class:`Request` and an :class:`Answer`
back into its own stream. A word that is not listed is answered as ``text``.

| prompt | answer |
|---|---|
| ``text …`` | ``You wrote: …``, word by word |
| ``run COMMAND`` | a call of the agent's shell tool, then ``The tool gave: …`` |
| ``write PATH`` | a call of the agent's file tool, then ``The tool gave: …`` |
| ``later COMMAND`` | the shell tool in the background, where the agent has that |
| ``tool NAME JSON`` | a call of that MCP tool, then ``The tool gave: …``; else ``No tool NAME.`` |
| ``ask QUESTION`` | a call of the tool that asks people, two options, then ``The tool gave: …`` |
| ``slow N`` | N numbered words, one each 100 ms |
| ``look`` | how many pictures the conversation holds, and of what kind |
| ``find WORD`` | whether the conversation holds the word elsewhere than in this prompt |
| ``recall`` | the prompts of the conversation so far, the oldest first |
| ``fail`` | the API's own error, status 400 |
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

SHELL_TOOLS: Final = ("Bash", "bash", "run_shell_command", "exec_command", "shell")
FILE_TOOLS: Final = ("Write", "write", "write_file")
QUESTION_TOOLS: Final = ("AskUserQuestion", "request_user_input")
WORD_PAUSE_S: Final = 0.1
WRITTEN: Final = "written by the model\n"
PROMPT: Final = re.compile(r"\b(text|run|write|tool|ask|later|slow|look|find|recall|fail)\b[^\n<]*")
"""Agents wrap prompts in reminders and context of their own: only lines that begin with a
word of the script count (see :func:`prompts`)."""


class Tool(Struct, frozen=True):
    """A tool that the agent offers the model, and the names of its arguments."""

    name: str
    arguments: tuple[str, ...]


class Request(Struct, frozen=True, kw_only=True):
    """One call of a model, whatever its dialect."""

    texts: tuple[str, ...]
    """Every text of the user, in order."""
    result: str | None = None
    """What the tool gave, where the last entry is a tool's result."""
    pictures: tuple[str, ...] = ()
    """Media types."""
    tools: tuple[Tool, ...] = ()


class Call(Struct, frozen=True):
    """A tool call."""

    name: str
    arguments: dict[str, Any]


class Answer(Struct, frozen=True, kw_only=True):
    """Words to stream, then a call, or an error instead of both."""

    words: tuple[str, ...] = ()
    pause_s: float = 0.0
    call: Call | None = None
    error: str | None = None


def prompts(request: Request) -> list[str]:
    """Return the prompts of the script among all that the user's side writes."""
    lines = _lines(request)
    return [match.group().strip() for line in lines if (match := PROMPT.match(line)) is not None]


def _lines(request: Request) -> list[str]:
    return [line.strip() for text in request.texts for line in text.splitlines()]


def answer(request: Request) -> Answer:
    """Return what the model answers to this request."""
    if request.result is not None:
        return _words(f"The tool gave: {request.result}")
    given = prompts(request)
    if not given or not request.tools:
        # Agents also ask for titles, summaries and the like, mostly without tools.
        return _words("A short title" if not given else _plain(given[-1]))
    word, _, rest = given[-1].partition(" ")
    match word:
        case "run" | "later":
            return Answer(
                words=("Running it. ",), call=_shell(request, rest, later=word == "later")
            )
        case "tool":
            name, _, arguments = rest.partition(" ")
            tool = next((one for one in request.tools if one.name.endswith(f"__{name}")), None)
            if tool is None:  # some prompt before all their servers are there
                return _words(f"No tool {name}.")
            return Answer(words=("Calling it. ",), call=_mcp(tool, arguments))
        case "ask":
            return Answer(words=("Asking it. ",), call=_question(request, rest))
        case "write":
            return Answer(words=("Writing it. ",), call=_file(request, rest))
        case "slow":
            count = int(rest or "20")
            return Answer(
                words=tuple(f"word-{number} " for number in range(1, count + 1)),
                pause_s=WORD_PAUSE_S,
            )
        case "look":
            return _words(f"Pictures: {len(request.pictures)} {' '.join(request.pictures)}")
        case "find":
            rest = re.split(r"[^\w-]", rest)[0]  # some put the name of a file right after it
            found = any(rest in line for line in _lines(request) if not line.startswith("find "))
            return _words(f"{'Found' if found else 'Not found'}: {rest}")
        case "recall":
            return _words("You asked: " + "; ".join(given[:-1]))
        case "fail":
            return Answer(error="The stand-in model refuses this request.")
    return _words(_plain(given[-1]))


def _plain(prompt: str) -> str:
    return f"You wrote: {prompt.partition(' ')[2]}"


def _words(text: str) -> Answer:
    return Answer(words=tuple(re.findall(r"\S+\s*|\s+", text)))


def _shell(request: Request, command: str, *, later: bool) -> Call:
    tool = _first(request, SHELL_TOOLS)
    names = tool.arguments
    arguments: dict[str, Any] = {}
    if "cmd" in names:
        arguments["cmd"] = command
    elif tool.name == "shell":
        arguments["command"] = ["bash", "-lc", command]
    else:
        arguments["command"] = command
    if "description" in names:
        arguments["description"] = "As the person asked"
    if "sandbox_permissions" in names:
        # Codex asks people only where its own sandbox would be left.
        arguments |= {"sandbox_permissions": "require_escalated", "justification": "To show it"}
    if later and "run_in_background" in names:
        arguments["run_in_background"] = True
    elif "is_background" in names:
        arguments["is_background"] = later
    return Call(tool.name, arguments)


def _file(request: Request, path: str) -> Call:
    if all(tool.name not in FILE_TOOLS for tool in request.tools):
        # Codex takes a patch out of its shell.
        patch = f"*** Begin Patch\n*** Add File: {path}\n+{WRITTEN}*** End Patch"
        call = _shell(request, f"apply_patch <<'EOF'\n{patch}\nEOF", later=False)
        plain = ("sandbox_permissions", "justification")
        kept = {key: value for key, value in call.arguments.items() if key not in plain}
        return Call(call.name, kept)
    tool = _first(request, FILE_TOOLS)
    key = next((name for name in ("file_path", "filePath", "path") if name in tool.arguments), "")
    return Call(tool.name, {key or "file_path": path, "content": WRITTEN})


def _question(request: Request, text: str) -> Call:
    options = [{"label": one, "description": f"it is {one}"} for one in ("Red", "Blue")]
    question = {"question": text, "header": "Colour", "options": options}
    tool = _first(request, QUESTION_TOOLS)
    many = {"multiSelect": False} if tool.name == "AskUserQuestion" else {"id": "colour"}
    return Call(tool.name, {"questions": [question | many]})


def _mcp(tool: Tool, arguments: str) -> Call:
    return Call(tool.name, msgspec.json.decode(arguments or "{}", type=dict[str, Any]))


def _first(request: Request, names: tuple[str, ...]) -> Tool:
    for tool in request.tools:
        if tool.name in names:
            return tool
    offered = msgspec.json.encode([tool.name for tool in request.tools]).decode()
    raise LookupError(f"none of {names} among {offered}")
