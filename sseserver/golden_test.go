package sseserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/midstream-dev/midstream/broker"
	"github.com/midstream-dev/midstream/schema"
)

// Each file of testdata/transcripts is one exchange with a server over the real log, on a story whose bytes never
// change. What a client sees is written there byte for byte, but for the Date header and the line ends of the head.
func TestGolden_Transcripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d transcripts: %v", len(files), err)
	}
	putGoldenStory(t)
	putGoldenConversation(t)
	s := serveLive(t, func(c *Config) {
		c.Conversations = liveBroker(t)
		c.Models = listOf(Model{ID: "demo", OwnedBy: "midstream"})
	})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			transcript, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			request := string(transcript.Files[0].Data)
			got := s.exchange(t, request)
			if *update {
				transcript.Files = []txtar.File{transcript.Files[0], {Name: "response", Data: got}}
				if err := os.WriteFile(file, txtar.Format(transcript), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(transcript.Files) != 2 {
				t.Fatal("no response in it: run with -update")
			}
			if diff := cmp.Diff(string(transcript.Files[1].Data), string(got)); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

// putGoldenStory puts the story into the log, if no earlier run of the test has.
func putGoldenStory(t *testing.T) {
	t.Helper()
	if _, err := liveBroker(t).Read(t.Context(), mustRef(t, storyID)); !errors.Is(err, broker.ErrNotFound) {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	p := produce(t, storyCommand(storyID))
	p.append(p.open())
	p.append(p.say("Because the old one "))
	p.append(p.say("drowns.\n\nevent: fake\ndata: {}\u2028"))
	p.end()
}

// putGoldenConversation keeps a conversation whose items never change, if no earlier run of the test has.
func putGoldenConversation(t *testing.T) {
	t.Helper()
	const id = "conv_0193500000007000a000000000000001"
	b := liveBroker(t)
	if _, err := b.CreateConversation(t.Context(), "default", id, nil); err != nil {
		if _, err := b.Conversation(t.Context(), "default", id); err != nil {
			t.Fatal(err)
		}
		return
	}
	items, refusal := schema.ParseNewItems([]byte(`{"items":[
		{"id":"msg_golden_1","role":"user","content":"Why change horses in midstream?"},
		{"id":"msg_golden_2","role":"assistant","content":"Because the old one drowns."},
		{"id":"msg_golden_3","type":"reasoning","summary":[]}]}`))
	if refusal != nil {
		t.Fatal(refusal)
	}
	if _, err := b.ChangeConversation(t.Context(), "default", id, adding(items)); err != nil {
		t.Fatal(err)
	}
}

// exchange sends a request and returns the answer: status, headers in order of name, body.
func (s *site) exchange(tb testing.TB, request string) []byte {
	tb.Helper()
	head, body, _ := strings.Cut(request, "\n\n")
	body = strings.TrimSuffix(body, "\n")
	head = strings.ReplaceAll(head, "\n", "\r\n")
	if body != "" {
		head += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	conn := s.dial(tb, head+"\r\nHost: gateway\r\nX-Request-Id: golden\r\n\r\n"+body)
	resp := answerOn(tb, conn)
	var out, headers bytes.Buffer
	resp.Header.Del("Date")
	if err := resp.Header.Write(&headers); err != nil {
		tb.Fatal(err)
	}
	fmt.Fprintf(&out, "%s %s\n%s\n", resp.Proto, resp.Status, bytes.ReplaceAll(headers.Bytes(), []byte("\r\n"), []byte("\n")))
	out.Write(read(tb, resp))
	if !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		out.WriteByte('\n') // as txtar must have it
	}
	return out.Bytes()
}
