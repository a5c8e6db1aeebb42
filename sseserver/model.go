package sseserver

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/midstream-dev/midstream/schema"
)

type modelBody struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (m Model) body() modelBody { return modelBody{m.ID, "model", m.Created, m.OwnedBy} }

func (s *Server) models(c echo.Context) error {
	models, err := s.cfg.Models(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list models: %w", err)
	}
	list := struct {
		Object string      `json:"object"`
		Data   []modelBody `json:"data"`
	}{"list", make([]modelBody, 0, len(models))}
	for _, m := range models {
		list.Data = append(list.Data, m.body())
	}
	return s.answer(c, http.StatusOK, list)
}

// model answers one model. Its id is all the rest of the path: ids like org/name have slashes.
func (s *Server) model(c echo.Context) error {
	id, err := url.PathUnescape(c.Param("*"))
	if err != nil {
		id = c.Param("*")
	}
	models, err := s.cfg.Models(c.Request().Context())
	if err != nil {
		return fmt.Errorf("list models: %w", err)
	}
	for _, m := range models {
		if m.ID == id {
			return s.answer(c, http.StatusOK, m.body())
		}
	}
	return schema.NoModel(id)
}
