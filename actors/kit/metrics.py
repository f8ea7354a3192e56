"""Counters and histograms of this process; who changes one owns it, and defines it.

They count from the start of the process. A registry of our own: the library's default one
would add figures of the interpreter nobody asked for.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY: Final = CollectorRegistry()
FAST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)
"""For what is to take milliseconds; 3 s is Feishu's own limit for an ack."""
SLOW_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
"""For what people wait for."""


def counter(name: str, help_: str, *labels: str) -> Counter:
    return Counter(name, help_, labels, registry=REGISTRY)


def gauge(name: str, help_: str) -> Gauge:
    return Gauge(name, help_, registry=REGISTRY)


def histogram(name: str, help_: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(name, help_, buckets=buckets, registry=REGISTRY)
