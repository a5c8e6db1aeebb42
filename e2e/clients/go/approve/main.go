// Command approve asks before an MCP tool runs: the first response ends in a request, the second goes on with the
// user's answer: approve yes|no
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

	params := responses.ResponseNewParams{
		Model: "demo",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Which facts of the Danube do you know?")},
		Tools: []responses.ToolUnionParam{{OfMcp: &responses.ToolMcpParam{
			ServerLabel: "demo",
			RequireApproval: responses.ToolMcpRequireApprovalUnionParam{
				OfMcpToolApprovalFilter: &responses.ToolMcpRequireApprovalMcpToolApprovalFilterParam{
					Always: responses.ToolMcpRequireApprovalMcpToolApprovalFilterAlwaysParam{ToolNames: []string{"river_facts"}},
				},
			},
		}}},
	}
	first := ask(&client, params)
	var answers responses.ResponseInputParam
	for _, item := range first.Output {
		if item.Type == "mcp_approval_request" {
			fmt.Printf("%s(%s)? %s\n", item.Name, item.Arguments.OfString, os.Args[1])
			answers = append(answers, responses.ResponseInputItemParamOfMcpApprovalResponse(item.ID, os.Args[1] == "yes"))
		}
	}
	params.PreviousResponseID = openai.String(first.ID)
	params.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: answers}
	second := ask(&client, params)
	fmt.Print(second.OutputText())
}

func ask(client *openai.Client, params responses.ResponseNewParams) (response responses.Response) {
	events := client.Responses.NewStreaming(context.Background(), params)
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
	return response
}
