"""Which initialization suits a model: schemes, learning rates and seeds in one table.

`plan` says what is asked; `model` and `images` get what is brought along; `run` makes
one run, `compare` all that are not finished, and `journal` keeps them; `ranking` says
who is best, and `table`, `figure` and `page` show it.
"""
