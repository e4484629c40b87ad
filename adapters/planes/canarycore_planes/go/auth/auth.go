// Package auth stands in for an HTTP authentication that no route of a bench uses: it lets nobody in.
package auth

import "net/http"

// SecretProvider returns the secret of a user.
type SecretProvider func(user, realm string) string

// BasicAuth refuses every request.
type BasicAuth struct {
	Realm   string
	Secrets SecretProvider
}

// CheckSecret accepts no password.
func CheckSecret(_, _ string) bool { return false }

// CheckAuth returns no user.
func (*BasicAuth) CheckAuth(*http.Request) string { return "" }

// RequireAuth asks for credentials, which nobody has.
func (*BasicAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// DigestAuth refuses every request.
type DigestAuth struct{}

// NewDigestAuthenticator returns a DigestAuth.
func NewDigestAuthenticator(string, SecretProvider) *DigestAuth { return &DigestAuth{} }

// DigestAuthParams returns no parameters.
func DigestAuthParams(string) map[string]string { return nil }

// CheckAuth returns no user.
func (*DigestAuth) CheckAuth(*http.Request) (string, *string) { return "", nil }

// RequireAuth asks for credentials, which nobody has.
func (*DigestAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// RequireAuthStale asks for new credentials, which nobody has.
func (*DigestAuth) RequireAuthStale(w http.ResponseWriter, _ *http.Request) { refuse(w) }

func refuse(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }
