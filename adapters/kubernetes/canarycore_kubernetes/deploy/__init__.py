"""The objects that install the controller on a cluster."""
