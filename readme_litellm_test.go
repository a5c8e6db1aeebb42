package main

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/midstream-dev/midstream/schema"
)

const (
	litellmFile = "examples/litellm/events.ndjson"
	litellmID   = "resp_litellm0123456789abcd"
)

// litellm returns the events of the case that this project began with, a line each, as their producer sent them.
func litellm(t *testing.T) (events []string) {
	t.Helper()
	for line := range strings.Lines(readFile(t, litellmFile)) {
		events = append(events, line)
	}
	return events
}

// TestExample_LiteLLM promises that the file which the README has readers send is the story that the sequencer is tested with.
func TestExample_LiteLLM(t *testing.T) {
	story, err := txtar.ParseFile("schema/testdata/stories/litellm_old_order.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for line := range strings.Lines(string(story.Files[0].Data)) {
		if event, ok := strings.CutPrefix(line, "litellm "); ok {
			b.WriteString(event)
		}
	}
	golden(t, litellmFile, b.String())
}

// madeCase finds what the README shows of the case.
var madeCase = regexp.MustCompile("(?s)(<!-- made by TestReadme_LiteLLM -->\n).*?(<!-- end -->)")

// TestReadme_LiteLLM promises that what the README shows of the case, a node has just made: the answer to the producer, the
// response as a person sees it, and each event that was sent beside each that is served.
func TestReadme_LiteLLM(t *testing.T) {
	f := feeder{serveNode(t, "--nats.data="+t.TempDir()), litellmID, "litellm"}
	events := litellm(t)
	status, a := f.send(t, strings.Join(events, ""), "Midstream-Seq", "0")
	if status != http.StatusOK {
		t.Fatalf("%d %+v", status, a)
	}
	f.stream(t) // is legal, and has ended
	code, tailed, stderr := runCommand(t, "tail", f.id, "--server="+f.url)
	if code != exitOK {
		t.Fatalf("tail: exit code %d: %s", code, stderr)
	}
	_, stream := f.do(t, http.MethodGet, "/v1/responses/"+f.id+"?stream=true", "", nil)
	made := fmt.Sprintf("\n```console\n$ curl -s http://127.0.0.1:8080/v1/responses/%s/events \\\n"+
		"    -H 'Content-Type: application/x-ndjson' -H 'Midstream-Producer: litellm' -H 'Midstream-Seq: 0' \\\n"+
		"    --data-binary @%s\n{\"accepted\":%d,\"next\":%d}\n$ ./midstream tail %s\n%s```\n\n%s\n",
		f.id, litellmFile, a.Accepted, a.Next, f.id, untimed(tailed), abreast(t, events, dataLines(stream)))
	readme := readFile(t, "README.md")
	if !madeCase.MatchString(readme) {
		t.Fatal("the README has no place for it")
	}
	golden(t, "README.md", madeCase.ReplaceAllStringFunc(readme, func(s string) string {
		marks := madeCase.FindStringSubmatch(s)
		return marks[1] + made + marks[2]
	}))
}

var seconds = regexp.MustCompile(`(?m)(completed.*?)  \d+s$`)

// untimed takes away what differs between two runs.
func untimed(tailed string) string { return seconds.ReplaceAllString(tailed, "$1") }

// dataLines returns the JSON of a stream's events.
func dataLines(stream []byte) (events []string) {
	for line := range strings.Lines(string(stream)) {
		if data, ok := strings.CutPrefix(line, "data: {"); ok {
			events = append(events, "{"+data)
		}
	}
	return events
}

// abreast writes what was sent and what is served side by side: type, sequence_number and output_index of each event.
func abreast(t *testing.T, sent, served []string) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("```text\n")
	line := func(left, right [3]string) {
		text := fmt.Sprintf("%-34s %4s %6s   │ %-34s %4s %6s", left[0], left[1], left[2], right[0], right[1], right[2])
		b.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	line([3]string{"sent", "seq", "output"}, [3]string{"served", "seq", "output"})
	for i := range max(len(sent), len(served)) {
		line(shortened(t, sent, i), shortened(t, served, i))
	}
	b.WriteString("```\n")
	return b.String()
}

// shortened returns the type of an event without its first word, its number and its index.
func shortened(t *testing.T, events []string, i int) (columns [3]string) {
	t.Helper()
	if i >= len(events) {
		return columns
	}
	e, err := schema.ParseEvent([]byte(events[i]))
	if err != nil {
		t.Fatal(err)
	}
	columns = [3]string{strings.TrimPrefix(string(e.Type), "response."), strconv.FormatInt(e.SequenceNumber, 10)}
	if e.OutputIndex != nil {
		columns[2] = strconv.Itoa(*e.OutputIndex)
	}
	return columns
}
