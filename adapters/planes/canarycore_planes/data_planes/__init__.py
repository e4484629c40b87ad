"""The data planes of a bench."""
