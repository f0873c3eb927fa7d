"""Between the contract and the author's functions. The build writes a module that exports these."""

import traceback

from componentize_py_types import Err
from wit_world.imports import types

from .outcome import FILTERED, Output, Overloaded, Reject, Retry

_DONE = types.Success_Processed([])
_FILTERED = types.Success_Filtered()


def handler(plugin):
    """The event handler of a plugin's module."""
    run = _function(plugin, "handle")

    class EventHandler:
        def handle(self, event):
            try:
                answer = run(event)
                if answer is None:
                    return _DONE
                if answer is FILTERED:
                    return _FILTERED
                return types.Success_Processed(_outputs(answer))
            except Exception as error:
                failure = _failure(error)
            raise Err(failure)

    return EventHandler


def timer(plugin):
    """The timer of a plugin's module."""
    run = _function(plugin, "on_tick")

    class Timer:
        def on_tick(self, topic, partition, now_ms, reason):
            try:
                answer = run(topic, partition, now_ms, reason.name.lower())
                return [] if answer is None else _outputs(answer)
            except Exception as error:
                failure = _failure(error)
            raise Err(failure)

    return Timer


def lifecycle(plugin):
    """The start of a plugin's module: an exception refuses the plugin when it is loaded."""
    run = _function(plugin, "init")

    class Lifecycle:
        def init(self):
            try:
                run()
                return
            except Exception as error:
                message = _message(error)
            raise Err(message)

    return Lifecycle


def _function(plugin, name):
    function = getattr(plugin, name, None)
    if not callable(function):
        raise ImportError(f"plugin.py has no function `{name}`, which the world in wit/plugin.wit exports")
    return function


def _outputs(answer):
    outputs = [answer] if isinstance(answer, Output) else list(answer)
    for output in outputs:
        if not isinstance(output, types.Output):
            raise TypeError(f"a plugin returns nothing, Output, a list of Output or FILTERED, and not {answer!r}")
    return outputs


def _failure(error):
    if isinstance(error, Reject):
        return types.Failure_Reject(error.problem)
    if isinstance(error, Overloaded):
        return types.Failure_Overloaded(error.problem)
    if isinstance(error, Retry):
        return types.Failure_Retry(error.problem)
    traceback.print_exception(error)
    return types.Failure_Retry(types.Problem("exception", _message(error), None))


def _message(error):
    """The exception with its type and where it was raised: the author's own line, not this file's."""
    text = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return text
    file = frames[-1].filename.rpartition("/")[2]
    return f"{text} ({file}:{frames[-1].lineno})"
