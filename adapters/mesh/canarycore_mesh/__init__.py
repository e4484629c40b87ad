"""canarycore_mesh: the routing objects of meshes and ingresses as plain data, one module each, without any I/O."""
