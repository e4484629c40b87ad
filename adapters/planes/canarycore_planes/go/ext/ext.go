// Package ext stands in for Traefik's extension point, whose types are empty in its releases too.
package ext

// HTTP is an extension of the HTTP configuration.
type HTTP struct{}

// Router is an extension of a router.
type Router struct{}
