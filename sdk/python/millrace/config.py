"""The plugin's own section `config`.

Needs the grant "config", and `include millrace:plugin/with-config@0.1.0;` in wit/plugin.wit.
"""

from .capability import missing

try:
    from wit_world.imports import store as _host
except ImportError as error:
    raise missing("config") from error


def get(key):
    """A setting as text; None when it is not set."""
    return _host.get(key)
