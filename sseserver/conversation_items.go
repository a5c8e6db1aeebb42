package sseserver

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// includable is what the API lets a caller ask for on top of an item. Items are shown as they are kept, so all of it that
// there is, is there in any case; a value that the API does not have is refused.
var includable = []string{
	"file_search_call.results", "web_search_call.results", "web_search_call.action.sources", "message.input_image.image_url",
	"computer_call_output.output.image_url", "code_interpreter_call.outputs", "reasoning.encrypted_content",
	"message.output_text.logprobs",
}

// addItems adds items, and answers with them. An error that leaves open whether they are there invites no retry: it would add
// them twice.
func (s *Server) addItems(c echo.Context) error {
	if _, err := readQuery(c); err != nil {
		return err
	}
	body, err := s.readJSON(c)
	if err != nil {
		return err
	}
	items, refusal := schema.ParseNewItems(body)
	if refusal != nil {
		return refusal
	}
	tenant, err := s.cfg.Tenants.Tenant(c.Request())
	if err != nil {
		return err
	}
	if err := s.dress(tenant, c.Param("id"), items); err != nil {
		return err
	}
	_, err = s.changeConversation(c, adding(items))
	switch {
	case err == nil:
		all, err := page{limit: schema.MaxNewItems, ascending: true}.of(items)
		if err != nil {
			return err
		}
		return s.answer(c, http.StatusOK, all)
	case errors.As(err, new(*schema.Error)), errors.Is(err, broker.ErrFull):
		return err
	}
	return startedError{err}
}

func adding(items []schema.Item) broker.ConversationChange {
	return func(v *schema.Conversation) (*schema.Fact, error) { return v.Add(items) }
}

// dress gives new items what they are kept with: an id, which leads back to the conversation, and a status. A compaction is
// kept as what it stands for.
func (s *Server) dress(tenant, conversation string, items []schema.Item) error {
	if err := s.unfold(tenant, items); err != nil {
		return err
	}
	for i := range items {
		unique := make([]byte, schema.UniqueDigits/2)
		rand.Read(unique) // never fails
		items[i].MintItem(schema.ConversationItemKey(conversation, hex.EncodeToString(unique)))
		items[i] = items[i].Kept()
	}
	return nil
}

func (s *Server) listItems(c echo.Context) error {
	query, err := readQuery(c)
	if err != nil {
		return err
	}
	p, err := readPage(query)
	if err != nil {
		return err
	}
	v, err := s.findConversation(c)
	if err != nil {
		return err
	}
	out, err := p.of(v.Items())
	if err != nil {
		return err
	}
	return s.answer(c, http.StatusOK, out)
}

func (s *Server) item(c echo.Context) error {
	if _, err := readQuery(c); err != nil {
		return err
	}
	v, err := s.findConversation(c)
	if err != nil {
		return err
	}
	it := v.Item(c.Param("item"))
	if it == nil {
		return noItem(c.Param("item"))
	}
	return s.answer(c, http.StatusOK, it)
}

// removeItem removes an item, erases it, and answers with the conversation.
func (s *Server) removeItem(c echo.Context) error {
	id := c.Param("item")
	v, err := s.changeConversation(c, func(v *schema.Conversation) (*schema.Fact, error) {
		fact := v.Remove(id)
		if fact == nil {
			return nil, noItem(id)
		}
		return fact, nil
	})
	if err != nil {
		return err
	}
	return s.answerConversation(c, v)
}

func noItem(id string) *schema.Error {
	return &schema.Error{
		Status: http.StatusNotFound, Type: schema.TypeInvalidRequest, Code: schema.CodeNotFound,
		Message: "Item with id '" + schema.Quote(id) + "' not found in the conversation.",
	}
}

// readQuery returns the query, having checked what it asks to include.
func readQuery(c echo.Context) (url.Values, error) {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, schema.Refuse(schema.CodeInvalidValue, "", "The query of the URL is malformed.")
	}
	for _, name := range slices.Concat(query["include"], query["include[]"]) {
		if !slices.Contains(includable, name) {
			return nil, schema.Refuse(schema.CodeInvalidValue, "include", "Invalid value for 'include': '%s'.", schema.Quote(name))
		}
	}
	return query, nil
}
