package embed

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// Disk tells how many bytes of the disk below the data directory are free to this process, and how many it has.
func (s *Server) Disk() (free, total int64, err error) {
	if free, total, err = diskOf(s.cfg.Dir); err != nil {
		return 0, 0, fmt.Errorf("look at the disk of %s: %w", s.cfg.Dir, err)
	}
	return free, total, nil
}

// Broken reports whether a write to the disk has failed. From then on the stream, or all of JetStream, takes nothing more, also
// when there is room again: see Revive. It is true of a server that was stopped, too.
func (s *Server) Broken() bool {
	nats := s.nats.Load()
	if !nats.Running() || !nats.JetStreamEnabled() {
		return true
	}
	return slices.ContainsFunc(nats.Healthz(&server.HealthzOptions{Details: true}).Errors, func(e server.HealthzError) bool {
		return strings.Contains(e.Error, "write error")
	})
}

// Revive starts the server again on what it has stored, at the address that it had. Its clients lose their connections, and
// what was acknowledged stays.
func (s *Server) Revive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("revive embedded NATS server: it was stopped")
	}
	old := s.nats.Load()
	opts := s.opts.Clone()
	if addr, ok := old.Addr().(*net.TCPAddr); ok && s.cfg.Listen != "" {
		opts.Port = addr.Port
	}
	halt(old)
	nats, err := run(s.cfg, opts)
	if err != nil {
		return fmt.Errorf("revive: %w", err)
	}
	s.nats.Store(nats)
	return nil
}

// halt ends a server once its clients were sent away and all is on the disk.
func halt(nats *server.Server) {
	nats.LameDuckShutdown() // does nothing without a listener
	nats.Shutdown()
	nats.WaitForShutdown()
}
