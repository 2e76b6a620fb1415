"""What goes wrong outside the program, told in one line instead of a traceback."""


class LabError(Exception):
    """Something that the person at the keyboard can mend; the message says how."""
