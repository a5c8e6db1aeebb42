package upstream

// body writes a model call. What of it the dialect cannot say is a *schema.Error.
func (e *endpoint) body(r *Request) (any, error) {
	return e.dialect.encode(&e.cfg, r)
}

// check implements served.
func (e *endpoint) check(r *Request) error {
	_, err := e.body(r)
	return err
}
