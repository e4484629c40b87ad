"""`python -m canarycore_cli` is `canary`."""

from canarycore_cli.main import app

if __name__ == "__main__":
    app(prog_name="canary")
