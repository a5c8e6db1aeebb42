package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/midstream-dev/midstream/broker/embed"
)

// Bounds of a look at a server's monitoring page.
const (
	monitorTimeout = 5 * time.Second
	monitorBytes   = 1 << 20
)

// syncOf finds out when the servers call fsync. NATS shows it on the monitoring page only.
func syncOf(ctx context.Context, cfg Config, server *embed.Server) (string, error) {
	if server != nil {
		every, err := server.Sync()
		if err == nil && every != cfg.SyncInterval {
			err = fmt.Errorf("embedded NATS server calls fsync %s, not %s", describeSync(every), describeSync(cfg.SyncInterval))
		}
		return describeSync(every), err
	}
	if len(cfg.Monitor) == 0 {
		return "unknown", nil
	}
	return weakestSync(ctx, cfg.Monitor)
}

// weakestSync asks every server: an acknowledgement is worth what the weakest of them makes of it.
func weakestSync(ctx context.Context, monitors []string) (string, error) {
	var weakest time.Duration
	for _, monitor := range monitors {
		at, err := url.Parse(monitor)
		if err != nil {
			return "", errors.New("read settings of NATS: a monitor address is not a URL") // the error would quote its password
		}
		every, err := monitorSync(ctx, monitor)
		if err != nil {
			return "", fmt.Errorf("read settings of NATS at %s: %w", at.Redacted(), err)
		}
		weakest = max(weakest, every)
	}
	return describeSync(weakest), nil
}

func monitorSync(ctx context.Context, url string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/varz", nil)
	if err != nil {
		return 0, err
	}
	// A client of its own: one look needs no pool of connections, and none stays behind.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var varz struct {
		JetStream struct {
			Config *struct {
				SyncAlways   bool  `json:"sync_always"`
				SyncInterval int64 `json:"sync_interval"` // nanoseconds
			} `json:"config"`
		} `json:"jetstream"`
	}
	if err := json.UnmarshalRead(io.LimitReader(response.Body, monitorBytes), &varz); err != nil {
		return 0, err
	}
	if varz.JetStream.Config == nil {
		return 0, fmt.Errorf("status %s, no JetStream settings", response.Status)
	}
	if varz.JetStream.Config.SyncAlways {
		return 0, nil
	}
	return time.Duration(varz.JetStream.Config.SyncInterval), nil
}
