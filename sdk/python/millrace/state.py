"""Values that the host keeps for the plugin, the topic-partition and the key of the event; they count when their event
succeeds.

Needs the grant "state", and `include millrace:plugin/with-state@0.1.0;` in wit/plugin.wit.
"""

from .capability import missing

try:
    from wit_world.imports import state as _host
except ImportError as error:
    raise missing("state") from error


def get(name):
    """The value as bytes; None when there is none."""
    return _host.get(name)


def set(name, value, ttl_ms=None):
    """Keeps bytes or text, for `ttl_ms` milliseconds from now on, or until it is deleted."""
    _host.set(name, value.encode() if isinstance(value, str) else value, ttl_ms)


def delete(name):
    """Deletes a value."""
    _host.delete(name)
