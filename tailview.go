package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// view shows a response to a person: text as it comes, tool calls with arguments and results, and how it ended.
type view struct {
	out     io.Writer
	colour  bool
	midLine bool // the last line is open
	status  string
	err     error // of out; sticky
}

func newView(out io.Writer, colour bool) *view { return &view{out: out, colour: colour} }

// style is an SGR parameter of ECMA-48.
type style string

const (
	plain style = ""
	bold  style = "1"
	dim   style = "2"
	red   style = "31"
	green style = "32"
	cyan  style = "36"
)

// show shows one event. It fails when nobody reads any more.
func (v *view) show(e *schema.Event) error {
	switch {
	case e.Type == schema.Created && e.Response != nil:
		v.line(dim, e.Response.ID+"  "+e.Response.Model)
	case e.Type.Terminal() && e.Response != nil:
		v.end(e.Response)
	case e.Type == schema.ItemAdded && e.Item != nil:
		v.begin(e.Item)
	case e.Type == schema.ItemDone && e.Item != nil:
		v.finish(e.Item)
	case e.Delta != nil:
		v.write(deltaStyle[e.Type], *e.Delta)
	}
	return v.err
}

// deltaStyle tells what is said from what is thought and asked for.
var deltaStyle = map[schema.EventType]style{
	schema.ReasoningDelta: dim, schema.SummaryDelta: dim,
	schema.CallDelta: cyan, schema.FunctionDelta: cyan, schema.CustomDelta: cyan, schema.RefusalDelta: red,
}

func (v *view) begin(it *schema.Item) {
	v.breakLine()
	switch it.Type {
	case schema.KindMessage, schema.KindReasoning:
	case schema.KindListTools:
		v.write(dim, "tools of "+it.ServerLabel+":")
	case schema.KindMCPCall:
		v.write(bold, "▸ "+it.ServerLabel+"."+it.Name+" ")
	case schema.KindFunctionCall, schema.KindCustomCall:
		v.write(bold, "▸ "+it.Name+" ")
	case schema.KindApprovalRequest:
		v.write(bold, "▸ "+it.ServerLabel+"."+it.Name+" ")
		if it.Arguments != nil {
			v.write(cyan, *it.Arguments)
		}
	default:
		v.write(dim, it.Type)
	}
}

func (v *view) finish(it *schema.Item) {
	switch {
	case it.Failed() && len(it.Error) > 0:
		v.breakLine()
		v.line(red, "  ✗ "+errorText(it.Error))
	case it.Type == schema.KindListTools:
		v.write(dim, " "+strings.Join(toolNames(it.Tools), ", "))
	case it.Type == schema.KindMCPCall:
		v.breakLine()
		v.line(plain, "  "+strings.ReplaceAll(strings.TrimSpace(outputText(it.Output)), "\n", "\n  "))
	case it.Type == schema.KindApprovalRequest:
		v.breakLine()
		v.line(plain, "  ? waits for an answer to "+it.ID)
	case it.Status == schema.StatusIncomplete:
		v.breakLine()
		v.line(red, "  ✗ cut off")
	}
	v.breakLine()
}

func (v *view) end(r *schema.Response) {
	v.status = r.Status
	v.breakLine()
	told := []string{r.Status}
	if r.IncompleteDetails != nil {
		told = append(told, r.IncompleteDetails.Reason)
	}
	if r.Error != nil {
		told = append(told, r.Error.Code+": "+r.Error.Message)
	}
	if u := r.Usage; u != nil {
		told = append(told, fmt.Sprintf("%d tokens in, %d out", u.InputTokens, u.OutputTokens))
	}
	if r.CompletedAt != nil && *r.CompletedAt > r.CreatedAt {
		told = append(told, (time.Duration(*r.CompletedAt-r.CreatedAt) * time.Second).String())
	}
	mark, colour := "✓ ", green
	if r.Status != schema.StatusCompleted {
		mark, colour = "✗ ", red
	}
	v.line(colour, mark+strings.Join(told, "  "))
}

// verdict turns the response's status into an exit code.
func (v *view) verdict() error {
	switch v.status {
	case schema.StatusFailed, schema.StatusCancelled:
		return &coded{exitFailed, nil}
	case schema.StatusIncomplete:
		return &coded{exitIncomplete, nil}
	}
	return nil
}

func (v *view) line(s style, text string) {
	v.write(s, text)
	v.breakLine()
}

// breakLine ends the line, if one is open.
func (v *view) breakLine() {
	if v.midLine {
		v.raw("\n")
		v.midLine = false
	}
}

func (v *view) write(s style, text string) {
	text = printable(text)
	if text == "" {
		return
	}
	v.midLine = !strings.HasSuffix(text, "\n")
	if v.colour && s != plain {
		text = "\x1b[" + string(s) + "m" + text + "\x1b[0m"
	}
	v.raw(text)
}

func (v *view) raw(text string) {
	if v.err == nil {
		_, v.err = io.WriteString(v.out, text)
	}
}

// printable takes out what a terminal would obey: models and tools are not to move cursors, change titles or turn lines
// around. Joiners stay: scripts and emoji need them.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsGraphic(r) || unicode.Is(unicode.Join_Control, r) {
			return r
		}
		return -1
	}, s)
}

// outputText is a tool's output: a JSON string, or whatever else it is.
func outputText(raw jsontext.Value) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// errorText is what an item's error says: a string, an object with a message, or one with a tool's own words.
func errorText(raw jsontext.Value) string {
	var e struct {
		Message string `json:"message"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
	}
	switch {
	case raw.Kind() == '"' || json.Unmarshal(raw, &e) != nil:
		return outputText(raw)
	case e.Message != "" || len(e.Content) == 0:
		return e.Message
	}
	return e.Content[0].Text
}

func toolNames(tools []jsontext.Value) []string {
	var names []string
	for _, raw := range tools {
		var t struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(raw, &t) == nil {
			names = append(names, t.Name)
		}
	}
	return names
}
