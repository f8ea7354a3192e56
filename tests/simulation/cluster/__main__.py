"""``python -m tests.simulation.cluster --seed 7``, or ``--seeds 1000``: clusters by seed."""

from __future__ import annotations

import sys

from tests.simulation.by_seed import BySeed
from tests.simulation.cluster.plan import make_cluster_plan
from tests.simulation.cluster.world import ClusterRun
from tests.simulation.command import begin_alike

MODULE = "tests.simulation.cluster"


def main() -> int:
    seeds = BySeed(MODULE, make_cluster_plan, ClusterRun)
    options = seeds.parser(__doc__).parse_args()
    begin_alike(MODULE)
    return seeds.run(options)


if __name__ == "__main__":
    sys.exit(main())
