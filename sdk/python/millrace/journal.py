"""Lines in a file that the host owns; a line counts when its event succeeds.

Needs the grant "journal", and `include millrace:plugin/with-journal@0.1.0;` in wit/plugin.wit.
"""

from .capability import missing

try:
    from wit_world.imports import journal as _host
except ImportError as error:
    raise missing("journal") from error


def append(line):
    """Writes one line of bytes or text. Line breaks inside are refused."""
    _host.append(line.encode() if isinstance(line, str) else line)
