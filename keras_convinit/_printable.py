"""Escaping of foreign names for a terminal, a figure or a page."""


def escape_unprintable(text: object) -> str:
    r"""Escapes everything in a text that is not printable.

    The layer names of a third-party model may hold escape sequences that rename or
    clear a terminal, line ends that break a table, or marks that reverse the direction
    of writing.

    Args:
        text: A name, a path or a sentence.

    Returns:
        The text on one line, with what is not printable escaped as in Python strings.

    Example:
        >>> from keras_convinit._printable import escape_unprintable
        >>> escape_unprintable("red\x1b[31m")
        'red\\x1b[31m'
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in str(text)
    )


def escape_lines(text: object) -> str:
    """Escapes everything but line ends that is not printable."""
    return "\n".join(map(escape_unprintable, str(text).split("\n")))
