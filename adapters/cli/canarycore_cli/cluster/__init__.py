"""Commands on a cluster. All need canarycore-kubernetes, so each module is imported when its command runs."""
