"""A controller that only compares its decisions with those of another controller."""
