package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/midstream-dev/midstream/schema"
)

// A ConversationChange decides what happens to a conversation as it is now: the fact, nil for nothing, or an error, which
// is returned as it is. It is called again where somebody else was faster, so it must not change anything itself.
type ConversationChange func(*schema.Conversation) (*schema.Fact, error)

// Conversation returns a conversation as the stream leader knows it. ErrNotFound: there is none of that id, or it was deleted,
// or it is another tenant's.
func (b *Broker) Conversation(ctx context.Context, tenant, id string) (*schema.Conversation, error) {
	v, err := b.view(ctx, tenant, id, "")
	if err != nil {
		return nil, fmt.Errorf("read conversation %.80q: %w", id, err)
	}
	return &v.Conversation, nil
}

// CreateConversation begins a conversation. The id must be new. ErrFull: nothing was stored.
func (b *Broker) CreateConversation(ctx context.Context, tenant, id string, metadata map[string]string) (*schema.Conversation, error) {
	subject, ok := conversationSubject(tenant, id)
	if !ok {
		return nil, fmt.Errorf("create conversation %.80q: not a token", id)
	}
	v := &view{Conversation: schema.Conversation{ID: id}, subject: subject}
	if err := b.tell(ctx, v, schema.NewConversation(time.Now(), metadata), rand.Text()); err != nil {
		return nil, fmt.Errorf("create conversation %s: %w", id, err)
	}
	return &v.Conversation, nil
}

// ChangeConversation appends the fact that change decides upon behind what it was decided upon, and returns the conversation
// behind it. Once it returns, what the fact has overtaken is erased: an item that was removed is nowhere. Its errors:
// change's own, ErrNotFound, ErrFull (nothing was stored), or ctx's, which leaves the outcome unknown.
func (b *Broker) ChangeConversation(ctx context.Context, tenant, id string, change ConversationChange) (*schema.Conversation, error) {
	nonce := rand.Text()
	var wait backoff
	for {
		v, err := b.view(ctx, tenant, id, nonce)
		if err != nil {
			return nil, fmt.Errorf("change conversation %.80q: %w", id, err)
		}
		var fact *schema.Fact
		if !v.mine {
			fact, err = change(&v.Conversation)
		}
		if err != nil {
			return nil, err
		}
		if fact != nil {
			err = b.tell(ctx, v, fact, nonce)
		}
		if errors.Is(err, errTaken) && wait.wait(ctx) == nil {
			continue
		}
		if err == nil {
			err = b.eraseDead(ctx, v)
		}
		if err != nil {
			return nil, fmt.Errorf("change conversation %s: %w", id, err)
		}
		return &v.Conversation, nil
	}
}

// DeleteConversation ends a conversation and erases all of it. A tombstone goes first, so that a crash on the way leaves a
// conversation that is not there; deleting it again goes on. The tombstone is erased last: then nothing is left, and an
// append that was decided upon before finds the subject empty, and fails.
func (b *Broker) DeleteConversation(ctx context.Context, tenant, id string) error {
	if err := b.buryConversation(ctx, tenant, id); err != nil {
		return fmt.Errorf("delete conversation %.80q: %w", id, err)
	}
	subject, _ := conversationSubject(tenant, id)
	if err := b.eraseAll(ctx, subject); err != nil {
		return fmt.Errorf("erase conversation %s: %w", id, err)
	}
	return nil
}

// buryConversation puts the tombstone, unless there is one.
func (b *Broker) buryConversation(ctx context.Context, tenant, id string) error {
	nonce := rand.Text()
	var wait backoff
	for {
		v, err := b.view(ctx, tenant, id, nonce)
		if errors.Is(err, errBuried) {
			return nil
		}
		if err != nil {
			return err
		}
		err = b.tell(ctx, v, v.Delete(), nonce)
		if !errors.Is(err, errTaken) || wait.wait(ctx) != nil {
			return err
		}
	}
}

// tell appends a fact behind what the view has seen, and takes it into the view.
func (b *Broker) tell(ctx context.Context, v *view, fact *schema.Fact, nonce string) error {
	if err := b.admitFact(fact); err != nil {
		return err
	}
	fact.At = time.Now().UnixMilli()
	data, err := fact.Encode()
	if err != nil {
		return err
	}
	position, err := b.append(ctx, &message{
		stream: conversationStream, subject: v.subject, header: nats.Header{headerNonce: {nonce}}, data: data, expect: v.position,
		mine:  func(s *stored) bool { return s.header.Get(headerNonce) == nonce },
		hasty: true,
	})
	switch {
	case errors.Is(err, ErrGone):
		return ErrNotFound
	case full(err):
		return b.refuse(fullness(conversationStream))
	case errors.Is(err, errUnsent):
		return b.refuse(BoundSilent)
	case err != nil:
		return err
	}
	return v.take(fact, len(data), position)
}

// admitFact leaves the last of the room to the answers of open runs, and to what frees room.
func (b *Broker) admitFact(fact *schema.Fact) error {
	if fact.Response != "" || fact.Kind == schema.FactRemoved || fact.Kind == schema.FactDeleted {
		return nil
	}
	return b.admitConversation()
}
