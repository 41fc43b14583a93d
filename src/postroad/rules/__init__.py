"""What should happen: pure functions over facts. `now` and chance are arguments."""
