"""Services and routing objects: the port Router."""
