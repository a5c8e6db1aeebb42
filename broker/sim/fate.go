package sim

import "time"

// OpKind says what an operation is.
type OpKind string

// The kinds of operations.
const (
	Publish    OpKind = "publish"    // an append to a stream
	LeaderRead OpKind = "leaderread" // STREAM.MSG.GET
	DirectRead OpKind = "directread" // DIRECT.GET
	Erase      OpKind = "erase"      // STREAM.MSG.DELETE
	Manage     OpKind = "manage"     // stream and consumer calls
	Pull       OpKind = "pull"       // CONSUMER.MSG.NEXT
	Deliver    OpKind = "deliver"    // a message of a consumer, on its way to a worker
	Ack        OpKind = "ack"
	Nak        OpKind = "nak"
	Progress   OpKind = "progress"  // a heartbeat of a worker
	Republish  OpKind = "republish" // a stored message on its way to subscribers
)

// Op is one operation, as it reaches the server.
type Op struct {
	Kind    OpKind
	Stream  string
	Subject string // of the message, where there is one
	Client  string // the Link's name; empty for what the server does itself
}

// Fate is what becomes of an operation. The zero Fate is: it is carried out, and answered at once.
type Fate struct {
	Skip  bool          // it is not carried out: lost on the way, or refused with Code
	Code  int           // JetStream error code that is answered, whatever was done; 503 is "no responders"
	Mute  bool          // the answer is lost
	Late  time.Duration // it reaches the server so much later
	Slow  time.Duration // its answer comes so much later
	Stale int           // of a DirectRead: the replica lacks so many of the stream's last messages
	Twice bool          // of a Republish: it comes twice

	Cut  bool          // the connection ends behind it, the answer with it
	Kill bool          // the client's Link dies behind it
	Hold time.Duration // the client's Link stands still from here on, so long
}

// noResponders is the Code of a request that nobody listens to.
const noResponders = 503

// Codes of JetStream, and their texts: clients compare codes, people read texts.
const (
	codeUnavailable   = 10008
	codeNoConsumer    = 10014
	codeNoMessage     = 10037
	codeNoSequence    = 10043
	codeDeleteFailed  = 10057
	codeNoStream      = 10059
	codeWrongLast     = 10071
	codeStoreFailed   = 10077
	codeWrongLastBusy = 10164
)

var statusOf = map[int]int{
	codeUnavailable: 503, codeNoConsumer: 404, codeNoMessage: 404, codeNoSequence: 400, codeDeleteFailed: 500, codeNoStream: 404,
	codeWrongLast: 400, codeStoreFailed: 503, codeWrongLastBusy: 400,
}

var textOf = map[int]string{
	codeUnavailable: "JetStream system temporarily unavailable", codeNoConsumer: "consumer not found", codeNoMessage: "no message found",
	codeNoSequence: "sequence not found", codeDeleteFailed: "message delete failed", codeNoStream: "stream not found",
	codeWrongLast: "wrong last sequence", codeStoreFailed: "maximum bytes exceeded", codeWrongLastBusy: "wrong last sequence",
}
