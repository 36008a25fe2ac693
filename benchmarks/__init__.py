"""Benchmarks of asyncproc against its peers and against hand-written limits; `python -m benchmarks` runs them.

Nothing is imported here: children that are measured import `benchmarks.targets`, and must stay as light as their library makes
them.
"""
