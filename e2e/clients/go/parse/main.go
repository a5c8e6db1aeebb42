// Command parse asks for an object of a given shape.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	response, err := client.Responses.New(context.Background(), responses.ResponseNewParams{
		Model: "demo",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("The water in Bonn stands at 3 metres.")},
		Text: responses.ResponseTextConfigParam{Format: responses.ResponseFormatTextConfigParamOfJSONSchema("gauge", map[string]any{
			"type": "object",
			"properties": map[string]any{
				"place":  map[string]any{"type": "string", "enum": []string{"Oslo", "Bonn"}},
				"metres": map[string]any{"type": "number"},
			},
			"required":             []string{"place", "metres"},
			"additionalProperties": false,
		})},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.OutputText())
}
