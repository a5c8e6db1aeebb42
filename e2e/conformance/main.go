//go:build e2e

// Command conformance is the client under test of the MCP conformance suite: it hands the suite's server to the gateway
// as an MCP tool, and lets a scripted model call the tools that the scenario needs.
//
//	MIDSTREAM_URL=http://127.0.0.1:8080 MCP_CONFORMANCE_SCENARIO=tools_call conformance http://localhost:PORT/mcp
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

const timeout = 25 * time.Second // the suite gives up after 30 s

// A call is one line of the model's script (see puppet_test.go).
type call struct {
	Name      string         `json:"name"`                // of a tool; * is every tool that is offered, at once
	Arguments jsontext.Value `json:"arguments,omitzero"`  // {} if absent
	SchemaOf  string         `json:"schema_of,omitempty"` // arguments become {"schema": what the model was shown of that tool}
}

// scripts has what the model does in each scenario. In the others it calls nothing: listing is all that they look at.
var scripts = map[string][]call{
	"tools_call":                       {{Name: "add_numbers", Arguments: jsontext.Value(`{"a":5,"b":3}`)}},
	"sse-retry":                        {{Name: "test_reconnection"}},
	"http-standard-headers":            {{Name: "*"}},
	"http-invalid-tool-headers":        {{Name: "*", Arguments: jsontext.Value(`{"region":"us-east1"}`)}},
	"sep-2322-client-request-state":    {{Name: "*"}},
	"json-schema-2020-12-preservation": {{Name: "json_schema_echo", SchemaOf: "json_schema_2020_12_tool"}},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: conformance SERVER_URL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	script, err := script()
	if err != nil {
		return err
	}
	return respond(ctx, os.Getenv("MIDSTREAM_URL"), os.Args[1], script)
}

// script returns the calls that the scenario asks for, or ours.
func script() (string, error) {
	calls := scripts[os.Getenv("MCP_CONFORMANCE_SCENARIO")]
	if text := os.Getenv("MCP_CONFORMANCE_CONTEXT"); text != "" {
		var wanted struct {
			ToolCalls []call `json:"toolCalls"`
		}
		if err := json.Unmarshal([]byte(text), &wanted); err != nil {
			return "", fmt.Errorf("read the scenario's context: %w", err)
		}
		calls = append(calls, wanted.ToolCalls...)
	}
	text, err := json.Marshal(calls)
	if err != nil {
		return "", fmt.Errorf("write the script: %w", err)
	}
	return string(text), nil
}

// respond creates the response, waits for its end, and prints it.
func respond(ctx context.Context, gateway, server, script string) error {
	client := openai.NewClient(option.WithBaseURL(gateway+"/v1"), option.WithAPIKey("none"), option.WithMaxRetries(0))
	response, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: "puppet",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(script)},
		Tools: []responses.ToolUnionParam{{OfMcp: &responses.ToolMcpParam{
			ServerLabel:     "suite",
			ServerURL:       openai.String(server),
			RequireApproval: responses.ToolMcpRequireApprovalUnionParam{OfMcpToolApprovalSetting: openai.String("never")},
		}}},
	})
	if err != nil {
		return fmt.Errorf("create a response: %w", err)
	}
	fmt.Println(response.RawJSON())
	if response.Status != responses.ResponseStatusCompleted {
		return fmt.Errorf("response %s is %s: %s", response.ID, response.Status, response.Error.Message)
	}
	return nil
}
