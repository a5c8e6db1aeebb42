package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// settings is a Config and the file that it may come from, for every command that takes them.
type settings struct {
	File string `name:"config" short:"c" placeholder:"FILE" help:"YAML file with this configuration. In its strings, $${NAME} stands for a variable of the environment."`

	Config `embed:""`
}

// serveCommand runs a node.
type serveCommand struct {
	settings `embed:""`
}

// BeforeResolve reads the configuration file, so that flags can be resolved from it.
func (s *settings) BeforeResolve(ctx *kong.Context) error {
	for _, flag := range ctx.Flags() {
		if path, _ := ctx.FlagValue(flag).(string); flag.Name == "config" && path != "" {
			return s.read(path, ctx)
		}
	}
	return nil
}

func (s *settings) read(path string, ctx *kong.Context) error {
	file, err := readConfigFile(path)
	if err != nil {
		return err
	}
	if err := file.check(ctx.Flags()); err != nil {
		return err
	}
	s.Upstreams, s.MCP.Servers, s.Keys = file.upstreams, file.servers, file.keys
	ctx.AddResolver(file)
	return nil
}

// Run serves until ctx ends, and returns when all is handed over and on the disk.
func (s *serveCommand) Run(ctx context.Context, p process) error {
	s.complete()
	if err := s.check(); err != nil {
		return &coded{exitUsage, err}
	}
	n, err := openNode(ctx, &s.Config, p.stderr)
	if err != nil {
		return err
	}
	s.greet(p.stdout, n)
	if err := errors.Join(n.run(ctx), n.close()); err != nil {
		return err
	}
	n.log.Info("node stopped")
	return nil
}

// greet says where the node is, and how to try it if it is a demo.
func (s *serveCommand) greet(w io.Writer, n *node) {
	if n.listener == nil {
		return
	}
	fmt.Fprintf(w, "listening on %s\n", n.url())
	if s.DemoOn() {
		fmt.Fprintf(w, welcome, n.url())
	}
}

const welcome = `
The demo is on: its model needs no key. Paste this to watch it run an MCP tool:

  curl -N %[1]s/v1/responses -H 'Content-Type: application/json' -d '{
    "model": "demo-slow", "input": "What do you know about the river Amazon?", "stream": true,
    "tools": [{"type": "mcp", "server_label": "demo", "require_approval": "never"}]}'

Or this, which says a word every half second, for a minute:

  curl -N %[1]s/v1/responses -H 'Content-Type: application/json' -d '{
    "model": "demo", "input": "Tell me about rivers. [[tokens=120]] [[delay=500ms]]", "stream": true}'

Cut it off with Ctrl-C, or kill this node in the middle and start it again, and go on from the last id that you saw:

  curl -N '%[1]s/v1/responses/resp_…?stream=true' -H 'Last-Event-ID: 9'

`

// hostName is what a node is called unless the operator says otherwise.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "midstream"
	}
	return name
}
