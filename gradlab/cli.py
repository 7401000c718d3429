"""The entry point of the `gradlab` command, which takes the signals before anything else is loaded."""

import sys

from gradlab.interrupts import ignore_signals, take_signals


def main() -> None:
    """Run the command line; SIGTERM ends it as Ctrl-C does, in good order."""
    take_signals()
    from gradlab.commands.application import app
    from gradlab.terminal import FORESEEABLE, told

    try:
        app()
    except FORESEEABLE as error:
        sys.exit(told(error))
    finally:
        ignore_signals()
