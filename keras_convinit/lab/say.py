"""Lines for a terminal, as they are."""

from rich.console import Console
from rich.text import Text

from keras_convinit._printable import escape_unprintable


def say(console: Console, *lines: object) -> None:
    """Prints lines whatever is in them: no markup, no emoji, no escape sequences.

    They are broken by the terminal, not here, so that paths can be copied.

    Args:
        console: Where.
        *lines: The lines; an end of line within one is shown as such.
    """
    for line in lines:
        console.print(Text(escape_unprintable(line)), soft_wrap=True, highlight=False)
