"""Commands that read manifests: lint, convert, and the reading itself."""
