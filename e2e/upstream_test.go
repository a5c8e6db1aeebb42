//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// mocked is the config of a gateway before aimock, which speaks every dialect: the model's name chooses.
func mocked() string {
	return fmt.Sprintf(`
upstreams:
  - {name: chat, dialect: chat, base_url: %[1]q, api_key: none, models: ["chat-*"]}
  - {name: responses, dialect: responses, base_url: %[1]q, api_key: none, models: ["responses-*"]}
  - {name: messages, dialect: messages, base_url: %[1]q, api_key: none, models: ["messages-*"]}
`, shared.aimock)
}

// TestUpstreams promises that what a model server of any dialect says becomes a canonical response: text, reasoning,
// the client's own tools, errors and cuts. The server is aimock; what it says is in fixtures/upstream.json.
func TestUpstreams(t *testing.T) {
	g := serve(t, mocked())
	stories := []struct {
		name string
		tell func(t *testing.T, g *gateway, model string)
	}{
		{"text", testText},
		{"unstreamed", testUnstreamed},
		{"reasoning", testReasoning},
		{"tools", testClientTools},
		{"refused", testRefused},
		{"cut", testCut},
		{"live", testLive},
	}
	for _, dialect := range []string{"chat", "responses", "messages"} {
		for _, story := range stories {
			t.Run(dialect+"/"+story.name, func(t *testing.T) {
				t.Parallel()
				story.tell(t, g, dialect+"-1")
			})
		}
	}
}

// say asks a model in plain words.
func say(model, input string) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: model,
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(input)},
	}
}

// testText promises that every character arrives, however the upstream has cut the text.
func testText(t *testing.T, g *gateway, model string) {
	const want = "Flüsse 🌊 tragen 👩‍👩‍👧 Boote – immer weiter, bis ans Meer."
	got := g.story(t, say(model, "Describe the river"))
	if got.Status != "completed" || got.OutputText() != want || kinds(got) != "message" {
		t.Errorf("got %s %s with %q, want the text as one message", got.Status, kinds(got), got.OutputText())
	}
	if got.Usage.InputTokens != 5 || got.Usage.OutputTokens != 16 || got.Usage.TotalTokens != 21 {
		t.Errorf("usage is %s, want the 5 and 16 tokens that the upstream counted", got.Usage.RawJSON())
	}
}

// testUnstreamed promises that a create without stream answers with the very object that the log has.
func testUnstreamed(t *testing.T, g *gateway, model string) {
	client := g.client()
	got, err := client.Responses.New(context.Background(), say(model, "Describe the river"))
	if err != nil {
		t.Fatal(err)
	}
	logged := g.replay(t, got.ID)
	if diff := cmp.Diff(decode(t, logged.final), decode(t, []byte(got.RawJSON()))); diff != "" {
		t.Errorf("the answer differs from the log (-log +answer):\n%s", diff)
	}
}

// testReasoning promises that reasoning is an item of its own, before the message.
func testReasoning(t *testing.T, g *gateway, model string) {
	got := g.story(t, say(model, "Think about the flood"))
	if kinds(got) != "reasoning message" || got.OutputText() != "So the banks gave way." {
		t.Fatalf("got %s with %q, want reasoning and a message", kinds(got), got.OutputText())
	}
	if !strings.Contains(got.Output[0].RawJSON(), "It rained for three days.") {
		t.Errorf("the reasoning is %s", got.Output[0].RawJSON())
	}
}

// testClientTools promises that calls which the client makes end the response, and that what they gave goes back to the
// model.
func testClientTools(t *testing.T, g *gateway, model string) {
	params := say(model, "How high is the water?")
	params.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("gauge", map[string]any{
		"type":       "object",
		"properties": map[string]any{"place": map[string]any{"type": "string"}},
	}, false)}
	asked := g.story(t, params)
	if kinds(asked) != "function_call function_call" {
		t.Fatalf("got %s, want two calls", asked.RawJSON())
	}

	input := responses.ResponseInputParam{
		responses.ResponseInputItemParamOfMessage("How high is the water?", responses.EasyInputMessageRoleUser),
	}
	levels := map[string]string{`{"place":"Oslo"}`: "2.0 m", `{"place":"Bonn"}`: "3.1 m"}
	for _, item := range asked.Output {
		call := item.AsFunctionCall()
		level, ok := levels[call.Arguments]
		if !ok || call.Name != "gauge" || call.Status != "completed" {
			t.Errorf("call %s, want gauge of Oslo or Bonn", call.RawJSON())
		}
		output := responses.ResponseInputItemParamOfFunctionCallOutput(level)
		output.OfFunctionCallOutput.CallID = openai.String(call.CallID)
		input = append(input, responses.ResponseInputItemParamOfFunctionCall(call.Arguments, call.CallID, call.Name), output)
	}
	params.Input = responses.ResponseNewParamsInputUnion{OfInputItemList: input}
	if told := g.story(t, params); told.OutputText() != "Two metres in Oslo, three in Bonn." {
		t.Errorf("got %s, want the model's reading of the gauges", told.RawJSON())
	}
}

// testRefused promises that an upstream's 429 is the answer's status when nothing has been streamed, and a failed
// response when a stream has begun.
func testRefused(t *testing.T, g *gateway, model string) {
	params := say(model, "Ask too much")
	client := g.client()
	_, err := client.Responses.New(context.Background(), params)
	var refusal *openai.Error
	if !errors.As(err, &refusal) || refusal.StatusCode != http.StatusTooManyRequests {
		t.Errorf("got %v, want status 429", err)
	}
	got := g.story(t, params)
	if got.Status != "failed" || !strings.Contains(got.Error.Message, "Slow down, please.") {
		t.Errorf("got %s with %s, want failed for the upstream's reason", got.Status, got.Error.RawJSON())
	}
}

// testCut promises that an upstream that dies in the middle of a sentence ends the response as failed, with the message
// that was said so far closed as incomplete.
func testCut(t *testing.T, g *gateway, model string) {
	const whole = "The bridge was swept away before anybody could reach the other side."
	got := g.story(t, say(model, "Break off"))
	said := got.OutputText()
	if got.Status != "failed" || said == "" || said == whole || !strings.HasPrefix(whole, said) {
		t.Fatalf("got %s with %q, want failed with a part of the sentence", got.Status, said)
	}
	if message := got.Output[0].AsMessage(); message.Status != "incomplete" {
		t.Errorf("the message is %s, want incomplete", message.Status)
	}
}

// testLive promises that a client hears the first word while the model is still speaking.
func testLive(t *testing.T, g *gateway, model string) {
	client := g.client()
	ctx := context.Background()
	stream := client.Responses.NewStreaming(ctx, say(model, "Flow slowly"))
	defer stream.Close()
	var id string
	for stream.Next() && stream.Current().Type != "response.output_text.delta" {
		if created := stream.Current(); created.Type == "response.created" {
			id = created.Response.ID
		}
	}
	running, err := client.Responses.Get(ctx, id, responses.ResponseGetParams{})
	if err != nil {
		t.Fatal(err)
	}
	if running.Status != "in_progress" {
		t.Errorf("the response is %s at its first delta, want in_progress", running.Status)
	}
	for stream.Next() { // to the end
	}
	if logged := g.replay(t, id); logged.text != "Drop by drop by drop by drop." {
		t.Errorf("the log has %q", logged.text)
	}
}
