//go:build e2e

package rig

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Script is what a client asks for: its JSON is the input. What the model says follows from it and from what was said
// before, so a turn that is made again goes on where the last one was cut off.
type Script struct {
	Run   string `json:"run"`
	Words int    `json:"words"`
	Gap   int    `json:"gap"`   // milliseconds between two words
	Calls int    `json:"calls"` // tool calls, spread among the words: even ones are of Charge, odd ones of Look
}

func (s *Script) input() string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // numbers and letters
	}
	return string(text)
}

// Word is the n-th word: some of its characters are several bytes long, so that a cut may go through one.
func Word(n int) string { return fmt.Sprintf("w%dß🌊", n) }

// Text is all that the model says, whoever interrupts it.
func (s *Script) Text() string {
	var text strings.Builder
	for n := range s.Words {
		text.WriteString(Word(n) + " ")
	}
	return text.String()
}

// before is how many words stand before a call.
func (s *Script) before(call int) int {
	if call >= s.Calls {
		return s.Words
	}
	return (call + 1) * s.Words / (s.Calls + 1)
}

// tool is the name of the tool of a call.
func (s *Script) tool(call int) string {
	if call%2 == 0 {
		return Charge
	}
	return Look
}

// key names a call among all that are made.
func (s *Script) key(call int) string { return fmt.Sprintf("%s/%d", s.Run, call) }

func (s *Script) gap() time.Duration { return time.Duration(s.Gap) * time.Millisecond }
