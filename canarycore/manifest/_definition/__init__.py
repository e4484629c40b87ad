"""The definition of Canaries in a cluster: the fields that it drops, and the annotations that carry some of them."""
