package upstream

import (
	"hash/fnv"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/midstream-dev/midstream/schema"
)

// scene is what the demo sees of a context.
type scene struct {
	user    string // the last user message, script taken out
	script  map[string]string
	calls   int      // tools called since then
	outputs []string // and what they gave
	said    string   // what the demo has said since then and since the last tool
	words   int64    // of the whole context
	delay   time.Duration
	deltas  int // of the answer at most; 0: one a word
}

// The bounds of what a script can ask for.
const (
	maxDemoDelay  = 10 * time.Second
	maxDemoTokens = 100_000
	maxDemoRounds = 100
)

var directive = regexp.MustCompile(`(?s)\[\[([a-z]+)(?:=(.*?))?\]\]`)

func readScene(req *Request) *scene {
	s := &scene{script: map[string]string{}}
	for i := range req.Input {
		s.see(&req.Input[i])
	}
	for _, m := range directive.FindAllStringSubmatch(s.user, -1) {
		s.script[m[1]] = m[2]
	}
	s.user = strings.TrimSpace(directive.ReplaceAllString(s.user, ""))
	if req.Create.Model == demoSlowModel {
		s.delay, s.deltas = slowDelay, slowDeltas
	}
	if d, err := time.ParseDuration(s.script["delay"]); err == nil {
		s.delay = min(max(d, 0), maxDemoDelay)
	}
	if s.has("tokens") {
		s.deltas = 0
	}
	return s
}

func (s *scene) see(it *schema.Item) {
	text := it.Text()
	switch it.Type {
	case schema.KindMessage:
		if it.Role == "user" {
			s.user, s.calls, s.outputs, s.said = text, 0, nil, ""
		}
		if it.Role == "assistant" {
			s.said += text
		}
	case schema.KindFunctionCall, schema.KindCustomCall:
		s.calls++
	case schema.KindFunctionOutput, schema.KindCustomOutput:
		text = outputText(it.Output)
		s.outputs, s.said = append(s.outputs, text), ""
	}
	s.words += int64(len(strings.Fields(text)))
}

// outputText reads a tool output: a string, or parts.
func outputText(raw jsontext.Value) string {
	var content schema.Content
	if err := json.Unmarshal(raw, &content); err != nil {
		return ""
	}
	return (&schema.Item{Content: content}).Text()
}

func (s *scene) has(name string) bool {
	_, ok := s.script[name]
	return ok
}

func (s *scene) number(name string, or, most int) int {
	n, err := strconv.Atoi(s.script[name])
	if err != nil {
		return or
	}
	return min(max(n, 0), most)
}

// text is what is left to say of the answer.
func (s *scene) text(req *Request) string {
	full := s.script["say"]
	if full == "" {
		full = sampleFormat(req, s)
	}
	if full == "" {
		full = s.prose()
	}
	return strings.TrimPrefix(full, s.said)
}

// rivers is what the demo knows.
var rivers = []string{
	"A river is never the same twice, yet every gauge along it agrees on the order of the waves.",
	"The Danube rises as the Breg and the Brigach, and nobody downstream can tell which drop came first.",
	"In spring the Río Negro meets the Solimões, and for miles the two run side by side without mixing.",
	"Change horses in midstream if you must: the stream does not wait, but it does not forget either.",
	"A stone thrown in at the source is heard at the mouth, late, but exactly once.",
	"Where the bank has given way the water finds its bed again, and goes on from where it was.",
	"Ferrymen on the Elbe count every boat, so that none arrives before it has left.",
}

// quoteLimit bounds how much of a tool's output is quoted, in bytes.
const quoteLimit = 200

// prose answers from the user's words and the tools' outputs. With [[tokens=n]] it has n words.
func (s *scene) prose() string {
	var b strings.Builder
	if words := s.topics(); len(words) > 0 {
		b.WriteString("You asked about " + strings.Join(words, ", ") + ". ")
	}
	for _, out := range s.outputs {
		if len(out) > quoteLimit {
			out = strings.ToValidUTF8(out[:quoteLimit], "") + "…"
		}
		if !strings.HasSuffix(out, ".") && !strings.HasSuffix(out, "…") {
			out += "."
		}
		b.WriteString("The tool says: " + out + " ")
	}
	from := fnv.New32a()
	from.Write([]byte(s.user))
	tokens := s.number("tokens", 0, maxDemoTokens)
	words := strings.Count(b.String(), " ")
	for n := 0; n < 2 || words < tokens; n++ {
		river := rivers[(int(from.Sum32()>>1)+n)%len(rivers)] + " "
		words += strings.Count(river, " ")
		b.WriteString(river)
	}
	if tokens > 0 {
		return strings.TrimSpace(strings.Join(strings.SplitAfter(b.String(), " ")[:tokens], ""))
	}
	return strings.TrimSpace(b.String())
}

// fillers are long words that nobody asks about.
var fillers = []string{
	"about", "could", "does", "from", "have", "know", "please", "tell", "that", "this", "what", "when", "where", "which",
	"with", "would", "your",
}

// topics are the longest words of the user's, three at most, in the order in which they were said.
func (s *scene) topics() []string {
	words := strings.FieldsFunc(s.user, func(r rune) bool { return !unicode.IsLetter(r) })
	words = slices.DeleteFunc(words, func(w string) bool {
		return len(w) < 4 || len(w) > 40 || slices.Contains(fillers, strings.ToLower(w))
	})
	if len(words) <= 3 {
		return words
	}
	longest := slices.Clone(words)
	slices.SortStableFunc(longest, func(a, b string) int { return len(b) - len(a) })
	keep := longest[:3]
	return slices.DeleteFunc(words, func(w string) bool {
		i := slices.Index(keep, w)
		if i < 0 {
			return true
		}
		keep = slices.Delete(keep, i, i+1)
		return false
	})
}

// pieces cuts a text into n deltas of whole words, spaces in front; n = 0 gives every word its own.
func pieces(text string, n int) iter.Seq[string] {
	words := strings.SplitAfter(text, " ")
	each := 1
	if n > 0 {
		each = (len(words) + n - 1) / n
	}
	return func(yield func(string) bool) {
		for group := range slices.Chunk(words, each) {
			if !yield(strings.Join(group, "")) {
				return
			}
		}
	}
}
