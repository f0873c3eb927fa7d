"""What is said of a capability that the plugin's world does not have."""


def missing(name):
    """The error, which says what to write."""
    line = f"include millrace:plugin/with-{name}@0.1.0;"
    return ImportError(f"millrace.{name} needs this line in the world of wit/plugin.wit: {line}")
