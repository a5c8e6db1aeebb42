package upstream

import "context"

// served is an upstream as the router holds it.
type served interface {
	Upstream
	config() *Config
	models(context.Context) []string // those that match a pattern of the config's and are not named there
	close()
}

// dialects opens an upstream by the name of its dialect.
var dialects = map[string]func(Config) (served, error){
	"demo": openDemo,
}
