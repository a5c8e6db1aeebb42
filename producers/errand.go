package producers

import "github.com/midstream-dev/midstream/schema"

// Context returns what a model is told of some items, oldest first: for questions that make no run.
func Context(groups ...[]schema.Item) ([]schema.Item, error) { return modelInput(groups...) }
