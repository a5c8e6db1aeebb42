package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

// maxView bounds what one conversation takes into memory, in bytes: twice its bound, and as much again that is not erased yet.
const maxView = 4 * schema.MaxConversationBytes

// errBuried says that a conversation was deleted: its tombstone still stands.
var errBuried = fmt.Errorf("%w: it was deleted", ErrNotFound)

// view is a conversation as it stands at a position.
type view struct {
	schema.Conversation
	subject  string
	position uint64           // of the last fact
	at       map[int64]uint64 // positions of facts, by version
	nonce    string
	mine     bool // a fact with that nonce is in it
	size     int
}

func (v *view) take(fact *schema.Fact, size int, position uint64) error {
	if err := v.Apply(fact, size); err != nil {
		return err
	}
	if v.at == nil {
		v.at = make(map[int64]uint64)
	}
	v.at[fact.Version], v.position = position, position
	return nil
}

func (v *view) hear(m *stored) error {
	fact, err := schema.ParseFact(m.data)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if v.size += len(m.data); v.size > maxView {
		return fmt.Errorf("%w: larger than %d bytes", errUnreadable, maxView)
	}
	v.mine = v.mine || (v.nonce != "" && m.header.Get(headerNonce) == v.nonce)
	if err := v.take(fact, len(m.data), m.position); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return nil
}

// view reads a conversation up to its last fact. Facts are erased behind others that have overtaken them: one that was
// erased before it was read is missed, but then a later one stands at the end, so the view reads on until the end stays
// where it is. Its errors are ErrNotFound, errUnreadable for what a person must look into, and ctx's.
func (b *Broker) view(ctx context.Context, tenant, id, nonce string) (*view, error) {
	subject, ok := conversationSubject(tenant, id)
	if !ok {
		return nil, ErrNotFound
	}
	v := &view{Conversation: schema.Conversation{ID: id}, subject: subject, nonce: nonce}
	var wait backoff
	for {
		tip, err := b.conversationTip(ctx, subject)
		if err == nil && tip == v.position {
			err = b.complete(ctx, v)
		}
		if err != nil || tip == v.position {
			return v.settled(err)
		}
		before := v.position
		err = b.fetchFacts(ctx, v, tip)
		if errors.Is(err, errUnreadable) || closed(err) {
			return nil, err
		}
		// A replica that is behind gives a prefix: ask it again, and ask ever less often while nothing comes.
		if v.position == before && wait.wait(ctx) != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// complete reads the conversation again, from the leader, where a damaged replica has left something out. Facts that others
// have overtaken are erased, so a gap in the versions is no damage yet; that the leader has more facts is.
func (b *Broker) complete(ctx context.Context, v *view) error {
	if int64(len(v.at)) == v.Version {
		return nil
	}
	have, err := insist(ctx, func(ctx context.Context) (uint64, error) { return b.count(ctx, conversationStream, v.subject) })
	if err != nil || have <= uint64(len(v.at)) {
		return err
	}
	whole := &view{Conversation: schema.Conversation{ID: v.ID}, subject: v.subject, nonce: v.nonce}
	for whole.position < v.position {
		next, err := insist(ctx, func(ctx context.Context) (*stored, error) {
			return b.ask(ctx, conversationStream, leaderQuery{Seq: whole.position + 1, NextFor: v.subject})
		})
		if err != nil || next == nil { // nil: it was deleted meanwhile, which the next look at its tip tells
			return err
		}
		if err := whole.hear(next); err != nil {
			return err
		}
	}
	b.damaged(conversationStream, fmt.Errorf("%d of %d facts of a conversation", len(v.at), have))
	*v = *whole
	return nil
}

// count asks the stream leader how many messages a subject has.
func (b *Broker) count(ctx context.Context, stream, subject string) (uint64, error) {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("count messages: %w", err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return 0, fmt.Errorf("count messages: %w", err)
	}
	return info.State.Subjects[subject], nil
}

// settled judges what was read to the end.
func (v *view) settled(err error) (*view, error) {
	switch {
	case err != nil:
		return nil, err
	case !v.Alive():
		return nil, fmt.Errorf("%w: facts without a beginning", errUnreadable)
	}
	return v, nil
}

// conversationTip returns the position of the last fact. Of a conversation that was deleted it says so, without reading it.
func (b *Broker) conversationTip(ctx context.Context, subject string) (uint64, error) {
	last, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.end(ctx, conversationStream, subject) })
	if err != nil {
		return 0, err
	}
	if last == nil {
		return 0, ErrNotFound
	}
	fact, err := schema.ParseFact(last.data)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if fact.Kind == schema.FactDeleted {
		return 0, errBuried
	}
	return last.position, nil
}

// fetchFacts reads on to tip, or as far as a replica knows.
func (b *Broker) fetchFacts(ctx context.Context, v *view, tip uint64) error {
	if err := b.conversations.gate.enter(ctx); err != nil {
		return err
	}
	defer b.conversations.gate.leave()
	for v.position < tip {
		before := v.position
		last, err := b.fetch(ctx, conversationStream, v.subject, before, tip, func(m *jetstream.RawStreamMsg) error {
			return v.hear(&stored{position: m.Sequence, header: m.Header, data: m.Data, at: m.Time})
		})
		if err != nil || last == before {
			return err
		}
	}
	return nil
}

// eraseDead erases the facts that others have overtaken, lowest first: see schema.Conversation.Dead.
func (b *Broker) eraseDead(ctx context.Context, v *view) error {
	for _, version := range v.Dead() {
		if err := b.eraseMessage(ctx, conversationStream, v.at[version]); err != nil {
			return fmt.Errorf("erase fact %d: %w", version, err)
		}
	}
	return nil
}

// eraseAll erases every message of a subject, the first one first.
func (b *Broker) eraseAll(ctx context.Context, subject string) error {
	for {
		first, err := insist(ctx, func(ctx context.Context) (*stored, error) { return b.first(ctx, conversationStream, subject) })
		if err != nil || first == nil {
			return err
		}
		if err := b.eraseMessage(ctx, conversationStream, first.position); err != nil {
			return err
		}
	}
}

// eraseQuery asks to overwrite a message: there is no no_erase in it.
type eraseQuery struct {
	Seq uint64 `json:"seq"`
}

type eraseAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Success bool                `json:"success"`
}

// eraseMessage overwrites a message. It returns nil once the leader has it no more, whoever erased it.
func (b *Broker) eraseMessage(ctx context.Context, stream string, position uint64) error {
	_, err := insist(ctx, func(ctx context.Context) (bool, error) {
		failed := b.tryErase(ctx, stream, position)
		if failed == nil {
			return true, nil
		}
		have, err := b.ask(ctx, stream, leaderQuery{Seq: position})
		if err == nil && have == nil {
			return true, nil
		}
		return false, errors.Join(failed, err)
	})
	return err
}

func (b *Broker) tryErase(ctx context.Context, stream string, position uint64) error {
	ctx, cancel := b.conns.outages.try(ctx)
	defer cancel()
	request, err := json.Marshal(eraseQuery{position})
	if err != nil {
		return fmt.Errorf("erase message %d of %s: %w", position, stream, err)
	}
	reply, err := b.conns.queue.RequestWithContext(ctx, eraseCall+stream, request)
	if err != nil {
		return fmt.Errorf("erase message %d of %s: %w", position, stream, err)
	}
	var answer eraseAnswer
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return fmt.Errorf("erase message %d of %s: %w", position, stream, err)
	}
	if answer.Error != nil {
		return fmt.Errorf("erase message %d of %s: %w", position, stream, answer.Error)
	}
	return nil
}
