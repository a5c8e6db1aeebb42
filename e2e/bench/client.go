package main

import (
	"bufio"
	"bytes"
	"context"

	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
)

// ask posts a chat completion, as the relay does.
func ask(ctx context.Context, c *http.Client, url, prompt string) (*http.Response, error) {
	return post(ctx, c, url, map[string]any{
		"model": "bench", "stream": true, "messages": []map[string]string{{"role": "user", "content": prompt}},
	})
}

// create posts a streaming create request.
func create(ctx context.Context, c *http.Client, base string, o order) (*http.Response, error) {
	return post(ctx, c, base+"/v1/responses", map[string]any{"model": "bench", "stream": true, "input": o.String()})
}

func post(ctx context.Context, c *http.Client, url string, body any) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("post %s: %w", url, err)
	}
	req.Header.Set("Content-Type", "application/json")
	return do(c, req)
}

func do(c *http.Client, req *http.Request) (*http.Response, error) {
	resp, err := c.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // as much of the reason as came
		resp.Body.Close()
		return nil, fmt.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, text)
	}
	return resp, nil
}

// tokens reads a stream to its end and calls seen with the time at which each token was sent.
func tokens(body io.Reader, seen func(sent time.Time)) error {
	lines := bufio.NewReaderSize(body, 32<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			return nil
		}
		if err == bufio.ErrBufferFull {
			continue // the terminal event repeats the text: nothing to time in it
		}
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
		if sent, ok := stamp(line); ok {
			seen(sent)
		}
	}
}

// stamp finds the time in a line that carries one token, in either format. Lines that repeat text carry none.
func stamp(line []byte) (time.Time, bool) {
	for _, key := range []string{`"delta":"t=`, `"content":"t=`} {
		_, rest, ok := bytes.Cut(line, []byte(key))
		if !ok || !bytes.HasPrefix(line, []byte("data: ")) {
			continue
		}
		digits, _, _ := bytes.Cut(rest, []byte(" "))
		n, err := strconv.ParseInt(string(digits), 10, 64)
		return time.Unix(0, n), err == nil
	}
	return time.Time{}, false
}

// responseID reads the id out of the first frame.
func responseID(lines *bufio.Reader) (string, error) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("read response id: %w", err)
		}
		if _, rest, ok := bytes.Cut([]byte(line), []byte(`"response":{"id":"`)); ok {
			id, _, _ := bytes.Cut(rest, []byte(`"`))
			return string(id), nil
		}
	}
}
