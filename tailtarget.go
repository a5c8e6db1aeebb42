package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// target is a response at one of the nodes that have it.
type target struct {
	host string // as it is told
	url  string
}

// targets returns where the response is to be had, in the order of the flags.
func (c *tailCommand) targets() ([]target, error) {
	var all []target
	for _, server := range c.Server {
		t, err := newTarget(strings.TrimSpace(server), c.Response)
		if err != nil {
			return nil, fmt.Errorf("--server: %w", err)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, errors.New("--server: no address")
	}
	return all, nil
}

func newTarget(server, response string) (target, error) {
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	switch {
	case err != nil:
		return target{}, errors.New("neither a URL nor host:port") // what Parse says shows a password
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return target{}, errors.New("neither http://… nor https://… nor host:port")
	}
	u = u.JoinPath("v1/responses", url.PathEscape(response))
	u.RawQuery = "stream=true"
	return target{host: u.Host, url: u.String()}, nil
}

// newTailTransport dials with patience for one node of several.
func newTailTransport() *http.Transport {
	return &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: tailDial}).DialContext}
}

// unaddressed leaves out of an error the URL that it came from: it may hold a password.
func unaddressed(err error) error {
	if at := (*url.Error)(nil); errors.As(err, &at) {
		return at.Err
	}
	return err
}
