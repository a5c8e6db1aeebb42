package sseserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

func (s *Server) routeConversations() {
	s.echo.POST("/v1/conversations", s.createConversation)
	s.look("/v1/conversations/:id", s.conversation)
	s.echo.POST("/v1/conversations/:id", s.describeConversation)
	s.echo.DELETE("/v1/conversations/:id", s.deleteConversation)
	s.echo.POST("/v1/conversations/:id/items", s.addItems)
	s.look("/v1/conversations/:id/items", s.listItems)
	s.look("/v1/conversations/:id/items/:item", s.item)
	s.echo.DELETE("/v1/conversations/:id/items/:item", s.removeItem)
}

type conversationBody struct {
	ID        string            `json:"id"`
	Object    string            `json:"object"`
	CreatedAt int64             `json:"created_at"`
	Metadata  map[string]string `json:"metadata"`
}

func (s *Server) answerConversation(c echo.Context, v *schema.Conversation) error {
	body := conversationBody{v.ID, "conversation", v.CreatedAt / 1000, v.Metadata}
	if body.Metadata == nil {
		body.Metadata = map[string]string{}
	}
	return s.answer(c, http.StatusOK, body)
}

// createConversation begins a conversation, then adds its first items. Where those find no room, the beginning is taken back.
func (s *Server) createConversation(c echo.Context) error {
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return err
	}
	body := []byte("{}")
	if c.Request().ContentLength != 0 { // openai-node sends no body where there is nothing to say
		if body, err = s.readJSON(c); err != nil {
			return err
		}
	}
	req, refusal := schema.ParseNewConversation(body)
	if refusal != nil {
		return refusal
	}
	if _, err := new(schema.Conversation).Add(req.Items); err != nil {
		return err // before anything is stored
	}
	id, err := mintConversation()
	if err != nil {
		return err
	}
	if err := s.dress(tenant, id, req.Items); err != nil {
		return err
	}
	ctx, cancel := s.settling(c)
	defer cancel()
	if _, err := s.cfg.Conversations.CreateConversation(ctx, tenant, id, req.Metadata); err != nil {
		return err
	}
	v, err := s.cfg.Conversations.ChangeConversation(ctx, tenant, id, adding(req.Items))
	if err != nil {
		back, cancel := s.settling(c) // ctx may be over
		defer cancel()
		return errors.Join(err, s.cfg.Conversations.DeleteConversation(back, tenant, id))
	}
	return s.answerConversation(c, v)
}

func (s *Server) conversation(c echo.Context) error {
	v, err := s.findConversation(c)
	if err != nil {
		return err
	}
	return s.answerConversation(c, v)
}

// describeConversation sets the metadata, all of it.
func (s *Server) describeConversation(c echo.Context) error {
	body, err := s.readJSON(c)
	if err != nil {
		return err
	}
	metadata, refusal := schema.ParseDescription(body)
	if refusal != nil {
		return refusal
	}
	v, err := s.changeConversation(c, func(v *schema.Conversation) (*schema.Fact, error) { return v.Describe(metadata), nil })
	if err != nil {
		return err
	}
	return s.answerConversation(c, v)
}

func (s *Server) deleteConversation(c echo.Context) error {
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return err
	}
	ctx, cancel := s.settling(c)
	defer cancel()
	id := c.Param("id")
	if err := s.cfg.Conversations.DeleteConversation(ctx, tenant, id); err != nil {
		return conversationError(err, id)
	}
	return s.answer(c, http.StatusOK, struct {
		ID      string `json:"id"`
		Object  string `json:"object"`
		Deleted bool   `json:"deleted"`
	}{id, "conversation.deleted", true})
}

// findConversation reads the conversation that the path names.
func (s *Server) findConversation(c echo.Context) (*schema.Conversation, error) {
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return nil, err
	}
	v, err := s.cfg.Conversations.Conversation(c.Request().Context(), tenant, c.Param("id"))
	if err != nil {
		return nil, conversationError(err, c.Param("id"))
	}
	return v, nil
}

// changeConversation changes the conversation that the path names.
func (s *Server) changeConversation(c echo.Context, change broker.ConversationChange) (*schema.Conversation, error) {
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return nil, err
	}
	ctx, cancel := s.settling(c)
	defer cancel()
	v, err := s.cfg.Conversations.ChangeConversation(ctx, tenant, c.Param("id"), change)
	if err != nil {
		return nil, conversationError(err, c.Param("id"))
	}
	return v, nil
}

// conversationItems returns the items of a conversation, none if it is not there for this caller.
func (s *Server) conversationItems(ctx context.Context, tenant, id string) ([]schema.Item, error) {
	if s.cfg.Conversations == nil {
		return nil, nil
	}
	v, err := s.cfg.Conversations.Conversation(ctx, tenant, id)
	if errors.Is(err, broker.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return v.Items(), nil
}

const conversationPrefix = "conv_"

// mintConversation returns conv_ and a UUIDv7.
func mintConversation() (string, error) {
	minted, err := mint()
	return conversationPrefix + minted, err
}

// conversationError answers what came of a conversation that could not be read or changed.
func conversationError(err error, id string) error {
	if errors.Is(err, broker.ErrNotFound) {
		return noConversation(id)
	}
	return err
}

// noConversation is the one answer for ids of conversations that are malformed, unknown, deleted or somebody else's.
func noConversation(id string) *schema.Error {
	return &schema.Error{
		Status: http.StatusNotFound, Type: schema.TypeInvalidRequest, Code: schema.CodeNotFound,
		Message: "Conversation with id '" + schema.Quote(id) + "' not found.",
	}
}

// joinConversation finds from which point of its conversation an order goes on, if it names one.
func (s *Server) joinConversation(ctx context.Context, o *order) error {
	id, refusal := o.req.ConversationID()
	switch {
	case refusal != nil:
		return refusal
	case id == "":
		return nil
	case s.cfg.Conversations == nil:
		return schema.Refuse(schema.CodeUnsupported, "conversation", "This server keeps no conversations: send the whole input.")
	}
	v, err := s.cfg.Conversations.Conversation(ctx, o.tenant, id)
	if err != nil {
		return conversationError(err, id)
	}
	if o.point, err = v.Join(o.req.Input); err != nil {
		return err
	}
	o.near = v.ItemsAt(o.point.Version)
	return nil
}
