"""What a plugin in Python is written with: one function of one event, `handle` in plugin.py.

What it may return:

- nothing: the event is finished
- an `Output`, or several in a list: records to be produced
- `FILTERED`: looked at and not wanted; finished just the same

What it may raise:

- `Retry(code, message)`: worth trying again; counts as an attempt
- `Reject(code, message)`: never worth trying again; it goes to the dead-letter topic at once
- `Overloaded(code, message)`: tried again later, and not counted as an attempt
- any other exception: a retry, with the code "exception"

Capabilities are modules of their own, because a plugin imports what its modules import: `millrace.metrics`,
`millrace.state`, `millrace.tally`, `millrace.journal`, `millrace.log` and `millrace.config`.
"""

from wit_world.imports.types import Event, Header

from .outcome import FILTERED, Failure, Output, Overloaded, Reject, Retry

__all__ = ["FILTERED", "Event", "Failure", "Header", "Output", "Overloaded", "Reject", "Retry"]
