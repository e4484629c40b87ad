"""How fast canarycore is, each figure beside a peer measured in the same run: `python -m bench [NAME…] [--json]`."""
