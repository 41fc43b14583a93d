"""Octets from nobody in particular, thrown at everything that reads octets: `python -m fuzz`.

Each target is a function of octets that raises when something that must always hold does not. What must hold is
said at each target. atheris looks for such octets by following the branches that they take; the tests run the
same functions on the seeds, on every input that was once found to break something, and on those Hypothesis makes.
"""
