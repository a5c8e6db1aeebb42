package mcp

import "testing"

// Only the exact origin of an operator's server is trusted: scheme, host and port, and no user before them.
func TestTrusts_ExactOriginOnly(t *testing.T) {
	t.Parallel()
	servers := map[string]Server{"a": {URL: "http://127.0.0.1:4020/mcp"}, "b": {Command: []string{"serve"}},
		"c": {URL: "http://127.0.0.1:8080/mcp", Alone: true}}
	for raw, want := range map[string]bool{
		"http://127.0.0.1:4020/mcp":         true,
		"http://127.0.0.1:4020/other":       true,
		"http://127.0.0.1:8080/mcp":         true,
		"http://127.0.0.1:8080/mcp?x=1":     true,
		"http://127.0.0.1:8080/mcp/../v1":   false,
		"http://127.0.0.1:8080/v1/mcp":      false,
		"http://127.0.0.1:8080":             false,
		"https://127.0.0.1:4020/mcp":        false,
		"http://127.0.0.1:4021/mcp":         false,
		"http://127.0.0.1/mcp":              false,
		"http://me@127.0.0.1:4020/mcp":      false,
		"http://127.0.0.1:4020.example/mcp": false,
		"http://127.0.0.1:4020@evil/mcp":    false,
		"":                                  false,
		"\x00":                              false,
	} {
		if Trusts(servers, raw) != want {
			t.Errorf("%q: trusted is %t", raw, !want)
		}
	}
}
