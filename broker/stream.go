package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/midstream-dev/midstream/schema"
)

// Keys of a stream's metadata.
const (
	metaPartitions = "midstream-partitions"
	metaFormat     = "midstream-format"
	metaProbe      = "midstream-key-probe" // of the run stream alone
)

// controlBytes is the size of the control stream.
const controlBytes = 64 << 20

// prepare makes the streams that are not there, checks those that are, and returns the number of partitions. What the first
// start has fixed is checked before anything is changed.
func prepare(ctx context.Context, js jetstream.JetStream, cfg Config, keys *vault) (int, error) {
	fixed, err := fixedBefore(ctx, js)
	if err != nil {
		return 0, err
	}
	partitions, err := partitionsOf(fixed, cfg.Partitions)
	if err != nil {
		return 0, err
	}
	probe, err := keys.prove(fixed[metaProbe], cfg.RenewKey)
	if err != nil {
		return 0, err
	}
	for _, want := range cfg.streams(partitions) {
		if want.Name == runStream {
			want.Metadata[metaProbe] = probe
		}
		if err := ensure(ctx, js, want, fixed[metaProbe]); err != nil {
			return 0, err
		}
	}
	return partitions, nil
}

// fixedBefore returns the metadata that the first start has written; nil before that. The run stream holds it, since it is the
// stream that there is one of.
func fixedBefore(ctx context.Context, js jetstream.JetStream) (map[string]string, error) {
	s, err := js.Stream(ctx, runStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", runStream, err)
	}
	fixed := s.CachedInfo().Config.Metadata
	if fixed == nil {
		fixed = map[string]string{} // of a stream that Midstream did not make
	}
	return fixed, nil
}

// partitionsOf reads the number of partitions that the first start has fixed.
func partitionsOf(fixed map[string]string, configured int) (int, error) {
	if fixed == nil {
		orDefault(&configured, DefaultPartitions)
		return configured, nil
	}
	meta := fixed[metaPartitions]
	stored, err := strconv.Atoi(meta)
	if err != nil || stored < 1 || stored > maxPartitions {
		return 0, fmt.Errorf("stream %s: partitions %q: Midstream did not make this stream; use another NATS account", runStream, meta)
	}
	if configured != 0 && configured != stored {
		return 0, fmt.Errorf("the log has %d partitions for ever, %d are configured: set partitions to %d, or begin with an empty NATS account or data directory",
			stored, configured, stored)
	}
	return stored, nil
}

// streams lists what must be there. The run stream comes last: its metadata fixes the number of partitions, so that a first
// start which was cut short begins again.
func (c Config) streams(partitions int) []jetstream.StreamConfig {
	var all []jetstream.StreamConfig
	for p := range partitions {
		all = append(all, c.log(p, partitions), c.archive(p))
	}
	all = append(all,
		c.ingest(),
		c.control(),
		// A conversation lives until it is deleted: an age would take its beginning away while it goes on.
		c.stream(conversationStream, conversationSubjects, 0, c.ConversationBytes),
		c.runs())
	for i := range all {
		all[i].Metadata = map[string]string{metaPartitions: strconv.Itoa(partitions), metaFormat: strconv.Itoa(schema.FormatVersion)}
	}
	return all
}

func (c Config) stream(name, subjects string, age time.Duration, bytes int64) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{subjects}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		Replicas: c.Replicas, MaxAge: age, MaxBytes: bytes, Discard: jetstream.DiscardNew, AllowDirect: true,
		// No message bears an id, so the window only has to be legal.
		Duplicates: 100 * time.Millisecond,
	}
}

func (c Config) log(p, partitions int) jetstream.StreamConfig {
	s := c.stream(logStream+strconv.Itoa(p), logSubjects(p), c.LogAge, c.LogBytes/int64(partitions))
	s.RePublish = &jetstream.RePublish{Source: logSubjects(p), Destination: liveSubjects(p)}
	s.DenyDelete, s.DenyPurge = true, true
	return s
}

// archive is not bounded in bytes: refusing to seal would keep runs open, and dropping early would break the promise of
// its age. What bounds it is the age, and the store limit of the servers.
func (c Config) archive(p int) jetstream.StreamConfig {
	return c.stream(archiveStream+strconv.Itoa(p), archiveSubjects(p), c.ArchiveAge, -1)
}

// ingest republishes no more than that something came: whoever hears of it reads it in the order of the stream.
func (c Config) ingest() jetstream.StreamConfig {
	s := c.stream(ingestStream, ingestSubjects, c.LogAge, c.IngestBytes)
	s.RePublish = &jetstream.RePublish{Source: ingestSubjects, Destination: fedSubjects, HeadersOnly: true}
	return s
}

func (c Config) control() jetstream.StreamConfig {
	s := c.stream(controlStream, controlSubjects, c.LogAge, controlBytes)
	s.MaxMsgsPerSubject = 1
	return s
}

func (c Config) runs() jetstream.StreamConfig {
	s := c.stream(runStream, runSubjects, 0, c.RunBytes)
	s.Retention, s.AllowDirect = jetstream.WorkQueuePolicy, false
	return s
}

// ensure makes a stream, or checks the one that is there. What decides over correctness must be as wanted; ages, sizes and
// replicas are the operator's to change, and are changed. before is the probe that was there when this start began: it takes the
// place of no other one, whose key has yet to be proved.
func ensure(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, before string) error {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if _, err := js.CreateStream(ctx, want); err != nil {
			return fmt.Errorf("make stream %s: %w", want.Name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", want.Name, err)
	}
	have := s.CachedInfo().Config
	if err := mismatch(have, want); err != nil {
		return fmt.Errorf("stream %s: %w; mend it with the nats tool, or use another NATS account", want.Name, err)
	}
	probe := want.Metadata[metaProbe]
	if now := have.Metadata[metaProbe]; probe != "" && now != probe && now != before {
		return fmt.Errorf("stream %s: another node has started meanwhile: %w", want.Name, jetstream.ErrStreamNameAlreadyInUse)
	}
	unfed := have.RePublish == nil && want.RePublish != nil
	if have.MaxAge == want.MaxAge && have.MaxBytes == want.MaxBytes && have.Replicas == want.Replicas &&
		have.Metadata[metaProbe] == probe && !unfed {
		return nil
	}
	have.MaxAge, have.MaxBytes, have.Replicas, have.RePublish = want.MaxAge, want.MaxBytes, want.Replicas, want.RePublish
	if probe != "" {
		have.Metadata[metaProbe] = probe
	}
	if _, err := js.UpdateStream(ctx, have); err != nil {
		return fmt.Errorf("change age, size, replicas or key probe of stream %s: %w", want.Name, err)
	}
	return nil
}

// mismatch names the first setting by which the stream would not keep our promises.
func mismatch(have, want jetstream.StreamConfig) error {
	switch {
	case have.Metadata[metaPartitions] != want.Metadata[metaPartitions]:
		return fmt.Errorf("made for %q partitions, not %s", have.Metadata[metaPartitions], want.Metadata[metaPartitions])
	case have.Metadata[metaFormat] != want.Metadata[metaFormat]:
		return fmt.Errorf("holds record format %q, this build writes %s", have.Metadata[metaFormat], want.Metadata[metaFormat])
	case have.PersistMode == jetstream.AsyncPersistMode:
		return errors.New("persist mode async acknowledges what is not stored")
	case have.Storage != want.Storage:
		return fmt.Errorf("storage is %s, not %s", have.Storage, want.Storage)
	case !slices.Equal(have.Subjects, want.Subjects):
		return fmt.Errorf("holds %q, not %q", have.Subjects, want.Subjects)
	case have.Retention != want.Retention || have.Discard != want.Discard:
		return fmt.Errorf("keeps by %s and discards %s, not %s and %s", have.Retention, have.Discard, want.Retention, want.Discard)
	case have.MaxMsgsPerSubject != want.MaxMsgsPerSubject && max(have.MaxMsgsPerSubject, want.MaxMsgsPerSubject) > 0:
		return fmt.Errorf("keeps %d messages a subject, not %d", have.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	case have.AllowDirect != want.AllowDirect:
		return fmt.Errorf("direct access is %t, not %t", have.AllowDirect, want.AllowDirect)
	case want.RePublish != nil && have.RePublish == nil && want.Name == ingestStream: // as it was before producers could send
	case want.RePublish != nil && (have.RePublish == nil || *have.RePublish != *want.RePublish):
		return errors.New("does not republish to the live subject")
	}
	return nil
}

// runConsumer hands out the run commands. Its unlimited MaxDeliver is needed: after the last of n deliveries the job would
// stay in the stream and never come again.
func runConsumer(ctx context.Context, js jetstream.JetStream, cfg Config) (jetstream.Consumer, error) {
	c, err := js.CreateOrUpdateConsumer(ctx, runStream, jetstream.ConsumerConfig{
		Durable: workers, AckPolicy: jetstream.AckExplicitPolicy, AckWait: cfg.AckWait,
		MaxAckPending: maxAckPending, MaxDeliver: -1,
	})
	if err != nil {
		return nil, fmt.Errorf("make consumer of stream %s: %w", runStream, err)
	}
	return c, nil
}
