package schema

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

const orderDoc = "../docs/canonical-order.md"

const orderIntro = `# The canonical order

Printed from ` + "`schema.Rules()` and the laws of schema/law.go" + ` (go test ./schema -run TestCanonicalOrder -update): do not edit.

The table is what the checker walks to refuse and what the sequencer walks to repair. A row reads: an item of this kind
that stands at *from* takes *event*, and then stands at *to*. An event that no row names for the place is out of order.
*Derived* marks an event that the sequencer writes itself where a producer leaves it out, because all that it says
follows from the place.

Event types that no table names are their upstream's own: inside an item they may stand anywhere between its
` + "`output_item.added` and `output_item.done`; those that name no item may stand anywhere between `response.created`" + `
and the terminal event.

## The laws beside the tables

| law | says |
|---|---|
`

// docs/canonical-order.md is printed from the very tables that the code walks.
func TestCanonicalOrder_DocumentIsTheTable(t *testing.T) {
	t.Parallel()
	want := printOrder()
	if *update {
		if err := os.WriteFile(orderDoc, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := must(os.ReadFile(orderDoc))(t)
	if diff := gocmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not the table any more: run with -update\n%s", orderDoc, diff)
	}
}

func printOrder() []byte {
	var b bytes.Buffer
	b.WriteString(orderIntro)
	for _, l := range laws() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", l.name, l.says)
	}
	for _, kind := range kindsOf(Rules()) {
		printKind(&b, kind)
	}
	return b.Bytes()
}

var kindTitles = map[string]string{
	kindResponse: "The response itself", anyKind: "Items of every other kind",
}

func printKind(b *bytes.Buffer, kind string) {
	title, ok := kindTitles[kind]
	if !ok {
		title = "`" + kind + "`"
	}
	fmt.Fprintf(b, "\n## %s\n\n| from | event | to | derived |\n|---|---|---|---|\n", title)
	diagram := "\n```mermaid\nstateDiagram-v2\n"
	for _, r := range Rules() {
		if r.Kind != kind {
			continue
		}
		derived := ""
		if r.Fill {
			derived = "yes"
		}
		fmt.Fprintf(b, "| %s | `%s` | %s | %s |\n", cmp.Or(r.From, "(start)"), r.On, r.To, derived)
		diagram += fmt.Sprintf("    %s --> %s: %s\n", node(r.From), node(r.To), strings.TrimPrefix(string(r.On), "response."))
		if end := fmt.Sprintf("    %s --> [*]\n", node(r.To)); (r.To == closed || r.To == ended) && !strings.Contains(diagram, end) {
			diagram += end
		}
	}
	b.WriteString(diagram + "```\n")
}

// node names a place as mermaid can: no spaces, and a point for the start.
func node(p Place) string {
	if p == start {
		return "[*]"
	}
	return strings.ReplaceAll(string(p), " ", "_")
}

func kindsOf(table []Rule) (kinds []string) {
	for _, r := range table {
		if len(kinds) == 0 || kinds[len(kinds)-1] != r.Kind {
			kinds = append(kinds, r.Kind)
		}
	}
	return kinds
}
