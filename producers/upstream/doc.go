// Package upstream makes model calls. An upstream is a configured LLM endpoint; a dialect is the wire language that it
// speaks, and no other package knows one.
//
// The nouns:
//
//   - A [Request] is one turn: the whole context, and what the model may do with it.
//   - An [Upstream] streams a turn as [schema.Event] values, and says in an [Outcome] how it ended.
//   - A [Router] holds the upstreams of a configuration and finds the one for a model name, and its fallbacks.
//   - An [Error] says why a call failed: what a caller may be told, and what only the operator may see.
//
// # Dialects
//
//	chat       POST /chat/completions, as OpenAI, vLLM, llama.cpp, Ollama and many more speak it
//	responses  POST /responses, as OpenAI and vLLM speak it
//	messages   POST /messages, as Anthropic speaks it: Claude's models, with their thinking as reasoning
//	demo       no network and no key: a scripted model, for a first look and for tests (see demo.go for its script)
//
// A dialect is one file, or a small family, and one line in the table of dialect.go.
//
// # What a dialect emits
//
// Events of items only: no lifecycle, no sequence numbers. Items are numbered from 0 in the order in which they begin
// and are called item_0, item_1, …; the sequencer downstream gives out real ids and numbers, and writes the .done events
// of parts and arguments, which are left out here. Text is what the upstream sent, joined: a surrogate pair or a UTF-8
// sequence that was cut between two chunks comes out whole, half a one as U+FFFD.
//
// # Guarantees
//
// Every wait has an end and every buffer a bound (see [Config]); a silent, endless or chattering upstream ends as an
// [Error]. A stream that stops before the upstream has said that it is done is an error, never a short answer. No redirect
// is followed, no compressed answer is read, no proxy is taken from the environment. An error's text holds neither the
// key nor the address of an upstream. Cancelling the context ends the HTTP request before Stream returns, and no
// goroutine outlives it. A call that fails is made again, at the same upstream or at a fallback, only while none of its
// events is out, and each try that fails is handed to the caller first (docs/adr/0010). Beside that, a call is made again
// at once if the upstream refuses it, unread, for something that it can do without: a responses call because of
// reasoning.encrypted_content, a messages call because of what relentMessages lists.
//
// # Trust
//
// The bytes of an upstream are decoded more leniently than those of a client: duplicate names (the last one wins) and
// ill-formed UTF-8 (U+FFFD) are accepted, since both occur in the field and a model's answer should not be lost for
// them. Nothing is decided on those bytes that another decoder could read differently, and what is passed on has been
// mended to strict JSON first.
package upstream
