package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

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
		return syncUnknown, nil
	}
	return weakestSync(ctx, cfg.Logger, cfg.Monitor)
}

const syncUnknown = "unknown"

// errNoAnswer says of a server that it cannot be seen now.
var errNoAnswer = errors.New("no answer")

// weakestSync asks every server: an acknowledgement is worth what the weakest of them makes of it. One that does not answer
// leaves that unknown, and is no error: a cluster serves without one of its servers, so a node must start without it too.
func weakestSync(ctx context.Context, log *slog.Logger, monitors []string) (string, error) {
	var weakest time.Duration
	unseen := 0
	for _, monitor := range monitors {
		at, err := url.Parse(monitor)
		if err != nil || (at.Scheme != "http" && at.Scheme != "https") {
			return "", errors.New("read settings of NATS: a monitor address is not an HTTP URL") // its text may hold a password
		}
		every, err := monitorSync(ctx, monitor)
		switch {
		case errors.Is(err, errNoAnswer):
			unseen++
			log.Warn("nats settings not read", "monitor", at.Redacted(), "error", err)
		case err != nil:
			return "", fmt.Errorf("read settings of NATS at %s: %w", at.Redacted(), err)
		}
		weakest = max(weakest, every)
	}
	if unseen > 0 {
		return syncUnknown, nil
	}
	return describeSync(weakest), nil
}

func monitorSync(ctx context.Context, url string) (time.Duration, error) {
	page, err := readMonitor(ctx, url)
	if err != nil {
		return 0, err
	}
	if page.JetStream.Config.SyncAlways {
		return 0, nil
	}
	return time.Duration(page.JetStream.Config.SyncInterval), nil
}

// fullestStore asks every server how full its store is, all at once, and reports whether all have told.
func fullestStore(ctx context.Context, monitors []string) (most level, all bool) {
	told := make([]level, len(monitors))
	var questions errgroup.Group
	for i, monitor := range monitors {
		questions.Go(func() error {
			page, err := readMonitor(ctx, monitor)
			if err == nil {
				told[i] = level{page.JetStream.Stats.Storage, page.JetStream.Config.MaxStorage}
			}
			return err
		})
	}
	all = questions.Wait() == nil
	for _, l := range told {
		if l.ratio() > most.ratio() {
			most = l
		}
	}
	return most, all
}

// monitorPage is what matters here of a server's /varz.
type monitorPage struct {
	JetStream struct {
		Config *struct {
			SyncAlways   bool  `json:"sync_always"`
			SyncInterval int64 `json:"sync_interval"` // nanoseconds
			MaxStorage   int64 `json:"max_storage"`
		} `json:"config"`
		Stats struct {
			Storage int64 `json:"storage"`
		} `json:"stats"`
	} `json:"jetstream"`
}

func readMonitor(ctx context.Context, url string) (*monitorPage, error) {
	ctx, cancel := context.WithTimeout(ctx, monitorTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/varz", nil)
	if err != nil {
		return nil, err
	}
	// A client of its own: one look needs no pool of connections, and none stays behind.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	defer response.Body.Close()
	var page monitorPage
	if err := json.UnmarshalRead(io.LimitReader(response.Body, monitorBytes), &page); err != nil {
		return nil, err
	}
	if page.JetStream.Config == nil {
		return nil, fmt.Errorf("status %s, no JetStream settings", response.Status)
	}
	return &page, nil
}
