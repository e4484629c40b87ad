"""The pods of each side: autoscalers, and the partition of a StatefulSet."""
