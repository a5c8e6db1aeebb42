// Command final lets the model use an MCP tool, and keeps the finished response.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	events := client.Responses.NewStreaming(context.Background(), responses.ResponseNewParams{
		Model: "demo",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("What is the weather on the river?")},
		Tools: []responses.ToolUnionParam{{OfMcp: &responses.ToolMcpParam{
			ServerLabel:     "demo",
			RequireApproval: responses.ToolMcpRequireApprovalUnionParam{OfMcpToolApprovalSetting: openai.String("never")},
		}}},
	})
	var response responses.Response
	for events.Next() {
		event := events.Current()
		fmt.Fprintln(os.Stderr, event.SequenceNumber, event.Type)
		if event.Type == "response.completed" {
			response = event.Response
		}
	}
	if err := events.Err(); err != nil {
		log.Fatal(err)
	}

	for _, item := range response.Output {
		if item.Type == "mcp_call" {
			fmt.Printf("%s.%s(%s) = %s\n", item.ServerLabel, item.Name, item.Arguments.OfString, item.Output.OfString)
		}
	}
	fmt.Println(response.OutputText())
}
