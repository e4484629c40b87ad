"""canary migrate: from Flagger to this controller, and back."""
