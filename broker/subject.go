package broker

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/midstream-dev/midstream/schema"
)

// The streams, and the first tokens of their subjects. This file is the only one that builds a subject.
const (
	logStream     = "MS_LOG_"
	archiveStream = "MS_ARCHIVE_"
	runStream     = "MS_RUNS"
	ingestStream  = "MS_INGEST"
	controlStream = "MS_CONTROL"

	conversationStream = "MS_CONVERSATIONS"

	workers = "workers" // the consumer of the queue

	leaderGet = "$JS.API.STREAM.MSG.GET."
	directGet = "$JS.API.DIRECT.GET."
	eraseCall = "$JS.API.STREAM.MSG.DELETE."

	controlPrefix = "ms.control."
	fedPrefix     = "ms.fed."
)

// goneToken takes the place of a part number in the archive: a message there says that the response was erased.
const goneToken = "gone"

// place is where one response lives.
type place struct {
	ref       schema.Ref
	partition int
}

// locate checks the ref once more: the zero Ref would make a subject with empty tokens, which no stream ever answers.
func locate(ref schema.Ref, partitions int) (place, error) {
	if _, err := schema.NewRef(ref.Tenant(), ref.Response()); err != nil {
		return place{}, err
	}
	return place{ref, partition(ref.Response(), partitions)}, nil
}

// partition is FNV-1a of the response id. It is a part of the format: another hash would not find what is stored.
func partition(response string, of int) int {
	h := fnv.New32a()
	h.Write([]byte(response))
	return int(h.Sum32() % uint32(of))
}

func (p place) logStream() string     { return logStream + strconv.Itoa(p.partition) }
func (p place) archiveStream() string { return archiveStream + strconv.Itoa(p.partition) }

func (p place) log() string  { return p.subject("ms.log.") }
func (p place) live() string { return p.subject("ms.live.") }
func (p place) run() string  { return runSubject(p.ref) }

// part is the subject of a part of the archive; part 0 is the manifest.
func (p place) part(n int) string { return p.subject("ms.archive.") + "." + strconv.Itoa(n) }

// gone is the subject of the tombstone.
func (p place) gone() string { return p.subject("ms.archive.") + "." + goneToken }

// archived is the pattern of every part, and of the tombstone.
func (p place) archived() string { return p.subject("ms.archive.") + ".*" }

// control is the subject of requests to cancel.
func (p place) control() string { return p.tail(controlPrefix) }

// ingest is the subject of what a producer sends; fed is where word of it is republished.
func (p place) ingest(producer string) string { return p.tail("ms.ingest.") + "." + producer }
func (p place) fed() string                   { return p.tail(fedPrefix) + ".*" }

func (p place) tail(family string) string { return family + tail(p.ref) }

// tail is how every subject of a response goes on.
func tail(ref schema.Ref) string { return ref.Tenant() + "." + ref.Response() }

func (p place) subject(family string) string {
	return family + strconv.Itoa(p.partition) + "." + tail(p.ref)
}

// controlRef reads what place.control has written.
func controlRef(subject string) (schema.Ref, error) {
	tenant, response, _ := strings.Cut(strings.TrimPrefix(subject, controlPrefix), ".")
	return schema.NewRef(tenant, response)
}

// fedRef reads what place.ingest and place.fed have written: the response that a producer sends to.
func fedRef(subject string) (schema.Ref, error) { return refIn(subject, 2) }

// logRef reads what place.log has written.
func logRef(subject string) (schema.Ref, error) { return refIn(subject, 3) }

// refIn reads the response whose tenant is that token of a subject of five.
func refIn(subject string, at int) (schema.Ref, error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 5 {
		return schema.Ref{}, fmt.Errorf("%.80q is not the subject of a response", subject)
	}
	return schema.NewRef(tokens[at], tokens[at+1])
}

// producerOf reads the producer out of what place.ingest has written.
func producerOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

func runSubject(ref schema.Ref) string { return "ms.run." + tail(ref) }

// holdSubject is where the worker of a run answers. No stream has it.
func holdSubject(ref schema.Ref) string { return "ms.hold." + tail(ref) }

// conversationSubject checks both tokens: an id from outside must not read a whole tenant.
func conversationSubject(tenant, id string) (subject string, ok bool) {
	return "ms.conversation." + tenant + "." + id, schema.ValidToken(tenant) && schema.ValidToken(id)
}

// Patterns of the subjects that a stream holds.
func logSubjects(p int) string     { return fmt.Sprintf("ms.log.%d.*.*", p) }
func liveSubjects(p int) string    { return fmt.Sprintf("ms.live.%d.{{wildcard(1)}}.{{wildcard(2)}}", p) }
func archiveSubjects(p int) string { return fmt.Sprintf("ms.archive.%d.*.*.*", p) }

const (
	runSubjects     = "ms.run.*.*"
	ingestSubjects  = "ms.ingest.*.*.*"
	fedSubjects     = fedPrefix + "{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}"
	allProducers    = "ms.ingest.>" // what a user who is a producer may publish to
	allFed          = fedPrefix + "*.*.*"
	controlSubjects = controlPrefix + "*.*"

	conversationSubjects = "ms.conversation.*.*"
)
