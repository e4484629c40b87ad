"""The Kubernetes objects that install the controller."""
