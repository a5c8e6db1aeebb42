//go:build e2e

package cluster_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// What a node may do in NATS is enough for all that the API does. A call that is missing from permissions.conf would fail
// here, and TestMain looks for it in the logs too.
func TestPermissionsSuffice(t *testing.T) {
	one, two := shared.Gateways[0].URL, shared.Gateways[1].URL
	conversation := id(t, "conv_", ask(t, http.MethodPost, one+"/v1/conversations", `{"metadata":{"river":"Amazon"}}`))
	at := two + "/v1/conversations/" + conversation
	item := id(t, "msg_", ask(t, http.MethodPost, at+"/items", `{"items":[{"type":"message","role":"user","content":"Hello."}]}`))
	first := id(t, "resp_", ask(t, http.MethodPost, one+"/v1/responses",
		fmt.Sprintf(`{"model":"demo","input":"Tell me about rivers.","conversation":%q}`, conversation)))
	ask(t, http.MethodGet, at+"/items", "")
	ask(t, http.MethodPost, at, `{"metadata":{"river":"Nile"}}`)
	ask(t, http.MethodDelete, at+"/items/"+item, "")
	ask(t, http.MethodDelete, at, "")

	second := id(t, "resp_", ask(t, http.MethodPost, two+"/v1/responses",
		fmt.Sprintf(`{"model":"demo","input":"And lakes?","previous_response_id":%q}`, first)))
	ask(t, http.MethodGet, one+"/v1/responses/"+second+"/input_items", "")
	ask(t, http.MethodPost, one+"/v1/responses/compact", `{"model":"demo","input":"Tell me about rivers."}`)
	for _, response := range []string{first, second} {
		ask(t, http.MethodDelete, two+"/v1/responses/"+response, "")
		if resp, err := http.Get(one + "/v1/responses/" + response); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("an erased response: %v %v", resp, err)
		} else {
			_ = resp.Body.Close()
		}
	}

	s := tell(t, 1, 1000, 100*time.Millisecond)[0]
	ask(t, http.MethodPost, two+"/v1/responses/"+s.id+"/cancel", "")
	for _, r := range s.readers {
		if err := r.rest(t); err != io.EOF || !bytes.Contains(r.frames, []byte("event: response.failed\n")) {
			t.Errorf("the stream of a cancelled response ended with %v\n%s", err, r.frames)
		}
	}
	ask(t, http.MethodDelete, one+"/v1/responses/"+s.id, "")
}

// ask makes a request that must be answered with 200, and returns the answer.
func ask(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s", method, url, resp.Status, text)
	}
	return string(text)
}

var ids = regexp.MustCompile(`"id":"([a-z]+_)([0-9A-Za-z_]+)"`)

// id returns the first id of a kind in an answer.
func id(t *testing.T, kind, answer string) string {
	t.Helper()
	for _, m := range ids.FindAllStringSubmatch(answer, -1) {
		if m[1] == kind {
			return m[1] + m[2]
		}
	}
	t.Fatalf("no id %s… in %s", kind, answer)
	return ""
}
