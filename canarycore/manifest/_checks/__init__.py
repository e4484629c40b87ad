"""Checks of a manifest that parses: `resolve` refuses each problem that they find, and lint reports it."""
