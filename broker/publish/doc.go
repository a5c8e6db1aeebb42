// Package publish sends the events of a producer to Midstream over NATS: in order, acknowledged, retried, with backpressure.
// It needs a connection to NATS and nothing else of Midstream.
//
// Its nouns:
//
//	Stream    what one producer says of one response; the events go out in the order of its calls
//	batch     the events of one message: what comes while an earlier message is under way goes out together
//	place     where an event stands among the producer's, from 0; Midstream counts by it, and knows what it has already
//	epoch     the number of the producer's start: what an older start still sends is ignored
//
// # The format
//
// A message goes to the subject ms.ingest.TENANT.RESPONSE.PRODUCER. Its payload is the events, a JSON object on each line. Its
// headers say where they stand:
//
//	Midstream-Seq: 17     place of the first event
//	Midstream-Epoch: 2    optional; 0 where it is left out
//	Midstream-Last: true  nothing comes behind this message. Without the header a message that ends with a terminal event
//	                      is the last one; Midstream-Last: false says that it is not
//
// # Guarantees
//
// A Stream ends its producer by [Stream.End] alone, whatever its last event is. [Stream.Flush] returns nil only when every event
// is stored. There is never more than one message of a Stream under way, so none overtakes another; one whose acknowledgement was
// lost is sent again, and what is stored twice counts once, since the place tells. Nothing needs to be read: a user that may
// publish to ms.ingest.> and hear its own inbox will do.
//
// Two processes that are the same producer must have different epochs: the later one fences the earlier one off.
package publish
