// Command forget lists what a response was asked, page by page, and erases it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	ctx := context.Background()
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	response, err := client.Responses.New(ctx, responses.ResponseNewParams{
		Model: "demo",
		Input: responses.ResponseNewParamsInputUnion{OfInputItemList: responses.ResponseInputParam{
			responses.ResponseInputItemParamOfMessage("You know rivers.", responses.EasyInputMessageRoleDeveloper),
			responses.ResponseInputItemParamOfMessage("Tell me about the Danube.", responses.EasyInputMessageRoleUser),
			responses.ResponseInputItemParamOfMessage("It is long.", responses.EasyInputMessageRoleAssistant),
			responses.ResponseInputItemParamOfMessage("And the Elbe?", responses.EasyInputMessageRoleUser),
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	items := client.Responses.InputItems.ListAutoPaging(ctx, response.ID, responses.InputItemListParams{
		Limit: openai.Int(3), Order: responses.InputItemListParamsOrderAsc,
	})
	for items.Next() {
		var item struct {
			Role    string `json:"role"`
			Content []struct {
				Text string `json:"text"`
			} `json:"content"`
		}
		if err := json.Unmarshal([]byte(items.Current().RawJSON()), &item); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: %s\n", item.Role, item.Content[0].Text)
	}
	if err := items.Err(); err != nil {
		log.Fatal(err)
	}

	if err := client.Responses.Delete(ctx, response.ID); err != nil {
		log.Fatal(err)
	}
	_, err = client.Responses.Get(ctx, response.ID, responses.ResponseGetParams{})
	var gone *openai.Error
	if !errors.As(err, &gone) {
		log.Fatal("still there: ", err)
	}
	fmt.Println(gone.StatusCode)
}
