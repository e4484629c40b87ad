"""Selectors, the pods that they select, and the endpoints behind Services."""
