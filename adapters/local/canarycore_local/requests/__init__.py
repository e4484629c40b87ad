"""The requests of a rehearsal: users, load tests, and examples for match conditions."""
