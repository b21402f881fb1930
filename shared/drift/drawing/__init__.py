"""Drift in a terminal: both windows drawn alike, one above the other, over the same bins.

Every function returns lines of at most `width` cells, which is at least 20. Colour only repeats
what words and places say, so nothing is lost where there is none. Where the encoding has no block
characters, `signs_for` gives signs that it has.
"""
