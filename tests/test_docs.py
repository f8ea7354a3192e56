"""What the documentation names is there: files, headings, commands, configuration keys."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.cli.arguments import parse_daemon_arguments
from actors.cli.parser import build_parser
from protocol.config import keys
from protocol.config.reading import read_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
) or sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("actors/**/*.md")))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"(?<!`)`(larkd(?: [^`\n]*)?)`")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
LINE = re.compile(r"^\s*(larkd [^#\n]*)", re.MULTILINE)
NO_COMMANDS = ("larkd standing by", "larkd ready on", "larkd …", "larkd is ")
MEANT = {"N": "7", "ROLE": "session"}
"""What stands for a word of the user's."""


def anchors(page: Path) -> set[str]:
    """The anchors that headings get."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", title.lower()).strip() for title in titles)
    return {title.replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def linked(page: Path) -> set[Path]:
    targets = (target.partition("#")[0] for target in LINK.findall(page.read_text()))
    return {(page.parent / target).resolve() for target in targets if target}


def test_every_page_of_the_documentation_is_reached_from_its_index() -> None:
    reached: set[Path] = set()
    left = [ROOT / "docs" / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        left += [one for one in linked(page) - reached if one.suffix == ".md" and one.exists()]
    assert set((ROOT / "docs").rglob("*.md")) <= reached
    top = linked(ROOT / "docs" / "README.md")
    assert set((ROOT / "docs").glob("*.md")) <= top | {ROOT / "docs" / "README.md"}


def test_both_readmes_name_the_same_commands_of_the_chat() -> None:
    command = re.compile(r"(?<=`)/[a-z]+")
    english, chinese = (
        set(command.findall((ROOT / name).read_text())) for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese


@pytest.mark.parametrize(
    "chinese", sorted((ROOT / "docs").rglob("*.zh-CN.md")), ids=lambda page: page.name
)
def test_a_page_in_chinese_has_the_commands_and_settings_of_the_english_one(chinese: Path) -> None:
    english = chinese.with_name(chinese.name.replace(".zh-CN", ""))
    pages = [page.read_text() for page in (english, chinese)]
    blocks = [re.findall(r"```\w+\n(.*?)```", page, re.DOTALL) for page in pages]
    uncommented = [[re.sub(r" *#.*", "", block) for block in page] for page in blocks]
    assert uncommented[0] == uncommented[1]
    inline = [set(re.findall(r"`([^`\n]+)`", page)) for page in pages]
    plain = [{one for one in page if one.isascii() and "NAME" not in one} for page in inline]
    assert plain[0] == plain[1]
    assert all(chinese.name in text or english.name in text for text in pages)


def commands() -> Iterator[str]:
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        text = page.read_text()
        found = INLINE.findall(text) + [
            line for block in BLOCK.findall(text) for line in LINE.findall(block)
        ]
        yield from (one.strip() for one in found if not one.startswith(NO_COMMANDS))


@pytest.mark.parametrize("command", sorted(set(commands())))
def test_every_command_is_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command.partition(" > ")[0].partition(" < ")[0])[1:]
    words = [MEANT.get(word, word) for word in words]
    if words[:1] == ["daemon"] or words[:1] == ["--sandbox"]:
        parse_daemon_arguments([word for word in words if word != "daemon"])
        return
    if not words:
        return
    parser = build_parser()
    try:
        parser.parse_args(words)
    except SystemExit:
        # A command without its action or arguments is named, not written out.
        error = capsys.readouterr().err
        assert "the following arguments are required" in error, error


@pytest.mark.parametrize("table", ["TOP", "OPTIONS", "TUNING", "AGENT", "LISTEN", "CLUSTER", "ENV"])
def test_every_key_is_documented(table: str) -> None:
    text = "".join(
        (ROOT / "docs" / name).read_text() for name in ("configuration.md", "machines.md")
    )
    known = set(getattr(keys, table)) - set(keys.IGNORED)
    assert {key for key in known if not re.search(rf"\b{key}\b", text)} == set()


def test_the_documented_configuration_is_one() -> None:
    (example, *_) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs" / "configuration.md").read_text(), re.DOTALL
    )
    settings = read_settings(
        tomllib.loads(example), {"SECOND_SECRET": "x", "OPENAI_API_KEY": "y"}, lambda _: "secret"
    )
    assert [account.account_id for account in settings.accounts] == ["second"]
    assert (settings.metrics is None, settings.console is None) == (False, False)
    assert settings.agents_per_person == 4
