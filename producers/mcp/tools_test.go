package mcp

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func names(tools []Tool) []string {
	out := []string{}
	for _, t := range tools {
		out = append(out, t.Name)
	}
	return out
}

// One tool that cannot be used does not cost the list, whatever is wrong with it.
func TestParsePage_DropsBadToolsOnly(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40)
	bad := []string{
		`7`, `null`, `{}`, `{"name":""}`, `{"name":7}`, `{"name":"a\nb"}`, `{"name":"` + strings.Repeat("n", 129) + `"}`,
		`{"name":"x","inputSchema":true}`, `{"name":"x","inputSchema":"string"}`, `{"name":"x","inputSchema":null}`,
		`{"name":"x","inputSchema":` + deep + `}`, `{"name":"x","inputSchema":{"a":"` + strings.Repeat("s", 65<<10) + `"}}`,
		`{"name":"x","name":"y"}`, `{"name":"x` + "\xff" + `"}`, `{"name":"x","execution":{"taskSupport":"required"}}`,
	}
	good := `{"name":"good","inputSchema":{"type":["object","null"]},"description":"d"}`
	page := Config{}.withDefaults().parsePage([]byte(`{"tools":[`+strings.Join(bad, ",")+`,`+good+`,{"name":"b","description":5,"annotations":[]}],"nextCursor":"c"}`), false)
	if diff := cmp.Diff([]string{"good", "b"}, names(page.tools)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(page.dropped) != len(bad) || page.next != "c" || page.tools[1].Description != "" || page.tools[1].Annotations != nil {
		t.Errorf("page = %+v", page)
	}
	want := `{"tools":[{"name":"good","inputSchema":{"type":"object"}},{"name":"b","inputSchema":{"type":"object","properties":{}}}]}`
	if got := string(page.forClient()); got != want {
		t.Errorf("mcp-go is shown %s, want %s", got, want)
	}
}

// A tool whose x-mcp-header annotations break the rules is left out where headers are mirrored, and only there.
func TestParsePage_ChecksMirroredHeaders(t *testing.T) {
	t.Parallel()
	list := []byte(`{"tools":[{"name":"x","inputSchema":{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}}]}`)
	c := Config{}.withDefaults()
	if got := len(c.parsePage(list, true).tools); got != 0 {
		t.Error("the tool is offered")
	}
	if got := len(c.parsePage(list, false).tools); got != 1 {
		t.Error("the tool is not offered")
	}
}

// A long description is cut between characters, and says so.
func TestParsePage_CutsDescription(t *testing.T) {
	t.Parallel()
	c := Config{MaxDescription: 100}.withDefaults()
	for n := range 4 {
		page := c.parsePage([]byte(`{"tools":[{"name":"a","description":"`+strings.Repeat("x", n)+strings.Repeat("水", 100)+`"}]}`), false)
		d := page.tools[0].Description
		if len(d) > 100 || !utf8.ValidString(d) || !strings.HasSuffix(d, ellipsis) {
			t.Errorf("description = %q", d)
		}
	}
}

// Tools beyond the bound, and a second one of the same name, are left out, and no page more is asked for.
func TestListTools_BoundsTools(t *testing.T) {
	t.Parallel()
	n := 0
	f := &fake{on: handlers{"tools/list": func(w http.ResponseWriter, _ *http.Request, m message) {
		var tools []string
		for range 50 {
			n++
			tools = append(tools, fmt.Sprintf(`{"name":"t%d"},{"name":"t%d"}`, n, n))
		}
		reply(w, m, fmt.Sprintf(`{"tools":[%s],"nextCursor":"%d"}`, strings.Join(tools, ","), n))
	}}}
	p := newPool(t, Config{})
	tools := mustList(t, p, Server{URL: serve(t, f).URL})
	if len(tools) != 128 || tools[127].Name != "t128" || f.count("tools/list") != 3 {
		t.Errorf("%d tools after %d pages", len(tools), f.count("tools/list"))
	}
}

// A caller who changes its list changes nobody else's.
func TestListTools_GivesCopies(t *testing.T) {
	t.Parallel()
	p := newPool(t, Config{})
	s := Server{URL: serve(t, &fake{}).URL}
	mustList(t, p, s)[0].Name = "mine"
	mustList(t, p, s)[0].Name = "mine"
	if got := mustList(t, p, s)[0].Name; got != "echo" {
		t.Errorf("name = %q", got)
	}
}
