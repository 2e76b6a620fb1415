"""Where in a model a call is made, and what it is told there."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in the model a call is made.

    Args:
        prefix: What its path begins with.
        training: What the models around it were told, if anything.
        fixed: Whether that holds whatever the model as a whole is told.
        watched: Whether the model around it has a `call` of its own.
    """

    prefix: str = ""
    training: bool | None = None
    fixed: bool = False
    watched: bool = False

    def of(self, name: str, keywords: dict[str, Any]) -> "Place":
        """The place of a call that is made here.

        Args:
            name: The name of what is called.
            keywords: What it is told there.
        """
        place = dataclasses.replace(self, prefix=f"{self.prefix}{name}")
        given = keywords.get("training")
        if given in (None, self.training):
            return place
        if self.training is not None and not self.watched:
            # A functional model tells its parts what it is told itself.
            return place
        return dataclasses.replace(place, training=given, fixed=self.watched)

    def inside(self, watched: bool) -> "Place":
        """The place of calls that are made inside of what is called here.

        Args:
            watched: Whether that has a `call` of its own.
        """
        prefix = self.prefix and f"{self.prefix}/"
        return dataclasses.replace(self, prefix=prefix, watched=watched)
