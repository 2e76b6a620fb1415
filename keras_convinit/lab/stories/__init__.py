"""Contenders of the quickstart under equal conditions: a story, its runs, its figure.

`story` says who competes, on what and how trained; `training` does one run,
`experiment` all that are not finished; `results` keeps them; `summary`, `table` and
`figure` show them.
"""
