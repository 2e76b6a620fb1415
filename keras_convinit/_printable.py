"""Names of others for a terminal, a figure or a page."""


def printable(text: object) -> str:
    r"""A text on one line, in which nothing but letters, marks and spaces is left.

    A model from somebody else may name its layers as it likes: escape sequences that
    rename or clear a terminal, line ends that break a table, marks that turn the
    direction of writing.

    Args:
        text: A name, a path or a sentence.

    Returns:
        The text, with what is not printable as Python would write it in a string.

    Example:
        >>> from keras_convinit._printable import printable
        >>> printable("red\x1b[31m")
        'red\\x1b[31m'
    """
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in str(text)
    )


def printable_lines(text: object) -> str:
    """The same with several lines: what was put together of printable ones."""
    return "\n".join(map(printable, str(text).split("\n")))
