// Command conversation holds a conversation that the gateway keeps under a name, lists what is in it, and erases it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/conversations"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	ctx := context.Background()
	client := openai.NewClient() // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	conversation, err := client.Conversations.New(ctx, conversations.ConversationNewParams{
		Metadata: map[string]string{"topic": "rivers"},
	})
	check(err)
	for _, question := range []string{"Tell me about the Danube.", "And the Elbe?"} {
		events := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{
			Model:        "demo",
			Input:        responses.ResponseNewParamsInputUnion{OfString: openai.String(question)},
			Conversation: responses.ResponseNewParamsConversationUnion{OfString: openai.String(conversation.ID)},
		})
		for events.Next() {
			fmt.Fprintln(os.Stderr, events.Current().SequenceNumber, events.Current().Type)
		}
		check(events.Err())
	}
	items := client.Conversations.Items.ListAutoPaging(ctx, conversation.ID, conversations.ItemListParams{
		Limit: openai.Int(3), Order: conversations.ItemListParamsOrderAsc,
	})
	for items.Next() {
		fmt.Println(items.Current().Type, items.Current().Role)
	}
	check(items.Err())
	kept, err := client.Conversations.Get(ctx, conversation.ID)
	check(err)
	fmt.Println(kept.Metadata.(map[string]any)["topic"])

	_, err = client.Conversations.Delete(ctx, conversation.ID)
	check(err)
	_, err = client.Conversations.Get(ctx, conversation.ID)
	var gone *openai.Error
	if !errors.As(err, &gone) {
		log.Fatal("still there: ", err)
	}
	fmt.Println(gone.StatusCode)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
