"""The way from Flagger to this controller, and back."""
