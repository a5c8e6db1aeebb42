package upstream

// messagesCountRequest is the body of a question for count_tokens: of a call, what bears on the context.
type messagesCountRequest struct {
	Model        string            `json:"model"`
	System       []messagesPart    `json:"system,omitzero"`
	Messages     []messagesTurn    `json:"messages"`
	Tools        []messagesTool    `json:"tools,omitzero"`
	ToolChoice   *messagesChoice   `json:"tool_choice,omitzero"`
	Thinking     *messagesThinking `json:"thinking,omitzero"`
	OutputConfig messagesOutput    `json:"output_config,omitzero"`
}

func encodeMessagesCount(c *Config, r *Request) (any, error) {
	b, err := encodeMessages(c, r)
	if err != nil {
		return nil, err
	}
	return &messagesCountRequest{b.Model, b.System, b.Messages, b.Tools, b.ToolChoice, b.Thinking, b.OutputConfig}, nil
}
