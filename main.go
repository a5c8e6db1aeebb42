package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"sync"
	"syscall"

	"github.com/alecthomas/kong"
)

// The exit codes.
const (
	exitOK         = 0
	exitError      = 1 // the command could not do what it was asked
	exitUsage      = 2 // flags, variables or the configuration file are wrong
	exitFailed     = 3 // tail: the response failed, or was cancelled
	exitIncomplete = 4 // tail: the response is incomplete
	exitSignal     = 130
)

// command is the command line.
type command struct {
	Serve   serveCommand   `cmd:"" help:"Run a node."`
	Doctor  doctorCommand  `cmd:"" help:"Check an installation."`
	Tail    tailCommand    `cmd:"" help:"Follow a response in the terminal."`
	Version versionCommand `cmd:"" help:"Print the version, as --version does."`
}

// process is what a command has of its process, so that tests can give another.
type process struct {
	args           []string
	stdout, stderr io.Writer
}

func main() {
	os.Exit(run(context.Background(), process{os.Args[1:], os.Stdout, os.Stderr}))
}

// run parses the command line and does what it says until ctx or a first signal ends it. A second signal ends the
// process at once.
func run(ctx context.Context, p process) int {
	if len(p.args) == 0 {
		fmt.Fprint(p.stderr, brief)
		return exitUsage
	}
	ctx, stop := untilSignal(ctx)
	defer stop()

	exit := notExited
	parser, err := kong.New(&command{}, kong.Name("midstream"),
		kong.Description("An event-sourced stream broker for AI responses, on NATS JetStream."),
		kong.DefaultEnvars("MIDSTREAM"), kong.Writers(p.stdout, p.stderr), kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(p))
	if err != nil {
		panic("midstream: internal error: " + err.Error()) // only a wrong struct tag fails
	}
	chosen, err := parser.Parse(spelledOut(p.args))
	if exit != notExited {
		return exit // --help has said everything
	}
	if err == nil {
		err = chosen.Run()
	}
	return p.report(err)
}

// brief is for whoever does not know yet what to ask.
const brief = `Usage: midstream <command>

  midstream serve                 run a node; without a configuration it is a demo that needs no key
  midstream tail <response-id>    follow a response in the terminal
  midstream doctor                check an installation, and say what to do

midstream help has all commands, midstream <command> --help their flags.
`

// spelledOut returns the arguments in the one form that the commands know.
func spelledOut(args []string) []string {
	switch {
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return args
}

// untilSignal returns a context that ends with the first signal. From then on a signal does what it does to any process: also
// one that comes in the moment in which the first has shown any effect.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		signal.Stop(signals)
		cancel()
	})
	return ctx, func() {
		cancel()
		waiting.Wait()
	}
}

// notExited is no exit code.
const notExited = -1

// coded is an error with an exit code of its own. Without a cause there is nothing more to say.
type coded struct {
	code  int
	cause error
}

func (e *coded) Error() string {
	if e.cause == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.cause.Error()
}

func (e *coded) Unwrap() error { return e.cause }

// report tells why a command ended, and with which code.
func (p process) report(err error) int {
	var code int
	var withCode *coded
	var usage *kong.ParseError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &withCode):
		code, err = withCode.code, withCode.cause
	case errors.As(err, &usage):
		code = exitUsage
	default:
		code = exitError
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "midstream:", err)
	}
	return code
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(p process) error {
	_, err := fmt.Fprintln(p.stdout, "midstream", version())
	if err != nil {
		return fmt.Errorf("print version: %w", err)
	}
	return nil
}

// stamped is what the Makefile has read off git; "" where the go command alone has built.
var stamped string

// version is the Makefile's, or the module's, as the go command has stamped it.
func version() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
