package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/broker"
)

// doctorCommand checks an installation.
type doctorCommand struct {
	JSON bool `name:"json" env:"-" help:"Print one JSON array of findings."`

	settings `embed:""`
}

// Help is shown below the flags.
func (*doctorCommand) Help() string {
	return `Takes the configuration of the nodes, from the same file, flags and variables; what is not of NATS is only checked
for mistakes. Makes and changes nothing. A data directory that a node holds is looked at through that node's nats.listen.
Where a replica looks damaged it looks again after 30 s.

Exit codes: 0 nothing fails, 1 something does, 2 the configuration is wrong, 130 interrupted.`
}

// filesForOthers is how many open files a node needs beside its connections: its store, NATS, upstreams, MCP servers.
const filesForOthers = 1000

// Run makes every check.
func (d *doctorCommand) Run(ctx context.Context, p process) error {
	d.complete()
	if err := d.check(); err != nil {
		return &coded{exitUsage, err}
	}
	cfg, err := d.broker()
	if err != nil {
		return &coded{exitUsage, err}
	}
	cfg.Logger = slog.New(slog.DiscardHandler) // what it would say is in the findings
	r := &doctorReport{out: p.stdout, json: d.JSON}
	r.add(d.openFiles())
	if d.NATS.URL == "" {
		d.askNode(ctx, r.add)
	}
	broker.Examine(ctx, cfg, r.add)
	if ctx.Err() != nil {
		return &coded{exitSignal, nil}
	}
	return r.end()
}

// askTimeout bounds the question to a node that may be there.
const askTimeout = 5 * time.Second

// askNode asks the node at the address of this configuration how it is, where there is one: an embedded server is its node's.
func (d *doctorCommand) askNode(ctx context.Context, report func(broker.Finding)) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	page := "http://" + d.Listen + "/readyz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return // no address that anybody asks, [::]:0 say
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return // nobody is there
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		report(broker.Finding{Check: "node", Verdict: broker.VerdictOK, Detail: page + " says that it is ready"})
		return
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
	report(broker.Finding{
		Check: "node", Verdict: broker.VerdictFail, Detail: fmt.Sprintf("%s says %s: %s", page, response.Status, text), Do: "read its log",
	})
}

// openFiles compares what the system allows with what the configuration may need. The limit is this shell's: a node that a
// service manager starts may have another.
func (d *doctorCommand) openFiles() broker.Finding {
	f := broker.Finding{Check: "files", Verdict: broker.VerdictOK}
	limit, err := openFilesLimit()
	need := uint64(d.Limits.Connections) + filesForOthers
	switch {
	case err != nil:
		f.Verdict, f.Detail = broker.VerdictWarn, fmt.Sprintf("unknown: %s", err)
	case limit < need:
		f.Verdict = broker.VerdictWarn
		f.Detail = fmt.Sprintf("%d may be open here, %d connections and a thousand for the rest are configured", limit, d.Limits.Connections)
		f.Do = "raise the limit of open files (ulimit -n, LimitNOFILE), or lower limits.connections"
	default:
		f.Detail = fmt.Sprintf("%d may be open here, for %d connections", limit, d.Limits.Connections)
	}
	return f
}

// doctorReport prints findings as they come, or all of them at the end.
type doctorReport struct {
	out      io.Writer
	json     bool
	findings []broker.Finding
}

func (r *doctorReport) add(f broker.Finding) {
	f.Detail, f.Do = oneLine(f.Detail), oneLine(f.Do)
	r.findings = append(r.findings, f)
	if r.json {
		return
	}
	fmt.Fprintf(r.out, "%-4s  %-12s %s\n", f.Verdict, f.Check, f.Detail)
	if f.Do != "" {
		fmt.Fprintf(r.out, "      %-12s → %s\n", "", f.Do)
	}
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func (r *doctorReport) end() error {
	failed, warned := 0, 0
	for _, f := range r.findings {
		switch f.Verdict {
		case broker.VerdictFail:
			failed++
		case broker.VerdictWarn:
			warned++
		}
	}
	if r.json {
		if err := json.MarshalWrite(r.out, r.findings, jsontext.WithIndent("  ")); err != nil {
			return fmt.Errorf("print findings: %w", err)
		}
		fmt.Fprintln(r.out)
	} else {
		fmt.Fprintf(r.out, "\n%s, %s, %s\n", count(len(r.findings), "check"), count(warned, "warning"), count(failed, "failure"))
	}
	if failed > 0 {
		return &coded{exitError, nil}
	}
	return nil
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
