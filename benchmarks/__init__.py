"""Side-by-side measurements against peers and limits, runnable by anyone.

`python -m benchmarks` runs every subject, `python -m benchmarks --only drift` one. A subject is a
module of this folder, named like it, with `figures() -> Iterable[Figure]`. Each figure is printed
and kept in `results.json` beside this file.
"""
