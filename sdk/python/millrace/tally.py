"""Named sums for each topic-partition, taken by `on_tick`; they count when their event succeeds.

Needs the grant "tally", and `include millrace:plugin/with-tally@0.1.0;` in wit/plugin.wit. A name is used with one
operation only.
"""

from .capability import missing

try:
    from wit_world.imports import tally as _host
except ImportError as error:
    raise missing("tally") from error


def add(name, value=1):
    """Adds to a sum."""
    _host.add(name, value)


def max(name, value):
    """Keeps the largest value."""
    _host.max(name, value)


def min(name, value):
    """Keeps the smallest value."""
    _host.min(name, value)


def take(prefix=""):
    """Moves every settled sum whose name starts with `prefix` to the caller, as pairs. In `on_tick` only."""
    return _host.take(prefix)
