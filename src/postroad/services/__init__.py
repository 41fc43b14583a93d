"""The workflows: they make happen, in order, what the rules say, through the contracts alone."""
