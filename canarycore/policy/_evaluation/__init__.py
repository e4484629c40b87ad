"""One call for the figures of a policy, and one for those of many policies in many scenarios."""
