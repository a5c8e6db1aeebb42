package sseserver

import (
	"crypto/sha256"
	_ "embed" // openapi.yaml
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
)

// openAPI describes every route, by hand: what a route promises is decided there, and tests hold routes and answers to it.
//
//go:embed openapi.yaml
var openAPI []byte

var openAPITag = func() string {
	sum := sha256.Sum256(openAPI)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}()

// describe serves the API's description, to those who do not have this one already.
func (s *Server) describe(c echo.Context) error {
	h := c.Response().Header()
	h.Set("ETag", openAPITag)
	h.Set(echo.HeaderCacheControl, "no-cache")
	if hasCopy(c.Request().Header.Values("If-None-Match")) {
		return c.NoContent(http.StatusNotModified)
	}
	h.Set(echo.HeaderContentType, "application/yaml")
	h.Set(echo.HeaderContentLength, strconv.Itoa(len(openAPI)))
	h.Set(echo.HeaderXContentTypeOptions, "nosniff")
	c.Response().WriteHeader(http.StatusOK)
	if _, err := s.pace(c).Write(openAPI); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

func hasCopy(tags []string) bool {
	for tag := range strings.SplitSeq(strings.Join(tags, ","), ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == openAPITag || tag == "*" {
			return true
		}
	}
	return false
}
