"""Side-by-side measurements against peers, runnable by anyone.

`python -m benchmarks` runs every subject, `python -m benchmarks --only drift` one. A subject is a
module of this folder with a `SUBJECT` and `figures() -> Iterable[Figure]`; adding the file adds
the subject. Each figure is printed and kept in `results.json` beside this file.
"""
