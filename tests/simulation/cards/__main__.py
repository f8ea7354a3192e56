"""``python -m tests.simulation.cards --seed 7``, or ``--seeds 1000``: one turn by seed."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from tests.simulation.by_seed import BySeed
from tests.simulation.cards.plan import make_card_plan
from tests.simulation.cards.regressions import REGRESSIONS, undone
from tests.simulation.cards.world import CardRun
from tests.simulation.command import begin_alike

MODULE = "tests.simulation.cards"


def main() -> int:
    seeds = BySeed(MODULE, make_card_plan, CardRun)
    parser = seeds.parser(__doc__)
    parser.add_argument("--undo", choices=sorted(REGRESSIONS), help="run without this mend")
    options = parser.parse_args()
    begin_alike(MODULE)
    with undone(options.undo) if options.undo else nullcontext():
        return seeds.run(options)


if __name__ == "__main__":
    sys.exit(main())
