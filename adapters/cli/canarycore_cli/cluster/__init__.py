"""What the commands do on a cluster. Each is imported when it runs; all need canarycore-kubernetes."""
