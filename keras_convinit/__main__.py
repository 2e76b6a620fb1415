"""The one door to the lab: `python -m keras_convinit`, or `keras-convinit`."""

import sys

# What the extra `[lab]` brings, by the names that are imported.
EXTRA = {
    "importlib_resources",
    "matplotlib",
    "rich",
    "sklearn",
    "tensorboard",
    "tensorflow",
    "tensorflow_datasets",
    "typer",
}


def main() -> None:
    """Runs the command line, or says in one line what it would need."""
    try:
        from keras_convinit.lab.cli import app

        app()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRA:
            raise
        sys.exit(
            f"The command line needs the Python package {missing}. "
            "To get all it needs, in a clone of the repository: "
            'pip install ".[lab]"'
        )


if __name__ == "__main__":
    main()
