"""The speed of canarycore, beside a peer in the same run: `python -m bench [NAME…] [--json]`."""
