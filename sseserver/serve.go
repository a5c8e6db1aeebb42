package sseserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// Serve answers what comes in at ln until ctx ends. Then it drains: it takes nothing new, cuts the open streams in
// portions over DrainSpread, so that their clients go on elsewhere, and waits for all handlers. What is still open after
// DrainTimeout is closed, and the error says so. Serve closes ln.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := s.server(base)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(s.bound(ln)) }()
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("serve %s: %w", ln.Addr(), err), srv.Close())
	case <-ctx.Done():
	}
	err := s.drain(srv)
	<-failed // http.ErrServerClosed
	return err
}

func (s *Server) server(base context.Context) *http.Server {
	return &http.Server{
		Handler:           s.echo,
		ReadHeaderTimeout: s.cfg.HeaderTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    2 * s.cfg.MaxHeader, // see limitHeader
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConn,

		DisableGeneralOptionsHandler: true, // OPTIONS * is answered like any unknown URL, with a request id
	}
}

func (s *Server) drain(srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	var cuts sync.WaitGroup
	cuts.Go(func() { s.subscribers.drain(ctx, s.cfg.DrainSpread) })
	defer cuts.Wait()
	if err := srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("drain: %w", err), srv.Close())
	}
	return s.awaitSockets(ctx)
}
