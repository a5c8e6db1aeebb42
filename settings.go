package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/producers"
	"github.com/midstream-dev/midstream/producers/mcp"
	"github.com/midstream-dev/midstream/sseserver"
)

// broker says which NATS to use, and how.
func (c *Config) broker() (broker.Config, error) {
	key, err := c.NATS.SecretKey.key("nats.secret_key")
	if err != nil {
		return broker.Config{}, err
	}
	var others [][]byte
	for _, s := range c.NATS.OtherKeys {
		other, err := s.key("nats.other_keys")
		if err != nil {
			return broker.Config{}, err
		}
		others = append(others, other)
	}
	security, err := c.NATS.tls()
	if err != nil {
		return broker.Config{}, err
	}
	out := broker.Config{
		URL: c.NATS.URL, User: c.NATS.User, Password: c.NATS.Password.Reveal(), Creds: c.NATS.Creds, TLS: security,
		Monitor: c.NATS.Monitor, Partitions: c.NATS.Partitions, Replicas: c.NATS.Replicas,
		SecretKey: key, OtherKeys: others, RenewKey: c.NATS.RenewKey,
		LogAge: c.LogAge(), ArchiveAge: c.Limits.ArchiveAge,
		LogBytes: int64(c.Limits.LogBytes), RunBytes: int64(c.Limits.QueueBytes), ConversationBytes: int64(c.Limits.ConversationBytes),
		IngestBytes: int64(c.Limits.IngestBytes),
		AckWait:     c.Limits.AckWait, Heartbeat: c.Limits.Heartbeat,
		Queued: c.Limits.Queued, QueueWait: c.Limits.QueueWait, DiskFree: int64(c.Limits.DiskFree),
	}
	if c.NATS.URL == "" {
		out.DataDir, out.Listen, out.SyncInterval = c.NATS.Data, c.NATS.Listen, time.Duration(c.NATS.Sync)
		out.Producer, out.ProducerPassword = c.NATS.ProducerUser, c.NATS.ProducerPassword.Reveal()
	}
	return out, nil
}

// key returns the 32 bytes that the secret is in base64; nil for none. setting is what the error names.
func (s Secret) key(setting string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	key, err := base64.StdEncoding.DecodeString(s.Reveal())
	if err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s: not 32 bytes in base64: openssl rand -base64 32 makes them", setting)
	}
	return key, nil
}

// tls returns nil if the operator names no certificate: a tls:// URL works without one.
func (c *NATSConfig) tls() (*tls.Config, error) {
	if c.CA == "" && c.Cert == "" {
		return nil, nil
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read nats.ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read nats.ca %s: no PEM certificate in it", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("read nats.cert and nats.key: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

func (c *Config) pool(log *slog.Logger) mcp.Config {
	return mcp.Config{
		AllowPrivate: c.MCP.AllowPrivate, Name: "midstream", Version: version(),
		ListTimeout: c.MCP.ListTimeout, CallTimeout: c.MCP.CallTimeout, CallTotal: c.MCP.CallTotal, Logger: log,
	}
}

// drainCalls is how long tool calls may still take when the node stops. What is left of the drain is for handing the runs over.
func (c *Config) drainCalls() time.Duration {
	return min(producers.DefaultDrainCalls, c.Limits.Drain*2/3)
}

func (c *Config) face() sseserver.Limits {
	return sseserver.Limits{
		RequestsPerMinute: c.Limits.RequestsPerMinute,
		MaxBody:           int64(c.Limits.Body), MaxConns: c.Limits.Connections,
		Heartbeat: c.Limits.SSEHeartbeat, DrainTimeout: c.Limits.Drain,
		Socket: sseserver.SocketLimits{
			Age: c.WebSocket.Age, Lanes: c.WebSocket.Lanes, Active: c.WebSocket.Active,
			Queue: c.WebSocket.Queue, QueueBytes: int64(c.WebSocket.QueueBytes),
			Kept: c.WebSocket.Kept, KeptBytes: int(c.WebSocket.KeptBytes),
		},
	}
}
