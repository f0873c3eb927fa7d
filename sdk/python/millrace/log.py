"""Log lines, whatever becomes of the event. What a plugin prints is logged too, and needs neither grant nor world.

Needs the grant "logging", and `include millrace:plugin/with-logging@0.1.0;` in wit/plugin.wit.
"""

from .capability import missing

try:
    from wit_world.imports import logging as _host
except ImportError as error:
    raise missing("logging") from error


def debug(message):
    """For whoever looks into a failure."""
    _host.log(_host.Level.DEBUG, "", message)


def info(message):
    """For whoever runs the plugin."""
    _host.log(_host.Level.INFO, "", message)


def warn(message):
    """Something is off, and the plugin goes on."""
    _host.log(_host.Level.WARN, "", message)


def error(message):
    """Someone must act."""
    _host.log(_host.Level.ERROR, "", message)
