// Command again asks twice with one Idempotency-Key, and gets one response; with another question under that key it is
// refused.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	client := openai.NewClient(option.WithMaxRetries(0)) // OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=none

	key := rand.Text()
	ask := func(question string) (*responses.Response, error) {
		return client.Responses.New(context.Background(), responses.ResponseNewParams{
			Model: "demo",
			Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(question)},
		}, option.WithHeader("Idempotency-Key", key))
	}
	first, err1 := ask("Tell me about the Danube.")
	second, err2 := ask("Tell me about the Danube.")
	if err := errors.Join(err1, err2); err != nil {
		log.Fatal(err)
	}
	fmt.Println(second.ID == first.ID && second.OutputText() == first.OutputText())

	_, err := ask("And the Elbe?")
	var refused *openai.Error
	if !errors.As(err, &refused) {
		log.Fatal("not refused: ", err)
	}
	fmt.Println(refused.StatusCode)
}
