"""The score of ``make mutants``: of the small changes made to ``protocol/``, how many a test saw.

Reads what ``mutmut results --all true`` prints, and shows a line for each module. Exit
status 1 below 90 %. A change that nobody tried, as only some were asked for, counts nowhere.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable

import msgspec

GOAL_PERCENT = 90
_RESULT = re.compile(r"\s*(?P<module>[\w.]+)\.\S+__mutmut_\d+: (?P<status>[\w ]+)")
_SEEN = {"killed", "timeout", "segfault", "caught by type check"}
_UNTRIED = {"not checked", "skipped", "check was interrupted by user"}


class Score(msgspec.Struct, frozen=True):
    seen: int
    tried: int

    @property
    def percent(self) -> float:
        return 100 * self.seen / self.tried


def scores(lines: Iterable[str]) -> dict[str, Score]:
    """Return the score of each module of which something was tried."""
    seen: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for line in lines:
        result = _RESULT.fullmatch(line.rstrip("\n"))
        if result is None or result["status"] in _UNTRIED:
            continue
        tried[result["module"]] += 1
        seen[result["module"]] += result["status"] in _SEEN
    return {module: Score(seen[module], count) for module, count in sorted(tried.items())}


def main(lines: Iterable[str]) -> int:
    found = scores(lines)
    if not found:
        sys.stderr.write("nothing was tried: run `make mutants`\n")
        return 2
    total = Score(sum(one.seen for one in found.values()), sum(one.tried for one in found.values()))
    for module, one in {**found, "all": total}.items():
        line = f"{module:<40}{one.seen:>6} of {one.tried:>5}{one.percent:>7.1f} %"
        sys.stdout.write(line + "\n")
    return 0 if total.percent >= GOAL_PERCENT else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.stdin))
