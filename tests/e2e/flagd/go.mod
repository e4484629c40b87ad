module flagd

go 1.24.0

require github.com/open-feature/flagd/core v0.11.8
