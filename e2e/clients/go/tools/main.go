// Command tools lets the model call a function of this program, and tells it what came out, until it answers.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

var levels = map[string]string{"Oslo": "2.0 m", "Bonn": "3.1 m"}

func main() {
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	input := responses.ResponseInputParam{responses.ResponseInputItemParamOfMessage(
		"How high is the water in Bonn? [[rounds=2]]", responses.EasyInputMessageRoleUser,
	)}
	for calling := true; calling; {
		response := ask(&client, input)
		calling = false
		for _, item := range response.Output {
			if item.Type == "function_call" {
				calling = true
				input = append(input, responses.ResponseInputItemParamOfFunctionCall(item.Arguments.OfString, item.CallID, item.Name))
				input = append(input, answer(item.AsFunctionCall()))
			}
		}
		fmt.Print(response.OutputText())
	}
}

// ask streams one turn, and returns its response.
func ask(client *openai.Client, input responses.ResponseInputParam) (response responses.Response) {
	events := client.Responses.NewStreaming(context.Background(), responses.ResponseNewParams{
		Model: "demo",
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: input},
		Tools: []responses.ToolUnionParam{responses.ToolParamOfFunction("gauge", map[string]any{
			"type":                 "object",
			"properties":           map[string]any{"place": map[string]any{"type": "string", "enum": []string{"Oslo", "Bonn"}}},
			"required":             []string{"place"},
			"additionalProperties": false,
		}, true)},
	})
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

func answer(call responses.ResponseFunctionToolCall) responses.ResponseInputItemUnionParam {
	var args struct {
		Place string `json:"place"`
	}
	if err := json.Unmarshal([]byte(call.Arguments), &args); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s(%s) = %s\n", call.Name, args.Place, levels[args.Place])
	output := responses.ResponseInputItemParamOfFunctionCallOutput(levels[args.Place])
	output.OfFunctionCallOutput.CallID = openai.String(call.CallID)
	return output
}
