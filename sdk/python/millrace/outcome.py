"""What an event came to, in the author's words."""

from wit_world.imports import types


class _Filtered:
    def __repr__(self):
        return "FILTERED"


FILTERED = _Filtered()
"""Looked at and not wanted. The event is finished, and its effects count."""


class Output(types.Output):
    """A record to be produced. Its topic must be granted to the plugin: "output:TOPIC".

    `key` and `value` may be bytes, text or None, which is null. `headers` may be a list of `Header`, a list of pairs
    or a dict. Without `partition` the partitioner chooses by the key; without `timestamp_ms` it is the time of
    producing.
    """

    def __init__(self, topic, value=None, key=None, headers=(), partition=None, timestamp_ms=None):
        pairs = headers.items() if isinstance(headers, dict) else headers
        super().__init__(
            topic=topic,
            key=_bytes(key),
            value=_bytes(value),
            partition=partition,
            timestamp_ms=timestamp_ms,
            headers=[_header(pair) for pair in pairs],
        )


class Failure(Exception):
    """An event that is not finished; its effects are dropped. Raise one of its kinds.

    `code` is the plugin's own short word; it groups failures in metrics and in dead letters. `message` is for a person;
    at most 1 KiB of it is kept. `after_ms` is how long to wait; without it the configured backoff decides.
    """

    def __init__(self, code, message="", after_ms=None):
        super().__init__(f"{code}: {message}")
        self.problem = types.Problem(code, str(message), after_ms)


class Retry(Failure):
    """Worth trying again; counts as an attempt."""


class Reject(Failure):
    """Never worth trying again: the event goes to the dead-letter topic at once."""


class Overloaded(Failure):
    """The plugin is too busy: tried again later, and not counted as an attempt."""


def _bytes(value):
    return value.encode() if isinstance(value, str) else value


def _header(pair):
    if isinstance(pair, types.Header):
        return pair
    name, value = pair
    return types.Header(name, _bytes(value))
