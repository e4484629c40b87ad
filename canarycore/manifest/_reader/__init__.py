"""Documents to typed data: YAML with positions, sizes, paths and fields."""
